"""JSON-RPC over HTTP: the client's kept connections, and the WSGI application on the other side.

Guarantees: (1) a call ends within `[json_rpc]timeout`, or the method's own limit
if that is shorter, connecting and the last byte of the answer included; (2) a
request is sent once: a kept connection that the peer has closed is noticed before the request goes out, and any
failure after that is told to the caller; (3) at most `MAX_IDLE_CONNECTIONS` are kept for each conductor; (4) the server
answers nobody without the credentials, compares them in constant time, and never logs them; (5) under TLS, they are
sent to nobody who does not prove to be the conductor; (6) calls that wait for a BMC take at most half of the API's
threads.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, ParamSpec, TypeVar

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock, new_secret
from ironic_lite.cluster import rpc
from ironic_lite.cluster.link import Link
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.config import Bool, Host, Int, OptionalStr, Port, Section, Str
from ironic_lite.db.conductors import Conductor
from ironic_lite.log import request_id
from ironic_lite.web.answers import answer
from ironic_lite.web.limits import check_depth, read_body
from ironic_lite.web.tls import TLS, VERSIONS, Identity, Trust

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
    timeout = Int(60, min=1, help="Seconds that a call may take, from connecting to the last byte of its answer.")
    threads = Int(8, min=2, help="Requests that a conductor's JSON-RPC serves at a time; half may wait for a BMC.")
    use_ssl = Bool(False, help="Whether a conductor's JSON-RPC speaks HTTPS, and nothing else.")
    cert_file = OptionalStr(None, help="PEM file of the conductor's certificate, followed by its chain.")
    key_file = OptionalStr(None, help="PEM file of the certificate's key; unset, it is in cert_file.")
    server_tls_minimum_version = Str("1.3", choices=[*VERSIONS], help="Oldest version of TLS that JSON-RPC accepts.")
    server_tls_ciphers = OptionalStr(None, help="Ciphers for TLS 1.2, in OpenSSL's words; unset, Python's choice.")
    cafile = OptionalStr(
        None, help="PEM file of the CAs that sign conductors' certificates; unset, those that this host trusts."
    )
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


def configured_identity() -> Identity:
    """What a conductor proves itself with under TLS."""
    return Identity("json_rpc", conf.cert_file, conf.key_file, conf.server_tls_minimum_version, conf.server_tls_ciphers)


class Conductors:
    """The client side: calls the conductor that owns a node."""

    def __init__(self, members: Members, credentials: Credentials, bmc_waits: BMCWaits) -> None:
        """Raises `ConfigurationError` when the CAs of the options cannot be read."""
        self._members, self.bmc_waits = members, bmc_waits
        self._header = credentials.header
        self._idle: defaultdict[str, deque[Link]] = defaultdict(deque)
        self._lock = threading.Lock()
        self._trust = TLS(Trust("json_rpc", conf.cafile)) if conf.cafile else None

    def call(self, owner: Conductor, method: rpc.Method[S, P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `method` there and return what it returned.

        Raises what it raised, `Unavailable` when as many calls as may do so wait for BMCs, or `ConductorUnreachable`:
        then the call may or may not have been carried out.
        """
        if not method.waits_for_bmc:
            return self._call(owner, method, *args, **kwargs)
        with self.bmc_waits.turn():
            return self._call(owner, method, *args, **kwargs)

    def reload(self) -> None:
        """Read the CAs again, for connections from now on."""
        if self._trust is not None:
            self._trust.reload()

    def _call(self, owner: Conductor, method: rpc.Method[S, P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        body = rpc.request(request_id.get() or "-", method, *args, **kwargs)
        try:
            timeout_s = min(conf.timeout, method.limit_s or conf.timeout)
            return rpc.result(method, self._post(owner.rpc_url, body, timeout_s))
        except (OSError, http.client.HTTPException) as exc:
            self._members.forget()
            raise errors.ConductorUnreachable(host=owner.hostname, reason=_reason(exc)) from exc

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            kept = [connection for idle in self._idle.values() for connection in idle]
            self._idle.clear()
        for connection in kept:
            connection.close()

    def _post(self, url: str, body: bytes, timeout_s: float) -> bytes:
        deadline = Deadline(SystemClock(), timeout_s)
        link = self._kept(url) or Link(url, self._trusted, deadline)
        try:
            content = link.post(self._header, body, deadline)
        except BaseException:
            link.close()
            raise
        self._keep(url, link)
        return content

    def _trusted(self) -> TLS:
        if self._trust is None:
            self._trust = TLS(Trust("json_rpc", None))
        return self._trust

    def _kept(self, url: str) -> Link | None:
        with self._lock:
            while self._idle[url]:
                link = self._idle[url].pop()
                if link.is_open():
                    return link
                link.close()
        return None

    def _keep(self, url: str, link: Link) -> None:
        with self._lock:
            if link.stays and len(self._idle[url]) < MAX_IDLE_CONNECTIONS:
                self._idle[url].append(link)
                return
        link.close()


def _reason(exc: OSError | http.client.HTTPException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted ({exc.verify_message.rstrip('.')})"
    return str(exc) or type(exc).__name__


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
