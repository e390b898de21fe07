"""A TCP proxy whose link can be cut: nothing is refused and nothing reset, it only no longer arrives."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator


class TcpProxy:
    """Stands between clients and one server on 127.0.0.1."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._front = socket.create_server(("127.0.0.1", 0))
        self._front.setblocking(False)
        self.port: int = self._front.getsockname()[1]
        self._stop, self._cut = threading.Event(), threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._far: dict[socket.socket, socket.socket | None] = {}
        self._lost: set[socket.socket] = set()

    def cut(self) -> None:
        """From here on what is sent through any connection is swallowed; new ones open, and nobody answers."""
        self._cut.set()

    def mend(self) -> None:
        """New connections work again; those of before stay silent, as behind a firewall that forgot them."""
        self._cut.clear()

    def run(self) -> None:
        """Carry, until `close`."""
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._front:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._carry(key.fileobj)
            if self._cut.is_set():
                self._lost.update(self._far)
        for one in (self._front, *self._far):
            one.close()
        self._selector.close()

    def close(self) -> None:
        """Make `run` end."""
        self._stop.set()

    def _accept(self) -> None:
        near, _ = self._front.accept()
        far = None if self._cut.is_set() else socket.create_connection(("127.0.0.1", self._server_port), 5)
        self._pair(near, far)
        if far is not None:
            self._pair(far, near)

    def _pair(self, one: socket.socket, other: socket.socket | None) -> None:
        self._far[one] = other
        self._selector.register(one, selectors.EVENT_READ)

    def _carry(self, source: socket.socket) -> None:
        if source not in self._far:  # its other end closed it a moment ago
            return
        try:
            data = source.recv(65536)
        except ConnectionError:
            data = b""
        far = self._far[source]
        if not data:
            self._forget(source)
            if far is not None and source not in self._lost and not self._cut.is_set():
                self._forget(far)
        elif far in self._far and source not in self._lost and not self._cut.is_set():
            with contextlib.suppress(ConnectionError):  # it hung up meanwhile, and is forgotten when it is read
                far.sendall(data)

    def _forget(self, one: socket.socket) -> None:
        if self._far.pop(one, self) is not self:
            self._selector.unregister(one)
            self._lost.discard(one)
            one.close()


@contextlib.contextmanager
def tcp_proxy(server_port: int) -> Iterator[TcpProxy]:
    """Run one on 127.0.0.1 for as long as the block runs."""
    proxy = TcpProxy(server_port)
    thread = threading.Thread(target=proxy.run)  # noqa: TID251  # the peer's own
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(10)
