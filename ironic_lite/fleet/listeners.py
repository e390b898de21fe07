"""The listening sockets of a fleet: one port, many loopback addresses."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

OWN_LISTENERS_MAX: Final = 256  # beyond, one socket listens for all: file descriptors are for connections
BACKLOG: Final = 1024
PORT_ATTEMPTS: Final = 20
EVERY_ADDRESS: Final = "0.0.0.0"
_LOOPBACK: Final = ipaddress.IPv4Network("127.0.0.0/8")


def addresses(first: str, size: int) -> list[str]:
    """`size` addresses in a row. Raises `ValueError` unless all are in 127.0.0.0/8."""
    start = ipaddress.IPv4Address(first)
    if size < 1 or start not in _LOOPBACK or start + (size - 1) not in _LOOPBACK:
        raise ValueError(f"A fleet has at least 1 BMC, and all {size} addresses from {first} on are in {_LOOPBACK}.")
    return [str(start + index) for index in range(size)]


def open_all(wanted: Sequence[str], port: int) -> dict[str, socket.socket]:
    """Listening sockets for all addresses on one port (0: a free one), by the address that they listen on.

    A large fleet listens with one socket on every address of the loopback device; where the kernel does not allow
    that, and in a small fleet, each address has its own. Raises `OSError` when the port is taken.
    """
    if len(wanted) > OWN_LISTENERS_MAX:
        try:
            return {EVERY_ADDRESS: listen(EVERY_ADDRESS, port)}
        except PermissionError:
            pass  # SO_BINDTODEVICE is a privilege on old kernels
    for attempt in range(PORT_ATTEMPTS):
        try:
            return _open_each(wanted, port)
        except OSError as exc:
            if port or exc.errno != errno.EADDRINUSE or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def listen(address: str, port: int) -> socket.socket:
    """One listening socket; the one for every address is bound to the loopback device and to nothing else."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address == EVERY_ADDRESS:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _open_each(wanted: Sequence[str], port: int) -> dict[str, socket.socket]:
    opened: dict[str, socket.socket] = {}
    try:
        for address in wanted:
            opened[address] = listen(address, port)
            port = opened[address].getsockname()[1]
    except OSError:
        for sock in opened.values():
            sock.close()
        raise
    return opened
