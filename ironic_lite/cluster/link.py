"""One kept connection to a conductor's JSON-RPC, plain or under TLS. It belongs to one call at a time.

Guarantees: one deadline covers all of a call: connecting, the handshake, sending, the answer's head and its body,
however slowly they drip. Only looking up a host name takes what the system's resolver allows itself.
"""

from __future__ import annotations

import http.client
import select
import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.web.streams import Incoming, Reader
from ironic_lite.web.tls import TLS, TLSSocket

_PORTS: Final = {"http": 80, "https": 443}


class Link:
    """A connection to the server of one URL."""

    def __init__(self, url: str, trust: Callable[[], TLS], deadline: Deadline) -> None:
        """Connect; `trust` is asked when the URL wants TLS. Raises `OSError`."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        self.stays = True
        self._host = parts.netloc
        self._socket: socket.socket = _connected(host, parts.port or _PORTS[parts.scheme], deadline)
        if parts.scheme == "https":
            self._socket = _secured(trust().wrap(self._socket, server_hostname=host), deadline)

    def post(self, authorization: str, body: bytes, deadline: Deadline) -> bytes:
        """Send the JSON once and return the answer's. Raises `OSError` and `http.client.HTTPException`."""
        head = (
            f"POST / HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: {authorization}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.settimeout(_left_s(deadline))
        self._socket.sendall(head.encode("latin-1") + body)
        self._incoming = Incoming(self._socket, SystemClock())
        self._incoming.allow(deadline.left_s())
        answer = http.client.HTTPResponse(self, method="POST")  # type: ignore[arg-type]  # it only wants `makefile`
        answer.begin()
        content = answer.read()
        self.stays = not answer.will_close
        if answer.status != 200:
            raise http.client.HTTPException(f"JSON-RPC answered {answer.status} {answer.reason}")
        return content

    def makefile(self, _mode: str) -> Reader:
        """What an answer is read from."""
        return Reader(self._incoming)

    def is_open(self) -> bool:
        """Whether the peer has kept it: an idle connection that is readable has been closed (nobody owes us data)."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._socket.close()


def _connected(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address that takes one."""
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left_s(deadline))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            sock.close()
            failure = exc
        else:
            return sock
    raise failure


def _secured(tls: TLSSocket, deadline: Deadline) -> TLSSocket:
    try:
        tls.settimeout(_left_s(deadline))
        tls.do_handshake()
    except BaseException:
        tls.close()
        raise
    return tls


def _left_s(deadline: Deadline) -> float:
    left_s = deadline.left_s()
    if not left_s:  # as a time-out, 0 would mean not to wait but to go on
        raise TimeoutError("timed out")
    return left_s
