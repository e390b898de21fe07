"""PostgreSQL's connections: its own time-outs, and a wait that ends when the server no longer keeps them.

A server that is stopped still acknowledges what it gets, so that neither TCP's time-outs nor its own ever fire, and
psycopg waits for ever by default.
"""

from __future__ import annotations

import select
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready, Wait

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.db.deadlines import Limits

RV = TypeVar("RV")
_EVENTS = {Wait.R: select.POLLIN, Wait.W: select.POLLOUT, Wait.RW: select.POLLIN | select.POLLOUT}


class BoundedConnection(psycopg.Connection[Any]):
    """Whatever psycopg waits for on this connection has so many seconds; then the connection is closed."""

    _limit_s: float = 0

    def limit(self, seconds: int) -> None:
        """From here on each statement may take so long."""
        self._limit_s = seconds

    def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.0,  # noqa: ARG002  # psycopg wakes up to look for Ctrl-C; a thread here sleeps
        timeout: float | None = None,
    ) -> RV:
        """Drive psycopg's generator to its end. Raises `psycopg.OperationalError` when it takes too long."""
        limit_s = self._limit_s if timeout is None else min(timeout, self._limit_s)
        deadline = Deadline(SystemClock(), limit_s)
        try:
            wanted = next(gen)
            while True:
                wanted = gen.send(self._ready(wanted, deadline))
        except StopIteration as done:
            answer: RV = done.value
            return answer

    def _ready(self, wanted: Wait, deadline: Deadline) -> Ready:
        poll = select.poll()
        poll.register(self.pgconn.socket, _EVENTS[wanted])
        found = poll.poll(deadline.left_s() * 1000)
        if not found or deadline.passed():
            # The answer may still come, to whoever is next: nobody may be.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {deadline.timeout_s} s")
        events = found[0][1]
        if events & ~(select.POLLIN | select.POLLOUT):
            return Ready(wanted)  # the connection broke: libpq finds out how by reading or writing
        return Ready((events & select.POLLIN and Ready.R) | (events & select.POLLOUT and Ready.W))


def connect(limits: Limits, arguments: Sequence[Any], options: Mapping[str, Any]) -> BoundedConnection:
    """A connection whose server knows the limits too."""
    server = (
        f"-c statement_timeout={limits.statement_s}s -c lock_timeout={limits.lock_s}s "
        f"-c idle_in_transaction_session_timeout={limits.idle_s}s"
    )
    ours = {
        "connect_timeout": limits.connect_s, "tcp_user_timeout": limits.client_s * 1000,
        "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
    }  # fmt: skip
    given = options.get("options")
    connection = BoundedConnection.connect(
        *arguments, **{**ours, **options, "options": f"{server} {given}" if given else server}
    )
    connection.limit(limits.connect_s)
    return connection
