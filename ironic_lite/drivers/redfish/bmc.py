"""The BMCs in use: each one contact, one connection and one session, for polls and for sushy alike.

*Guarantees.* (1) There is one `Bmc` for each address, so one request at a time, one connection and one session, however
many nodes and accounts stand behind it. (2) A session is used only with the account that it was made with: a request of
another account ends it first. (3) At most `[redfish]connection_cache_size` BMCs are kept; the least recently used one
is logged out and closed on the loop, while nobody waits. (4) Credentials that a BMC refused are not shown to it again
for `REFUSED_S`, but for somebody who asked for an action: BMCs lock accounts. (5) Nothing is sent by a finaliser.
Any thread may use `Bmcs`; a `Bmc` is used on the I/O loop. `Bmcs._lock` is taken alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import resource
import threading
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, Final

from sushy import exceptions as sushy_errors

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.drivers.contact import IO, Contact, Engaged, Rank, ended
from ironic_lite.drivers.redfish.account import Account
from ironic_lite.drivers.redfish.exchange import Exchange, Request
from ironic_lite.drivers.redfish.http1 import Response
from ironic_lite.drivers.redfish.links import Memory
from ironic_lite.drivers.redfish.options import conf
from ironic_lite.drivers.redfish.session import Session

LOGOUT_S: Final = 2.0
DROPPED_S: Final = 600.0
REFUSED_S: Final = 30.0
# Of the files that the process may have open, the part that BMCs get: the rest is for databases and clients.
FILES_PART: Final = 0.75


class Denied(Exception):
    """The BMC refused these credentials a moment ago, and is not asked again yet."""


class Bmc:
    """One BMC: a request at a time, logged in."""

    __slots__ = ("_contact", "_exchange", "_refused", "_session", "links", "system")

    def __init__(self) -> None:
        self._contact = Contact()
        self._exchange: Exchange | None = None
        self._session = Session(anonymous=True)
        self._refused: tuple[Account, float] | None = None  # which one, and until when
        self.system: str | None = None  # the only System's path, where driver_info names none
        self.links = Memory()

    def ask(self, account: Account, request: Request, rank: Rank, deadline: Deadline) -> Coroutine[Any, Any, Response]:
        """Send a request when its turn has come, and return the answer, whatever its status.

        Raises `Engaged`, `Denied`, `TimeoutError` and what `Session.begin` and `Exchange.send` raise.
        """
        return self._contact.run(functools.partial(self._ask, account, request, rank, deadline), rank, deadline)

    async def close(self, deadline: Deadline) -> None:
        """Log out and close the connection, once nothing is under way any more."""
        with contextlib.suppress(Engaged, TimeoutError):
            await self._contact.run(functools.partial(self._leave, deadline), Rank.ACTION, deadline)

    async def _ask(self, account: Account, request: Request, rank: Rank, deadline: Deadline) -> Response:
        if self._refused is not None and rank is not Rank.ACTION and self._refuses(account):
            raise Denied
        exchange = await self._as(account, deadline)
        try:
            response = await self._logged_in(exchange, request, deadline)
        except sushy_errors.AccessError:
            self._refused = account, _now_s() + REFUSED_S
            raise
        if response.status_code == 401:
            self._refused = account, _now_s() + REFUSED_S
        elif self._refused is not None and self._refused[0] == account:
            self._refused = None
        return response

    async def _logged_in(self, exchange: Exchange, request: Request, deadline: Deadline) -> Response:
        session = self._session
        if request.path != exchange.account.root:  # which is open to everybody
            await session.begin(exchange, deadline)
        response = await exchange.send(request, session.lines, deadline)
        if response.status_code == 401 and await session.renew(exchange, deadline):
            response = await exchange.send(request, session.lines, deadline)
        return response

    def _refuses(self, account: Account) -> bool:
        return self._refused is not None and self._refused[0] == account and _now_s() < self._refused[1]

    async def _as(self, account: Account, deadline: Deadline) -> Exchange:
        """Become this account's: another one's session ends first."""
        exchange = self._exchange
        if exchange is not None and (exchange.account is account or exchange.account == account):
            return exchange
        if exchange is not None:
            await self._leave(deadline)
        self._exchange, self._session = Exchange(account), Session(anonymous=account.username is None)
        self.system, self.links = None, Memory()
        return self._exchange

    async def _leave(self, deadline: Deadline) -> None:
        if self._exchange is None:
            return
        bounded = Deadline(SystemClock(), min(LOGOUT_S, deadline.left_s()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bounded.left_s()):
                await self._session.end(self._exchange, bounded)
        self._exchange.close()


class Bmcs:
    """All of them, the least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, int], Bmc] = OrderedDict()

    def get(self, account: Account) -> Bmc:
        """The BMC at this account's address."""
        key = (account.scheme, account.host, account.port)
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
                return found
            self._known[key] = found = Bmc()
            over = len(self._known) - _room()
            dropped = [self._known.popitem(last=False)[1] for _ in range(over)]
        if dropped:
            with contextlib.suppress(errors.Unavailable):
                IO.submit(_close(dropped, Deadline(SystemClock(), DROPPED_S)), "closing BMCs")
        return found

    def close_all(self, deadline: Deadline) -> None:
        """Log out of all of them at the same time, each in at most 2 s, all by the deadline."""
        with self._lock:
            known = list(self._known.values())
            self._known.clear()
        if IO.running():
            bounded = Deadline(SystemClock(), min(LOGOUT_S, deadline.left_s()))
            with contextlib.suppress(errors.Unavailable):
                ended(IO.submit(_close(known, bounded), "closing the BMCs"), deadline.left_s())


BMCS: Final = Bmcs()


async def _close(bmcs: list[Bmc], deadline: Deadline) -> None:
    await asyncio.gather(*(bmc.close(deadline) for bmc in bmcs))


def _room() -> int:
    """How many connections may be kept: a BMC must not take the last file from the database."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(conf.connection_cache_size, max(1, int(files * FILES_PART)))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
