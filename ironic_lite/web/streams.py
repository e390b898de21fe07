"""The two ends of a connection as cheroot reads and writes them: buffered in C, one send per answer, bounded in time.

cheroot's own are written in Python and send head and body of an answer apart, which costs a quarter of its CPU time;
and its timeout is per read, so that a client that drips one byte at a time holds a thread for as long as it likes.
"""

from __future__ import annotations

import io
import socket
from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Clock

_CHUNK_LINE_LIMIT: Final = 256  # bytes of a chunk's size line or of a trailer
_TRAILERS_LIMIT: Final = 32


class Incoming(io.RawIOBase):
    """The bytes from a client until a deadline."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self._socket, self._clock = sock, clock
        self._end = 0.0
        self.buffered_only = False

    def allow(self, timeout_s: float) -> None:
        """Let everything read from now on take this long together."""
        self._end = self._clock.monotonic() + timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]  # BufferedReader hands a memoryview
        if self.buffered_only:
            return None
        left_s = self._end - self._clock.monotonic()
        if left_s <= 0.0:
            raise TimeoutError("timed out")  # these words make cheroot answer 408
        self._socket.settimeout(left_s)
        return self._socket.recv_into(buffer)


class Reader(io.BufferedReader):
    """What cheroot reads requests from."""

    def __init__(self, incoming: Incoming) -> None:
        super().__init__(incoming)
        self.incoming = incoming

    def has_data(self) -> bool:
        """Whether a next request has begun to arrive in the buffer (pipelining)."""
        self.incoming.buffered_only = True
        try:
            return bool(self.peek(1))
        finally:
            self.incoming.buffered_only = False


class Writer:
    """What cheroot writes answers to: holds the head back until the first piece of the body goes with it."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._socket, self._timeout_s = sock, timeout_s
        self._held: list[bytes] = []
        self.holding = False

    def write(self, data: bytes) -> None:
        """Send everything held and this, or hold it. Raises `TimeoutError` for a client that does not read."""
        self._held.append(data)
        if not self.holding:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            data, self._held = b"".join(self._held), []
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(data)


class ChunkedBody(io.RawIOBase):
    """A body in chunks (RFC 9112, 7.1), to be wrapped in `io.BufferedReader`.

    Raises `BodyTooLarge` past the limit, and `Invalid` for chunks that make no sense.
    """

    def __init__(self, source: Reader, limit_kib: int) -> None:
        self._source, self._limit_kib = source, limit_kib
        self._allowed = limit_kib * 1024
        self._left = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader hands a memoryview
        if not self._left and not self._ended:
            self._begin_chunk()
        if self._ended:
            return 0
        count = self._source.readinto1(memoryview(buffer)[: self._left])
        if not count:
            raise errors.Invalid(reason="The request body ended in the middle of a chunk.")
        self._left -= count
        if not self._left and self._source.read(2) != b"\r\n":
            raise errors.Invalid(reason="A chunk of the request body does not end where its size says.")
        return count

    def _begin_chunk(self) -> None:
        size = self._line().split(b";", 1)[0].strip()
        if not size or size.strip(b"0123456789abcdefABCDEF"):
            raise errors.Invalid(reason="A chunk of the request body has no hexadecimal size.")
        self._left = int(size, 16)
        self._allowed -= self._left
        if self._allowed < 0:
            raise errors.BodyTooLarge(limit_kib=self._limit_kib)
        if not self._left:
            self._skip_trailers()
            self._ended = True

    def _skip_trailers(self) -> None:
        for _ in range(_TRAILERS_LIMIT):
            if self._line() == b"\r\n":
                return
        raise errors.Invalid(reason=f"The request body has more than {_TRAILERS_LIMIT} trailers.")

    def _line(self) -> bytes:
        line = self._source.readline(_CHUNK_LINE_LIMIT)
        if not line.endswith(b"\r\n"):
            raise errors.Invalid(reason=f"A line between chunks is cut or longer than {_CHUNK_LINE_LIMIT} bytes.")
        return line
