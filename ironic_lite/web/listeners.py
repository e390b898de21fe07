"""Listening sockets: made once, by the process that lives longest, and shared with those that serve."""

from __future__ import annotations

import socket
from typing import Final

from ironic_lite import errors

_BACKLOG: Final = 512  # connections that wait in the kernel: 5 lets bursts of 200 time out, 512 answers them in 0.3 s


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes any free one. IPv6's `::` serves IPv4 as well.

    The socket is non-blocking: among processes that share it, one that comes too late for a connection must not wait.
    Raises `ConfigurationError` naming host and port.
    """
    try:
        (family, kind, protocol, _, address), *_rest = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return _bound(socket.socket(family, kind, protocol), address)
    except OSError as exc:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise errors.ConfigurationError(reason=f"Cannot listen on {where}: {exc.strerror or exc}.") from exc


def _bound(listener: socket.socket, address: tuple[object, ...]) -> socket.socket:
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
