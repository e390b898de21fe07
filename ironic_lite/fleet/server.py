"""A fleet of simulated Redfish BMCs: each its own loopback address, all on one port and one event loop.

Guarantees. The process has one thread. `start` returns when every address listens; `stop` closes every listener and
connection before it returns. A fleet of that size, seed and power delay is the same fleet each time.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from dataclasses import dataclass
from typing import Final

from ironic_lite.clock import Clock, SystemClock
from ironic_lite.fleet import listeners
from ironic_lite.fleet.connection import Connection
from ironic_lite.fleet.control import Control
from ironic_lite.fleet.documents import Identity
from ironic_lite.fleet.machine import Machine
from ironic_lite.fleet.redfish import Credentials, Redfish

FIRST_ADDRESS: Final = "127.77.0.1"


@dataclass(frozen=True, slots=True)
class Bmc:
    """Where one BMC is, and what its machine's label says."""

    address: str
    port: int
    url: str
    serial: str


class Fleet:
    """`size` BMCs from `first_address` on; port 0 picks one that is free. Every answer takes `latency_s`."""

    def __init__(  # noqa: PLR0913  # the knobs of a fleet, all by name
        self,
        size: int,
        *,
        first_address: str = FIRST_ADDRESS,
        port: int = 0,
        username: str,
        password: str,
        seed: int = 0,
        power_delay_s: float = 0.0,
        latency_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        """Raises `ValueError` when the addresses are not all in 127.0.0.0/8."""
        clock = clock if clock is not None else SystemClock()
        credentials = Credentials(username, password)
        self.latency_s = latency_s
        self.services = {
            address: Redfish(
                clock, Identity(_serial(seed, index)), credentials, Machine(clock, power_delay_s=power_delay_s)
            )
            for index, address in enumerate(listeners.addresses(first_address, size))
        }
        self.control = Control(self.services)
        self.connections: dict[str, set[Connection]] = {address: set() for address in self.services}
        self.bmcs: tuple[Bmc, ...] = ()
        self._port = port
        self._stopping = False
        self._each_listens = True
        self._servers: dict[str, asyncio.Server] = {}
        self._reopening: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken on one of the addresses."""
        for address, sock in listeners.open_all(list(self.services), self._port).items():
            self._port = sock.getsockname()[1]
            self._each_listens = address != listeners.EVERY_ADDRESS
            await self._serve(address, sock)
        self.bmcs = tuple(
            Bmc(address, self._port, f"http://{address}:{self._port}", service.identity.serial)
            for address, service in self.services.items()
        )

    async def stop(self) -> None:
        """Close everything."""
        self._stopping = True
        for task in list(self._reopening.values()):
            await task
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        for address in self.connections:
            self._abort(address)
        await asyncio.sleep(0)  # lets the transports that were aborted tell their connections so

    def follow_faults(self, spare: Connection | None = None) -> None:
        """Close the listener and the connections of each BMC that refuses now; listen again where one no longer does.

        Where one socket listens for all, a refusing BMC resets each connection right after it is made instead.
        `spare` is the connection over which the fault came, and still has its answer to send.
        """
        for address, service in self.services.items():
            listening = address in self._servers
            if service.faults.refusing:
                if listening:
                    self._servers.pop(address).close()
                self._abort(address, spare)
            elif not listening and self._each_listens and address not in self._reopening and not self._stopping:
                self._reopen(address)

    def _reopen(self, address: str) -> None:
        # From `listen` on the kernel takes connections: a client that was told so by the control path finds it true.
        task = asyncio.ensure_future(self._serve(address, listeners.listen(address, self._port)))
        self._reopening[address] = task
        task.add_done_callback(lambda _: self._reopened(address))

    def _reopened(self, address: str) -> None:
        del self._reopening[address]
        self.follow_faults()  # a fault that was set meanwhile

    async def _serve(self, address: str, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._servers[address] = await loop.create_server(
            lambda: Connection(self), sock=sock, backlog=listeners.BACKLOG
        )

    def _abort(self, address: str, spare: Connection | None = None) -> None:
        for connection in self.connections[address] - {spare}:
            connection.abort()


def _serial(seed: int, index: int) -> str:
    return f"SIM{zlib.crc32(f'{seed}/{index}'.encode()):08X}"
