"""HTTP as cheroot speaks it, with the holes closed. Which thread waits where is `server.py`'s.

cheroot parses requests and writes answers; the classes here change what a hostile or broken client could use: bodies
with two lengths, header names that turn into other names, waits without an end, answers that get lost in a reset.
"""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

import cheroot
from cheroot import server, wsgi

from ironic_lite import errors
from ironic_lite.clock import Clock
from ironic_lite.web.limits import Limits
from ironic_lite.web.streams import ChunkedBody, Incoming, Reader, Writer

LOG = logging.getLogger(__name__)

_WORTH_READING: Final = 65536  # bytes of a body that nobody asked for, to keep its connection
_LINGERING_BYTES_LIMIT: Final = 16 * 1024 * 1024
_RETRY_AFTER_S: Final = 2
# Of TCP itself, also where TLS is spoken on the socket: nothing is decrypted to be thrown away, and nothing of TLS is
# taken down under the thread that uses it.
_recv, _shutdown = socket.socket.recv, socket.socket.shutdown

# What the classes below take over or rely on, and what of it cheroot does not promise to keep.
Names = tuple[tuple[type, tuple[str, ...]], ...]
USED: Final[Names] = (
    (server.HeaderReader, ("_allow_header",)),
    (server.KnownLengthRFile, ("read", "readline")),
    (
        server.HTTPRequest,
        ("parse_request", "read_request_headers", "respond", "simple_response", "send_headers", "ensure_headers_sent"),
    ),
    (server.HTTPConnection, ("communicate", "_conditional_error")),
    (wsgi.Server, ("error_log", "can_add_keepalive_connection", "clear_stats", "ssl_adapter")),
)


def check_cheroot(version: str = cheroot.__version__, used: Names = USED) -> None:
    """Raise `ConfigurationError` when the installed cheroot is not one that this module knows."""
    missing = [f"{owner.__name__}.{name}" for owner, names in used for name in names if not hasattr(owner, name)]
    if missing or not version.startswith("11."):
        raise errors.ConfigurationError(
            reason=f"cheroot {version} cannot be used; a version from 11.1.2 to before 12 is needed"
            f" (missing: {', '.join(missing) or 'nothing, but it was never tried'})."
        )


class Headers(server.HeaderReader):
    """Headers without underscores: in a WSGI environ `X_Roles` could not be told from `X-Roles`."""

    def _allow_header(self, key_name: bytes) -> bool:
        return b"_" not in key_name


class Request(server.HTTPRequest):
    """One request and its answer."""

    server: Protocol
    conn: Connection
    header_reader = Headers()

    def parse_request(self) -> None:
        limits = self.server.limits
        self.conn.rfile.incoming.allow(limits.header_timeout_s)
        super().parse_request()
        self.conn.rfile.incoming.allow(limits.body_timeout_s)

    def read_request_headers(self) -> bool:
        """Refuse a body whose end two readers could see in two places (request smuggling)."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]  # cheroot's stubs leave it untyped
            return False
        length = self.inheaders.get(b"Content-Length")
        if length is not None and not length.isdigit():
            self.simple_response("400 Bad Request", "Content-Length must be a whole number.")
            return False
        if b"Transfer-Encoding" in self.inheaders and (length is not None or not self.chunked_read):
            self.simple_response("400 Bad Request", "Give either Content-Length or Transfer-Encoding: chunked.")
            return False
        if self.chunked_read:
            self.end_connection()
        return True

    def respond(self) -> None:
        if self.chunked_read:
            self.rfile = io.BufferedReader(ChunkedBody(self.conn.rfile, self.server.limits.body_kib))
        else:
            self.rfile = server.KnownLengthRFile(self.conn.rfile, int(self.inheaders.get(b"Content-Length", 0)))
        self.server.gateway(self).respond()
        self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")
        self.conn.wfile.flush()

    def send_headers(self) -> None:
        """Hold the head back, to go out with the body."""
        if not self.chunked_read and self.rfile.remaining:
            self._skip_body()
        self.conn.wfile.holding = True
        try:
            super().send_headers()
        finally:
            self.conn.wfile.holding = False

    def _skip_body(self) -> None:
        """Read what the application left of the body, if it is small and comes in time; else the connection ends."""
        if self.rfile.remaining > _WORTH_READING or self.close_connection:
            self.end_connection()
            return
        try:
            self.rfile.read(self.rfile.remaining)
        except OSError:
            self.end_connection()

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer what never reaches the application, in one send, and end the connection."""
        self.end_connection()
        self.sent_headers = True
        self.conn.wfile.write(plain_answer(status, msg))

    def end_connection(self) -> None:
        """Close after the answer, with patience: the client may still be sending."""
        self.close_connection = True
        self.conn.lingers = True


def plain_answer(status: str, text: str = "", *, retry_after_s: int | None = None) -> bytes:
    """A whole answer of plain text that closes its connection."""
    retry = "" if retry_after_s is None else f"Retry-After: {retry_after_s}\r\n"
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n{retry}"
        f"Connection: close\r\n\r\n{text}"
    ).encode("latin-1", "replace")


class Connection(server.HTTPConnection):
    """A client's connection. It belongs to one thread at a time: a worker's, or the serving one's while it waits."""

    RequestHandlerClass = Request
    server: Protocol

    def __init__(self, owner: Protocol, sock: socket.socket, address: tuple[Any, ...]) -> None:
        # Without cheroot's own __init__: its caches of peer credentials make a reference cycle of each connection.
        self.server, self.socket = owner, sock
        self.remote_addr, self.remote_port = address[:2]
        self.rfile = Reader(Incoming(sock, owner.clock))
        self.wfile = Writer(sock, owner.limits.answer_timeout_s)
        self.requests_seen = 0
        self.idle_until = 0.0  # on the server's clock; when the serving thread gives it up
        self.lingers = False
        self.watched = False  # known to the server's epoll set
        self._discarded = 0

    def refuse(self) -> None:
        """Answer 503 now, or never: no thread waits for a client that is being turned away."""
        self.lingers = True
        answer = plain_answer(
            "503 Service Unavailable", "The server has as many requests as it can take.", retry_after_s=_RETRY_AFTER_S
        )
        self.socket.setblocking(False)
        try:
            self.socket.send(answer)
        except OSError as exc:
            LOG.debug("A client at %s was turned away and could not be told: %s.", self.remote_addr, exc)

    def discard(self) -> bool:
        """Throw away what still comes in, so that the answer is not lost in a reset. False when there is no more."""
        try:
            count = len(_recv(self.socket, 65536, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._discarded += count
        return count > 0 and self._discarded < _LINGERING_BYTES_LIMIT

    def end_sending(self) -> None:
        """Tell the client that the answer is complete while it may still send."""
        try:
            _shutdown(self.socket, socket.SHUT_WR)
        except OSError as exc:
            LOG.debug("The connection of %s had already ended: %s.", self.remote_addr, exc)

    def has_input(self) -> bool:
        """Whether a request has begun to arrive that nobody read yet."""
        try:
            return len(_recv(self.socket, 1, socket.MSG_DONTWAIT | socket.MSG_PEEK)) > 0
        except OSError:
            return False

    def cut(self) -> None:
        """End both directions under whoever still uses the connection; its next read or write fails."""
        try:
            _shutdown(self.socket, socket.SHUT_RDWR)
        except OSError as exc:
            LOG.debug("The connection of %s had already ended: %s.", self.remote_addr, exc)

    def close(self) -> None:
        self.socket.close()


class Protocol(wsgi.Server):
    """What cheroot's requests ask of their server: limits, names, and whether a connection may stay."""

    ConnectionClass = Connection

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        application: object,
        *,
        limits: Limits,
        clock: Clock,
        may_stay: Callable[[], bool],
    ) -> None:
        super().__init__(address, application, server_name=name)
        self.limits, self.clock, self._may_stay = limits, clock, may_stay
        self.software = name
        self.max_request_header_size = limits.header_kib * 1024
        self.max_request_body_size = limits.body_kib * 1024
        self.timeout = int(limits.keepalive_timeout_s)  # cheroot tells it to HTTP/1.0 clients

    @property
    def can_add_keepalive_connection(self) -> bool:
        return self._may_stay()

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:  # noqa: FBT001, FBT002  # cheroot's signature
        LOG.log(level, "%s", msg, exc_info=traceback)
