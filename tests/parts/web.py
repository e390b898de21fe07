"""The web server in this process, with an application that shows what became of a request."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from ironic_lite import errors
from ironic_lite.web.limits import Limits, read_body
from ironic_lite.web.listeners import listen
from ironic_lite.web.server import Server
from ironic_lite.web.tls import TLS, Identity
from tests.parts.certificates import Authority, Pair


class Application:
    """Answers at once, but on /hold only when it is let go. /read reads the body, /silent does not."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.held = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        status, answer = self._answer(environ)
        start_response(status, [("Content-Length", str(len(answer)))])
        return [answer]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, bytes]:
        path = environ["PATH_INFO"]
        if path == "/hold":
            self.held.release()
            self.go.wait(10)
        elif path == "/fail":
            raise ValueError("broken on purpose")
        elif path == "/exit":
            raise SystemExit(3)
        elif path == "/read":
            try:
                return "200 OK", read_body(environ, limit_kib=32)
            except errors.Error as exc:
                return f"{exc.status} Refused", str(exc).encode()
        told = {
            "/big": b"x" * 300_000,
            "/roles": environ.get("HTTP_X_ROLES", "none").encode(),
            "/scheme": environ["wsgi.url_scheme"].encode(),
        }
        return "200 OK", told.get(path, b"ok")


class Serving:
    """A server that runs, and its clients."""

    def __init__(self, threads: int = 4, identity: TLS | None = None, **limits: Any) -> None:
        self.application = Application()
        self.server = Server(
            "test",
            listen("127.0.0.1", 0),
            self.application,
            threads=threads,
            limits=Limits(**{"body_kib": 64} | limits),
            identity=identity,
        )
        self.server.start()

    def get(self, path: str = "/", timeout_s: float = 8.0) -> tuple[int, bytes]:
        client = self.client(timeout_s)
        client.request("GET", path)
        with client.getresponse() as answer:
            result = answer.status, answer.read()
        client.close()
        return result

    def client(self, timeout_s: float = 8.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.server.address, timeout=timeout_s)

    def raw(self, data: bytes = b"", timeout_s: float = 8.0) -> socket.socket:
        connection = socket.create_connection(self.server.address, timeout=timeout_s)
        connection.sendall(data)
        return connection

    def exchange(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        with self.raw(data) as connection:
            return b"".join(iter(lambda: connection.recv(65536), b""))


class SecureServing(Serving):
    """The same over TLS."""

    def __init__(self, authority: Authority, pair: Pair | None = None, minimum: str = "1.2", **more: Any) -> None:
        self.pair = pair or authority.issue("server")
        self.context = ssl.create_default_context(cafile=authority.path)
        self.identity = TLS(Identity("test", str(self.pair.certificate), str(self.pair.key), minimum, None))
        super().__init__(identity=self.identity, **more)

    def client(self, timeout_s: float = 8.0) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self.server.address, timeout=timeout_s, context=self.context)

    def raw(self, data: bytes = b"", timeout_s: float = 8.0) -> ssl.SSLSocket:
        connection = self.context.wrap_socket(super().raw(timeout_s=timeout_s), server_hostname="127.0.0.1")
        connection.sendall(data)
        return connection

    def bare(self, data: bytes = b"", timeout_s: float = 8.0) -> socket.socket:
        """A client that has shaken no hands."""
        return super().raw(data, timeout_s)
