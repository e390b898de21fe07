"""The one UDP socket through which polls speak with all BMCs of an address family.

*Guarantees.* (1) A datagram reaches who asks at the address that it came from, and nobody else; one that nobody
waits for, or that is not the awaited answer, is dropped and counted. (2) At most `BURST` datagrams are taken before
other work of the loop has its turn. (3) What the network says of an address (nobody listens there, no way leads there)
ends who asks there with that error, and nobody else. Everything here runs on the I/O loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ironic_lite.drivers.ipmi.dropped import DROPPED
from ironic_lite.drivers.ipmi.faults import LoginRefused
from ironic_lite.drivers.ipmi.rmcp import Malformed

T = TypeVar("T")
Address = tuple[Any, ...]  # as `recvfrom` gives it: two fields for IPv4, four for IPv6
Hear = Callable[[bytes], T | None]

BURST: Final = 256
DATAGRAM_LIMIT: Final = 2048
BUFFER_BYTES: Final = 4 << 20  # room for the answers of a burst of polls, as far as the system allows
# Linux's IP_RECVERR and IPV6_RECVERR, which the socket module does not name: errors come with the address they are of.
RECEIVE_ERRORS: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
ERROR_NUMBER: Final = struct.Struct("=I")


class Line:
    """The socket of one family, and who waits for what from where.

    `malformed` are the addresses that sent such datagrams while they were asked.
    """

    def __init__(self, family: socket.AddressFamily) -> None:
        self.loop = asyncio.get_running_loop()
        self.malformed: set[Address] = set()
        self._waiting: dict[Address, tuple[asyncio.Future[Any], Hear[Any]]] = {}
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(*RECEIVE_ERRORS[family], 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.loop.add_reader(self._socket, self._read)

    async def ask(self, to: Address, datagram: bytes, hear: Hear[T], wait_s: float) -> T | None:
        """Send, and return what `hear` makes of an answer; None when none has come in time.

        Raises `OSError` and what `hear` raises, but for `Malformed`: such a datagram is dropped.
        """
        future: asyncio.Future[T | None] = self.loop.create_future()
        timer = self.loop.call_later(wait_s, _settle, future)
        self._waiting[to] = future, hear
        try:
            self._send(datagram, to)
            return await future
        finally:
            timer.cancel()
            del self._waiting[to]

    def tell(self, to: Address, datagram: bytes) -> None:
        """Send, and wait for nothing."""
        with contextlib.suppress(OSError):
            self._send(datagram, to)

    def close(self) -> None:
        """End. Who still waits is not told: the loop's end does that."""
        if not self.loop.is_closed():
            self.loop.remove_reader(self._socket)
        self._socket.close()

    def _send(self, datagram: bytes, to: Address) -> None:
        """An error that is waiting at the socket is told to the next who sends, whosever it is."""
        try:
            self._socket.sendto(datagram, to)
        except OSError:
            self._read_errors()
            self._socket.sendto(datagram, to)

    def _read(self) -> None:
        for _ in range(BURST):
            try:
                datagram, sender = self._socket.recvfrom(DATAGRAM_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                self._read_errors()
                continue
            self._take(datagram, sender)

    def _take(self, datagram: bytes, sender: Address) -> None:
        future, hear = self._waiting.get(sender, (None, None))
        if future is None or hear is None or future.done():
            DROPPED["unexpected"] += 1
            return
        try:
            answer = hear(datagram)
        except Malformed:
            DROPPED["malformed"] += 1
            self.malformed.add(sender)
        except LoginRefused as exc:
            future.set_exception(exc)
        else:
            if answer is None:
                DROPPED["stale"] += 1
            else:
                future.set_result(answer)

    def _read_errors(self) -> None:
        """Tell each error to who asks at its address."""
        for _ in range(BURST):
            try:
                _, ancillary, _, address = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            future, _ = self._waiting.get(address, (None, None))
            for _, _, data in ancillary:
                number = ERROR_NUMBER.unpack_from(data)[0]
                if future is not None and not future.done():
                    future.set_exception(OSError(number, os.strerror(number)))


def _settle(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
