"""SQLite's connections: a lock is waited for so long, and a query that runs away is ended at its deadline."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ironic_lite.clock import Clock, Deadline, SystemClock
from ironic_lite.db.deadlines import Limits

# Steps of SQLite's machine between two looks at the clock: some 100 µs, and more than most of our statements take.
STEPS_BETWEEN_LOOKS: Final = 10_000


class BoundedConnection(sqlite3.Connection):
    """Each cursor, and SQLAlchemy makes one for each statement, has so many seconds until its last row."""

    _clock: Clock
    _limit_s: int
    _deadline: Deadline

    def limit(self, seconds: int) -> None:
        """From here on each statement may take so long."""
        self._clock, self._limit_s = SystemClock(), seconds
        self._deadline = Deadline(self._clock, seconds)
        self.set_progress_handler(self._is_over, STEPS_BETWEEN_LOOKS)

    def _is_over(self) -> bool:
        return self._deadline.passed()

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        self._deadline = Deadline(self._clock, self._limit_s)
        return super().cursor(*arguments, **options)


def connect(limits: Limits, arguments: Sequence[Any], options: Mapping[str, Any]) -> BoundedConnection:
    """A connection to the file, which any thread may use after another."""
    ours = {"factory": BoundedConnection, "timeout": limits.statement_s, "check_same_thread": False}
    connection: BoundedConnection = sqlite3.connect(*arguments, **{**options, **ours})
    connection.limit(limits.statement_s)
    return connection
