"""The listening sockets of a fleet: one port, many loopback addresses."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from ironic_lite.fleet.device import Reach

EACH_LISTENS_MAX: Final = 4000  # beyond, one socket listens for all: file descriptors are for connections
OWN_LISTENERS_MAX: Final = 2000  # of the BMCs of a larger fleet
BACKLOG: Final = 4096
PORT_ATTEMPTS: Final = 20
EVERY_ADDRESS: Final = "0.0.0.0"
_BURST: Final = 256  # connections taken before other work has its turn
_WITHOUT_DESCRIPTORS_S: Final = 1.0
_LOOPBACK: Final = ipaddress.IPv4Network("127.0.0.0/8")

Accept = Callable[[socket.socket], None]


def addresses(first: str, size: int) -> list[str]:
    """`size` addresses in a row. Raises `ValueError` unless all are in 127.0.0.0/8."""
    start = ipaddress.IPv4Address(first)
    if size < 1 or start not in _LOOPBACK or start + (size - 1) not in _LOOPBACK:
        raise ValueError(f"A fleet has at least 1 BMC, and all {size} addresses from {first} on are in {_LOOPBACK}.")
    return [str(start + index) for index in range(size)]


class Gate:
    """The listening socket of one address, or of all, which opens, refuses and goes deaf as its BMC does.

    A deaf one answers no SYN: its queue is kept full by connections of our own (`_plugs`), and the kernel drops what
    finds no room.
    """

    __slots__ = ("_accept", "_plugs", "_reach", "_socket", "address", "port")

    def __init__(self, address: str, port: int, accept: Accept) -> None:
        self.address = address
        self.port = port
        self._accept = accept
        self._reach = Reach.REFUSING
        self._socket: socket.socket | None = None
        self._plugs: dict[Any, socket.socket] = {}  # by their own address

    def listen(self) -> socket.socket:
        """Take the port, and let clients queue. Raises `OSError` when it is taken."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.address == EVERY_ADDRESS:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
            sock.bind((self.address, self.port))
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        self.port = sock.getsockname()[1]
        self._socket = sock
        return sock

    def set(self, reach: Reach) -> None:
        """Meet clients so from now on."""
        if reach is self._reach:
            return
        if reach is Reach.REFUSING:
            self.close()
        else:
            sock = self._socket if self._socket is not None else self.listen()
            if reach is Reach.DEAF:
                self._go_deaf(sock)
            else:
                self._hear(sock)
        self._reach = reach

    def close(self) -> None:
        """Listen no more."""
        self._unplug()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._reach = Reach.REFUSING

    def _hear(self, sock: socket.socket) -> None:
        sock.listen(BACKLOG)
        self._take_all()
        self._unplug()
        asyncio.get_running_loop().add_reader(sock, self._take_all)

    def _go_deaf(self, sock: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(sock)
        sock.listen(0)
        plug = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plug.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # it is full already
            plug.connect((self.address, self.port))
        self._plugs[plug.getsockname()] = plug

    def _unplug(self) -> None:
        for plug in self._plugs.values():
            plug.close()
        self._plugs.clear()

    def _take_all(self) -> None:
        if self._socket is None:
            return
        for _ in range(_BURST):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as exc:
                self._rest(exc)
                return
            if peer in self._plugs:
                sock.close()
            else:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._accept(sock)

    def _rest(self, exc: OSError) -> None:
        """Without descriptors, let some time pass: the selector would wake at once for ever."""
        if exc.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM} or self._socket is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.call_later(_WITHOUT_DESCRIPTORS_S, self._wake)

    def _wake(self) -> None:
        if self._socket is not None and self._reach is Reach.OPEN:
            asyncio.get_running_loop().add_reader(self._socket, self._take_all)


def listen_each(wanted: Sequence[str], port: int, accept: Accept) -> dict[str, Gate]:
    """A gate for each address, all on one port (0: one that is free on all). Raises `OSError` when it is taken."""
    for attempt in range(PORT_ATTEMPTS):
        try:
            return _listen_each(wanted, port, accept)
        except OSError as exc:
            if port or exc.errno != errno.EADDRINUSE or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _listen_each(wanted: Sequence[str], port: int, accept: Accept) -> dict[str, Gate]:
    gates: dict[str, Gate] = {}
    try:
        for address in wanted:
            gates[address] = Gate(address, port, accept)
            gates[address].listen()
            port = gates[address].port
    except OSError:
        for gate in gates.values():
            gate.close()
        raise
    return gates
