"""A non-blocking socket on the event loop, with or without TLS: bytes in, bytes out.

asyncio's own TLS transport costs about 300 KiB of memory for each connection (CPython 3.11); an SSLSocket that the
loop only watches costs a tenth of it.

Guarantees. Everything runs on one event loop. `received` is called from the loop alone, never from within another
method; `closed` is called once, by whatever ends the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Final, Protocol

# As much as a TLS record holds, so that nothing decrypted is left over that no selector would tell of. Larger buffers
# are mapped and unmapped for each read.
_READ_BYTES: Final = 16384
_READS_AT_END: Final = 8
_CLOSE_WAIT: Final = 8  # the state in TCP_INFO of a connection whose other end has closed it
_RESET: Final = struct.pack("ii", 1, 0)
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError)


class Receiver(Protocol):
    """Who is told what comes."""

    def secured(self) -> None:
        """The TLS handshake is done."""

    def received(self, data: bytes) -> None:
        """Bytes have come."""

    def closed(self) -> None:
        """The channel has ended, from either side."""


class Channel:
    """A connected socket, owned from here on. With `context` the peer is expected to open TLS."""

    __slots__ = ("_closing", "_loop", "_out", "_reading", "_receiver", "_shaking", "_socket")

    def __init__(self, receiver: Receiver, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._shaking = context is not None
        self._socket: socket.socket = (
            sock if context is None else context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        )
        self._out = b""
        self._closing = False  # as soon as everything is sent
        self._reading = False

    @property
    def ended(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closing or self._socket.fileno() < 0

    def resume(self) -> None:
        """Read on."""
        if not self._reading and not self.ended:
            self._reading = True
            self._loop.add_reader(self._socket, self._readable)

    def pause(self) -> None:
        """Leave in the kernel what comes."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)

    def send(self, data: bytes) -> None:
        """Send all of it, now or when there is room."""
        if self.ended:
            return
        if self._out:
            self._out += data
            return
        self._out = data
        self._flush()

    def close(self) -> None:
        """End when what was sent has gone out."""
        if self._out:
            self._closing = True
        elif not self.ended:
            with contextlib.suppress(OSError, ValueError):
                self._part()
            self._end()

    def abort(self) -> None:
        """End at once: the peer meets a reset."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._end()

    def abandoned(self) -> bool:
        """Whether the peer has gone, told without reading."""
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSE_WAIT

    def _part(self) -> None:
        """Say good-bye, and take what still came: a close that leaves bytes unread is a reset, and eats the answer."""
        if isinstance(self._socket, ssl.SSLSocket):
            if not self._shaking:
                self._socket.unwrap()
            return
        self._socket.shutdown(socket.SHUT_WR)
        for _ in range(_READS_AT_END):
            if not self._socket.recv(_READ_BYTES):
                return

    def _readable(self) -> None:
        if not self._reading:
            return
        try:
            if self._shaking and isinstance(self._socket, ssl.SSLSocket):
                self._socket.do_handshake()
                self._shaking = False
                self._receiver.secured()
                return
            data = self._socket.recv(_READ_BYTES)
        except _NOT_NOW:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._receiver.received(data)

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = 0
        except OSError:
            self._end()
            return
        self._out = self._out[sent:]
        if self._out:
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket)
        self._flush()
        if self._closing and not self._out:
            self._closing = False
            self.close()

    def _end(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        if self._out:
            self._loop.remove_writer(self._socket)
            self._out = b""
        self._reading = False
        self._socket.close()
        self._receiver.closed()
