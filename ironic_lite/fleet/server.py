"""A fleet of simulated Redfish and IPMI BMCs: each its own loopback address, one port a protocol, one event loop.

Guarantees. The process has one thread. `start` returns when every address listens; `stop` closes every listener and
connection before it returns. A fleet of the same settings is the same fleet each time.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ironic_lite.clock import Clock, SystemClock, seeded
from ironic_lite.fleet.connection import CONNECTIONS_MAX, IDLE_S, Connection
from ironic_lite.fleet.control import Control
from ironic_lite.fleet.desk import ADDRESS as CONTROL_ADDRESS
from ironic_lite.fleet.desk import Desk
from ironic_lite.fleet.device import Device, Identity, Reach, Site
from ironic_lite.fleet.ipmi.bmc import Ipmi
from ironic_lite.fleet.ipmi.endpoint import Endpoint
from ironic_lite.fleet.listeners import EACH_LISTENS_MAX, EVERY_ADDRESS, Gate, listen_each
from ironic_lite.fleet.machine import Machine
from ironic_lite.fleet.outbox import Outbox
from ironic_lite.fleet.redfish import Redfish
from ironic_lite.fleet.settings import Settings

if TYPE_CHECKING:
    from ironic_lite.fleet.certificates import Certificates

PROGRESS_EVERY: Final = 1000
_SWEEP_S: Final = 5.0
_FIRST_SESSION_ID: Final = 0x02000000


@dataclass(frozen=True, slots=True)
class Bmc:
    """Where one BMC is, what it speaks, and what its machine's label says."""

    address: str
    port: int
    url: str
    serial: str
    protocol: str = Redfish.PROTOCOL


class Fleet:
    """The BMCs of these settings. `progress` is told how many of them are made, every now and then."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, progress: Callable[[int], None] = lambda _made: None
    ) -> None:
        """Raises `OSError` when the CA's certificate cannot be written."""
        clock = clock if clock is not None else SystemClock()
        self.settings = settings
        self.site = Site(
            clock,
            clock.monotonic(),
            settings.credentials,
            seeded(f"fleet {settings.seed}"),
            Outbox(settings.event_retry_s),
        )
        self.devices: dict[str, Device] = {}
        self.redfish: dict[str, Redfish] = {}
        self.ipmi: dict[str, Ipmi] = {}
        self._make(progress)
        self.connections: dict[str, set[Connection]] = {address: set() for address in self.redfish}
        self.control = Control(self)
        self.bmcs: tuple[Bmc, ...] = ()
        self._certificates = _certificates(clock, settings.ca_file) if settings.ca_file is not None else None
        self._gates: dict[str, Gate] = {}
        self.udp = Endpoint(self.site, self.ipmi, settings.ipmi_port, settings.loss)
        self._desk = Desk(self.control, settings.control_port)
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def control_url(self) -> str:
        """Where the whole fleet is ruled from."""
        return f"http://{CONTROL_ADDRESS}:{self._desk.port}/fleet"

    @property
    def shares_a_listener(self) -> bool:
        """Whether one socket listens for those BMCs that have none of their own."""
        return EVERY_ADDRESS in self._gates

    def has_own_listener(self, address: str) -> bool:
        """Whether that BMC can truly refuse, and leave a SYN unanswered."""
        return address in self._gates

    def context(self, address: str) -> ssl.SSLContext | None:
        """What the BMC of that address speaks TLS with, if it does."""
        return self._certificates.context(address) if self._certificates is not None else None

    async def start(self) -> None:
        """Listen. Raises `OSError` when a port is taken on one of the addresses."""
        try:
            self._listen()
            if self.ipmi:
                self.udp.open()
            self._desk.open()
        except OSError:
            await self.stop()
            raise
        self.bmcs = tuple(self._where())
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    async def stop(self) -> None:
        """Close everything."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for gate in self._gates.values():
            gate.close()
        self.udp.close()
        self._desk.close()
        await self.site.outbox.close()
        for connection in list(itertools.chain.from_iterable(self.connections.values())):
            connection.close()

    def follow(self, device: Device, spare: Connection | None = None) -> None:
        """Meet clients as the BMC does now: its listener and its connections.

        Where one socket listens for all, a refusing BMC resets each connection right after it is made, and a deaf one
        leaves it unread. `spare` is the connection over which the change came, and still has its answer to send.
        """
        if device.address in self._gates:
            self._gates[device.address].set(device.reach)
        for connection in list(self.connections.get(device.address, ())):
            if device.reach is Reach.REFUSING and connection is not spare:
                connection.abort()
            elif device.reach is Reach.DEAF and connection is not spare:
                connection.stop_hearing()
            elif device.reach is Reach.OPEN:
                connection.hear()

    def crash(self, bmc: Device, gone_s: float) -> None:
        """The BMC is gone for so long, and then back."""
        self.follow(bmc)
        asyncio.get_running_loop().call_later(gone_s + 0.01, self.follow, bmc)

    def forget(self, connection: Connection) -> None:
        """The connection has ended."""
        self.connections[connection.bmc.address].discard(connection)

    def _make(self, progress: Callable[[int], None]) -> None:
        settings, ids = self.settings, itertools.count(_FIRST_SESSION_ID)
        for index, address in enumerate(settings.addresses()):
            machine = Machine(self.site.clock, power_delay_s=settings.power_delay_s)
            parts = self.site, address, Identity(_serial(settings.seed, index)), machine, settings.session_slots
            device: Device
            if index < settings.size:
                device = self.redfish[address] = Redfish(*parts)
            else:
                device = self.ipmi[address] = Ipmi(*parts, ids.__next__)
            device.set_latency(settings.latency)
            self.devices[address] = device
            if (index + 1) % PROGRESS_EVERY == 0:
                progress(index + 1)

    def _listen(self) -> None:
        addresses, settings = list(self.redfish), self.settings
        if len(addresses) <= EACH_LISTENS_MAX:
            self._gates = listen_each(addresses, settings.port, self._accept)
        else:
            shared = Gate(EVERY_ADDRESS, settings.port, self._accept)
            shared.listen()
            self._gates = {EVERY_ADDRESS: shared}
            port = settings.port + 1 if settings.port else 0
            self._gates |= listen_each(addresses[: settings.own_listeners], port, self._accept)
        for gate in self._gates.values():
            gate.set(Reach.OPEN)

    def _where(self) -> Iterator[Bmc]:
        scheme = "https" if self._certificates is not None else "http"
        for address, redfish in self.redfish.items():
            gate = self._gates.get(address) or self._gates[EVERY_ADDRESS]
            yield Bmc(address, gate.port, f"{scheme}://{address}:{gate.port}", redfish.identity.serial)
        for address, ipmi in self.ipmi.items():
            url = f"ipmi://{address}:{self.udp.port}"
            yield Bmc(address, self.udp.port, url, ipmi.identity.serial, Ipmi.PROTOCOL)

    def _accept(self, sock: socket.socket) -> None:
        address = sock.getsockname()[0]
        bmc = self.redfish.get(address)
        if bmc is None or bmc.reach is Reach.REFUSING or len(self.connections[address]) >= CONNECTIONS_MAX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
            return
        try:
            connection = Connection(self, bmc, sock)
        except OSError:  # a client of TLS that has gone again
            sock.close()
            return
        self.connections[address].add(connection)
        connection.open()

    def _sweep(self) -> None:
        """Close what was idle for too long, and what clients have given up that nobody reads."""
        loop = asyncio.get_running_loop()
        idle_since_s = loop.time() - IDLE_S
        for connection in list(itertools.chain.from_iterable(self.connections.values())):
            if connection.bmc.reach is Reach.DEAF:
                if connection.abandoned():
                    connection.abort()
            elif connection.idle_since_s is not None and connection.idle_since_s < idle_since_s:
                connection.close()
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep)


def _certificates(clock: Clock, ca_file: Path) -> Certificates:
    from ironic_lite.fleet.certificates import Certificates  # noqa: PLC0415  # heavy, and most fleets are plain

    return Certificates(clock, ca_file)


def _serial(seed: int, index: int) -> str:
    return f"SIM{zlib.crc32(f'{seed}/{index}'.encode()):08X}"
