"""The one UDP socket behind which all IPMI BMCs of a fleet are, told apart by the address that a datagram was sent to.

Guarantees. Everything runs on the fleet's event loop. At most `BURST` datagrams are taken before other work has its
turn. What the kernel has no room for is lost, as on any network.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from ironic_lite.fleet.device import Site
from ironic_lite.fleet.ipmi.bmc import Ipmi

BURST: Final = 256
_DATAGRAM_BYTES: Final = 2048
_BUFFER_MIB: Final = 32
_PKTINFO: Final = 8  # IP_PKTINFO, which the socket module does not name before Python 3.14
_RCVBUFFORCE: Final = 33  # SO_RCVBUFFORCE: beyond net.core.rmem_max, for who may


class Endpoint:
    """All IPMI BMCs, by address. `loss` is the share of datagrams, each way, that get lost."""

    def __init__(self, site: Site, bmcs: Mapping[str, Ipmi], port: int, loss: float) -> None:
        self.port = port
        self.received = self.lost = 0
        self._bmcs = {socket.inet_aton(address): bmc for address, bmc in bmcs.items()}
        self._loss = loss
        self._chance = site.chance
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Take datagrams from now on. Raises `OSError` when the port or the loopback device cannot be bound."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
            sock.setsockopt(socket.IPPROTO_IP, _PKTINFO, 1)
            _widen(sock)
            sock.bind(("0.0.0.0", self.port))  # the device is the loopback one: nothing else reaches it
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        self.port = sock.getsockname()[1]
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._read, sock)

    def close(self) -> None:
        """End; what is still delayed is not sent."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, sock: socket.socket) -> None:
        for _ in range(BURST):
            try:
                datagram, ancillary, _flags, client = sock.recvmsg(_DATAGRAM_BYTES, 64)
            except OSError:  # nothing is left, or an earlier answer met a closed port
                return
            self.received += 1
            if self._loses():
                continue
            address = ancillary[0][2][8:12]
            bmc = self._bmcs.get(address)
            if bmc is not None:
                self._take(bmc, address, datagram, client)

    def _take(self, bmc: Ipmi, address: bytes, datagram: bytes, client: Any) -> None:
        reply = bmc.receive(datagram)
        if reply is None or self._loses():
            return
        delay_s = reply.delay_s + bmc.delay_s()
        bmc.tally.enter()
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._answer, bmc, address, reply.datagram, client)
        else:
            self._answer(bmc, address, reply.datagram, client)

    def _answer(self, bmc: Ipmi, address: bytes, datagram: bytes, client: Any) -> None:
        bmc.tally.end()
        self._send(address, datagram, client)

    def _send(self, address: bytes, datagram: bytes, client: Any) -> None:
        if self._socket is None:
            return
        source = struct.pack("=I4s4s", 0, address, address)
        with contextlib.suppress(OSError):  # no room, or a client that is gone: lost
            self._socket.sendmsg([datagram], [(socket.IPPROTO_IP, _PKTINFO, source)], 0, client)

    def _loses(self) -> bool:
        if self._loss and self._chance.random() < self._loss:
            self.lost += 1
            return True
        return False


def _widen(sock: socket.socket) -> None:
    """Room for a burst of a whole fleet, as far as this user may."""
    for option in (_RCVBUFFORCE, socket.SO_RCVBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_MIB << 20)
            return
