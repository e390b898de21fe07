"""One connection to a BMC, plain or TLS, on the I/O loop: non-blocking sockets and the loop's readers.

Why not asyncio's transports: each TLS one costs 310 KiB of memory on CPython 3.11 (docs/adr/0005).

*Guarantees.* (1) One request at a time, its answer read while it is still being sent. (2) An idle connection that the
BMC closes, or sends something over, is closed at once; `idle_s` then says for how long it had been idle. (3) A request
that fails or is cancelled closes the connection: no late answer can be taken for that of a later request. (4) Nothing
here blocks but for names, which the loop's resolver threads look up.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from ironic_lite.drivers.redfish.http1 import BrokenAnswer, HungUp, Reader, Response

_PIECE_BYTES: Final = 16384
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """An open connection."""

    __slots__ = (
        "_loop", "_quiet", "_quiet_s", "_reader", "_since", "_sock", "_unsent", "_waiter", "_writes", "idle_s",
    )  # fmt: skip

    def __init__(self, sock: socket.socket) -> None:
        """Over a socket that is connected, and through with its handshake."""
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = sock
        self._reader: Reader | None = None
        self._waiter: asyncio.Future[Response] | None = None
        self._unsent, self._writes = b"", False
        self._quiet: asyncio.TimerHandle | None = None
        self._quiet_s: float | None = None
        self._since = self._loop.time()
        self.idle_s: float | None = None
        self._loop.add_reader(sock.fileno(), self._readable)

    def is_open(self) -> bool:
        """Whether it may still be used."""
        return self._sock is not None

    def age_s(self) -> float:
        """For how long it has been idle."""
        return self._loop.time() - self._since

    async def ask(self, request: bytes, quiet_s: float | None) -> Response:
        """Send a request and return the answer.

        `quiet_s` bounds the BMC's silence before and within its answer; None leaves that to the caller.
        Raises `OSError` (among them `TimeoutError`, `HungUp`), `BrokenAnswer`.
        """
        if self._sock is None:
            raise HungUp
        self._waiter = self._loop.create_future()
        self._unsent, self._quiet_s = request, quiet_s
        try:
            if quiet_s is not None:
                self._listen()
            self._write()
            response = await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._reader = self._waiter = None
            if quiet_s is not None:
                self._stop_listening()
        if response.closes or self._unsent:  # answered early: the rest of the request would be taken for another one
            self.close()
        self._since = self._loop.time()
        return response

    def close(self) -> None:
        """End it at once."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()

    def _write(self) -> None:
        if self._sock is None:
            return
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except _NOT_NOW:
            pass
        except OSError:
            self._unsent = b""  # reading tells how it ends: a BMC that answers early and closes has answered
        if bool(self._unsent) != self._writes:
            self._writes = bool(self._unsent)
            if self._writes:
                self._loop.add_writer(self._sock.fileno(), self._write)
            else:
                self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data = self._received()
        except _NOT_NOW:
            return
        except OSError as exc:
            self._end(exc)
            return
        if self._waiter is None or self._waiter.done():
            self._end(None)
            return
        if self._reader is None:
            self._reader = Reader()
        try:
            response = self._reader.feed(data)
        except (BrokenAnswer, HungUp) as exc:
            self._end(exc)
            return
        if response is not None:
            self._waiter.set_result(response)
        elif self._quiet is not None:
            self._stop_listening()
            self._listen()

    def _received(self) -> bytes:
        sock = self._sock
        if sock is None:  # closed in this very turn of the loop
            raise BlockingIOError
        data = sock.recv(_PIECE_BYTES)
        # What OpenSSL holds already, no selector tells.
        while isinstance(sock, ssl.SSLSocket) and sock.pending():
            data += sock.recv(_PIECE_BYTES)
        return data

    def _end(self, exc: Exception | None) -> None:
        """The connection is over: in the middle of a request, or in a pause."""
        if self._waiter is None:
            self.idle_s = self.age_s()
        self.close()
        if self._waiter is not None and not self._waiter.done() and exc is not None:
            self._waiter.set_exception(exc)

    def _listen(self) -> None:
        if self._quiet_s is not None:
            self._quiet = self._loop.call_later(self._quiet_s, self._end, TimeoutError())

    def _stop_listening(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None


async def connect(host: str, port: int, tls: ssl.SSLContext | None) -> Wire:
    """A connection to the first of the host's addresses that takes one. Raises `OSError`, `ssl.SSLError`.

    An IPv6 address may have a zone (fe80::1%eth0). Bounded by the caller.
    """
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, _, protocol, _, address in await _addresses(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, address)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname=host.partition("%")[0], do_handshake_on_connect=False)
                await _shake_hands(sock)
            return Wire(sock)
        except OSError as exc:
            sock.close()
            if isinstance(exc, ssl.SSLError):
                raise
            failure = exc
        except BaseException:
            sock.close()
            raise
    raise failure


async def _addresses(host: str, port: int) -> list[Any]:
    """Where the host is; only a name leaves the loop's thread."""
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _shake_hands(sock: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await _once(loop.add_reader, loop.remove_reader, sock.fileno())
        except ssl.SSLWantWriteError:
            await _once(loop.add_writer, loop.remove_writer, sock.fileno())
        else:
            return


async def _once(add: Callable[..., None], remove: Callable[[int], bool], descriptor: int) -> None:
    ready = asyncio.get_running_loop().create_future()
    add(descriptor, _settle, ready)
    try:
        await ready
    finally:
        remove(descriptor)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
