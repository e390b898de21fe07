"""JSON-RPC over HTTP: the client's kept connections, and the WSGI application on the other side.

Guarantees: (1) each wait for the peer ends within `[json_rpc]timeout`, or the method's own limit if that is shorter,
and an answer comes in one piece; (2) a request
is sent once: a kept connection that the peer has closed is noticed before the request goes out, and any failure after
that is told to the caller; (3) at most `MAX_IDLE_CONNECTIONS` are kept for each conductor; (4) the server answers
nobody without the credentials, compares them in constant time, and never logs them.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import select
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, ParamSpec, TypeVar
from urllib.parse import urlsplit

import msgspec

from ironic_lite import errors
from ironic_lite.clock import new_secret
from ironic_lite.cluster import rpc
from ironic_lite.cluster.members import Members
from ironic_lite.config import Host, Int, OptionalStr, Port, Section, Str
from ironic_lite.db.conductors import Conductor
from ironic_lite.log import request_id
from ironic_lite.web.answers import answer
from ironic_lite.web.limits import check_depth, read_body

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

MAX_IDLE_CONNECTIONS: Final = 16
MAX_BODY_KIB: Final = 1024
MAX_DEPTH: Final = 25


class conf(Section, name="json_rpc"):
    """Between the API and the conductors."""

    host_ip = Host("127.0.0.1", help="Address on which a conductor's JSON-RPC listens.")
    port = Port(8089, help="Port on which a conductor's JSON-RPC listens.")
    advertised_url = OptionalStr(
        None,
        help="URL under which the APIs reach this conductor; without it, made of host_ip (or [DEFAULT]host) and port.",
    )
    timeout = Int(60, min=1, help="Seconds after which the API gives up on a conductor's answer.")
    threads = Int(8, min=2, help="Requests that a conductor's JSON-RPC serves at a time.")
    auth_strategy = Str(
        "http_basic", choices=["http_basic"], help="How callers prove themselves; JSON-RPC is never open."
    )
    username = OptionalStr(None, help="User name that APIs present and conductors demand.")
    password = OptionalStr(None, secret=True, help="Password that APIs present and conductors demand.")


class Credentials(msgspec.Struct, frozen=True):
    """What a caller of JSON-RPC must know."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"

    @property
    def header(self) -> str:
        """The Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def configured_credentials() -> Credentials:
    """The credentials of the options. Raises `ConfigurationError` if they are missing."""
    if not conf.username or not conf.password:
        raise errors.ConfigurationError(
            reason="JSON-RPC is never open: set [json_rpc]username and [json_rpc]password, the same for every API and "
            "conductor (the all-in-one `ironic-lite` makes a secret of its own)."
        )
    return Credentials(conf.username, conf.password)


def one_time_credentials() -> Credentials:
    """The configured credentials, or a secret for the life of one launcher."""
    if conf.username or conf.password:
        return configured_credentials()
    return Credentials("ironic-lite", new_secret())


class Conductors:
    """The client side: calls the conductor that owns a node."""

    def __init__(self, members: Members, credentials: Credentials) -> None:
        self._members = members
        self._header = credentials.header
        self._idle: defaultdict[str, deque[http.client.HTTPConnection]] = defaultdict(deque)
        self._lock = threading.Lock()

    def call(self, owner: Conductor, method: rpc.Method[S, P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `method` there and return what it returned.

        Raises what it raised, or `ConductorUnreachable`: then the call may or may not have been carried out.
        """
        body = rpc.request(request_id.get() or "-", method, *args, **kwargs)
        try:
            return rpc.result(
                method, self._post(owner.rpc_url, body, min(conf.timeout, method.limit_s or conf.timeout))
            )
        except (OSError, http.client.HTTPException) as exc:
            self._members.forget()
            reason = "no answer in time" if isinstance(exc, TimeoutError) else str(exc) or type(exc).__name__
            raise errors.ConductorUnreachable(host=owner.hostname, reason=reason) from exc

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            kept = [connection for idle in self._idle.values() for connection in idle]
            self._idle.clear()
        for connection in kept:
            connection.close()

    def _post(self, url: str, body: bytes, timeout_s: float) -> bytes:
        connection = self._connection(url, timeout_s)
        try:
            connection.request("POST", "/", body, {"Authorization": self._header, "Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except BaseException:
            connection.close()
            raise
        self._keep(url, connection)
        if answer.status != 200:
            raise http.client.HTTPException(f"JSON-RPC answered {answer.status} {answer.reason}")
        return content

    def _connection(self, url: str, timeout_s: float) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle[url]:
                kept = self._idle[url].pop()
                if _still_open(kept):
                    kept.sock.settimeout(timeout_s)
                    return kept
                kept.close()
        parts = urlsplit(url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)

    def _keep(self, url: str, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if connection.sock is not None and len(self._idle[url]) < MAX_IDLE_CONNECTIONS:
                self._idle[url].append(connection)
                return
        connection.close()


def _still_open(connection: http.client.HTTPConnection) -> bool:
    """An idle connection that is readable has been closed by the peer (nobody owes us data)."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


class Application(Generic[S]):
    """The WSGI application in front of a conductor's methods."""

    def __init__(self, dispatcher: rpc.Dispatcher[S], credentials: Credentials) -> None:
        self._dispatcher = dispatcher
        self._header = credentials.header.encode()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1")
        if not hmac.compare_digest(given, self._header):
            return answer(start_response, "401 Unauthorized", b"", ("WWW-Authenticate", 'Basic realm="JSON-RPC"'))
        if environ["REQUEST_METHOD"] != "POST":
            return answer(start_response, "405 Method Not Allowed", b"", ("Allow", "POST"))
        try:
            body = read_body(environ, MAX_BODY_KIB)
            check_depth(body, MAX_DEPTH)
        except errors.Error as exc:
            return answer(start_response, f"{exc.status} Refused", str(exc).encode())
        return answer(start_response, "200 OK", self._dispatcher.serve(body), ("Content-Type", "application/json"))
