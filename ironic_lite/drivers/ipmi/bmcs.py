"""All IPMI BMCs, by the address that their names stand for: found, lent to a thread, and left at the end.

*Guarantees.* (1) Accounts at one address share one `Bmc`, by whichever name. (2) Looking up a name never blocks the
loop; a name is looked up again after `NAME_S`, and at most `BMCS_LIMIT` names are remembered. (3) At most `BMCS_LIMIT`
BMCs are, the least recently used idle one goes first. Used on the I/O loop alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.drivers.contact import IO, Rank, ended
from ironic_lite.drivers.ipmi.account import Account
from ironic_lite.drivers.ipmi.bmc import Bmc
from ironic_lite.drivers.ipmi.line import Address, Line

BMCS_LIMIT: Final = 20_000
NAME_S: Final = 600.0
LOGOUT_S: Final = 2.0
CLOCK: Final = SystemClock()

Place = tuple[socket.AddressFamily, Address]


class Bmcs:
    """Those that were spoken to, the least recently used first."""

    def __init__(self) -> None:
        self.lines: dict[socket.AddressFamily, Line] = {}
        self._known: OrderedDict[Address, Bmc] = OrderedDict()
        self._names: OrderedDict[tuple[str, int], tuple[Place, float]] = OrderedDict()

    def known(self, account: Account) -> Bmc | None:
        """The BMC, if it was spoken to, and its name needs not be looked up."""
        name = account.host, account.port
        address: Address = name
        if name in self._names:
            (_, address), until_s = self._names[name]
            if CLOCK.monotonic() > until_s:
                return None
        found = self._known.get(address)
        if found is not None:
            self._known.move_to_end(address)
        return found

    async def find(self, account: Account, deadline: Deadline) -> Bmc:
        """The BMC at this account's address. Raises `OSError`, and so `TimeoutError` and `socket.gaierror`."""
        found = self.known(account)
        if found is not None:
            return found
        async with asyncio.timeout(deadline.left_s()):
            family, address = await self._looked_up(account.host, account.port)
        if address not in self._known:
            self._known[address] = Bmc(self._line(family), address, CLOCK)
            self._forget_one()
        return self._known[address]

    def forget_name(self, account: Account) -> None:
        """Look it up again: the BMC may be elsewhere now."""
        self._names.pop((account.host, account.port), None)

    async def hold(self, account: Account, rank: Rank, deadline: Deadline, taken: Callable[[Bmc], None]) -> None:
        """Take the BMC's turn for a thread, tell it, and keep the turn until cancelled, or the deadline."""
        bmc = await self.find(account, deadline)
        await bmc.contact.run(functools.partial(bmc.lend, taken, deadline), rank, deadline)

    async def close(self, deadline: Deadline) -> None:
        """End all kept sessions at the same time, and the sockets; forget everything."""
        known, self._known = self._known, OrderedDict()
        self._names.clear()
        await asyncio.gather(*(bmc.close(deadline) for bmc in known.values()))
        for line in self.lines.values():
            line.close()
        self.lines = {}

    def close_all(self, deadline: Deadline) -> None:
        """`close`, from another thread: in at most 2 s."""
        if IO.running():
            bounded = Deadline(CLOCK, min(LOGOUT_S, deadline.left_s()))
            with contextlib.suppress(errors.Unavailable):
                ended(IO.submit(self.close(bounded), "closing the IPMI BMCs"), deadline.left_s())

    def _line(self, family: socket.AddressFamily) -> Line:
        if family not in self.lines:
            self.lines[family] = Line(family)
        return self.lines[family]

    async def _looked_up(self, host: str, port: int) -> Place:
        kind = socket.SOCK_DGRAM
        try:
            found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
            until_s = float("inf")
        except socket.gaierror:  # it is a name, and asking for it takes its time
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
            until_s = CLOCK.monotonic() + NAME_S
        family, _, _, _, address = found[0]
        if address != (host, port):
            self._names[host, port] = (family, address), until_s
            if len(self._names) > BMCS_LIMIT:
                self._names.popitem(last=False)
        return family, address

    def _forget_one(self) -> None:
        """One that is in use goes to the end of the line instead."""
        if len(self._known) > BMCS_LIMIT:
            address, oldest = self._known.popitem(last=False)
            if oldest.contact.busy:
                self._known[address] = oldest


BMCS: Final = Bmcs()
