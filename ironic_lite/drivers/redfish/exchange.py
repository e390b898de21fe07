"""One HTTP connection to a BMC that keeps a deadline, whatever the BMC does. Knows nothing of Redfish.

*Guarantees.* (1) Connecting, sending and each single read are given no more time than the deadline leaves, so a BMC
that hangs or drips ends with `TimeoutError` on time. (2) A GET that found the kept connection closed is sent once more
on a new one. Anything else is sent once, on a connection opened for it, so that a stale one can never leave in doubt
whether it arrived. (3) A connection that failed in any way is not used again. Not thread-safe: one user at a time.

Names are resolved by the C library, whose own time-outs bound that part.
"""

from __future__ import annotations

import functools
import http.client
import io
import json
import pathlib
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ironic_lite.clock import Deadline
from ironic_lite.config import Float, Section
from ironic_lite.drivers.redfish.account import Account

BODY_LIMIT_KIB: Final = 8192
REDIRECTS: Final = 3
# What a kept connection that the BMC has closed meanwhile looks like at the next request.
STALE: Final = (
    http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError,
)  # fmt: skip


class conf(Section, name="redfish"):  # a section reads as `conf.option`
    """How long a BMC may take. Ironic waits 30 and 60 seconds, and retries; here one deadline bounds all."""

    connect_timeout = Float(10.0, min=0.1, help="Seconds that connecting to a BMC may take.")
    read_timeout = Float(30.0, min=0.1, help="Seconds that a BMC may stay silent before its answer.")


class Response(msgspec.Struct, frozen=True):
    """An answer, with what sushy reads of it."""

    status_code: int
    headers: http.client.HTTPMessage
    content: bytes

    def json(self) -> Any:
        """The body decoded. Raises `ValueError` for anything but JSON."""
        return json.loads(self.content)


class _Timed(io.RawIOBase):
    """The reading side of a socket, with every single read under the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_time_for(self._deadline, conf.read_timeout))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer that is read, headers and body alike, through `_Timed`."""

    def __init__(self, sock: socket.socket, *, deadline: Deadline, method: str | None = None, **more: Any) -> None:
        super().__init__(sock, method=method, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock, deadline))


class Exchange:
    """The connection to one BMC; opened when needed, kept while the BMC keeps it."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._connection: http.client.HTTPConnection | None = None

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Response:
        """Send a request and return the answer, whatever its status; a GET follows redirects on the same BMC.

        Raises `OSError` (among them `TimeoutError`, `ssl.SSLError`), `http.client.HTTPException`.
        """
        for _ in range(REDIRECTS + 1):
            response = self._once_or_again(method, path, headers, body, deadline)
            location = response.headers.get("Location")
            if method != "GET" or response.status_code not in (301, 302, 303, 307, 308) or not location:
                return response
            path = self._same_bmc(urllib.parse.urljoin(f"{self._account.address}{path}", location))
        raise http.client.HTTPException(f"it redirected {path} more than {REDIRECTS} times")

    def close(self) -> None:
        """Drop the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _same_bmc(self, url: str) -> str:
        """The path of a redirect. To follow it elsewhere would hand the credentials to another host."""
        target, here = urllib.parse.urlsplit(url), urllib.parse.urlsplit(self._account.address)
        if target.hostname != here.hostname or target.scheme != here.scheme:
            raise http.client.HTTPException(f"it redirected to another host, {target.scheme}://{target.hostname}")
        return f"{target.path}?{target.query}" if target.query else target.path

    def _once_or_again(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Response:
        if method != "GET":
            self.close()
        kept = self._connection is not None
        try:
            return self._once(method, path, headers, body, deadline)
        except STALE:
            if not kept:
                raise
            return self._once(method, path, headers, body, deadline)

    def _once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
    ) -> Response:
        try:
            connection = self._connection or self._connect(deadline)
            self._connection = connection
            connection.response_class = functools.partial(_TimedResponse, deadline=deadline)  # type: ignore[assignment]
            connection.sock.settimeout(_time_for(deadline, conf.read_timeout))
            connection.request(method, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            content = answer.read(BODY_LIMIT_KIB * 1024 + 1)
            if len(content) > BODY_LIMIT_KIB * 1024:
                raise http.client.HTTPException(f"its answer is over the limit of {BODY_LIMIT_KIB} KiB")
            answer.close()
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return Response(status_code=answer.status, headers=answer.headers, content=content)

    def _connect(self, deadline: Deadline) -> http.client.HTTPConnection:
        timeout_s = _time_for(deadline, conf.connect_timeout)
        host, port = self._account.host, self._account.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context(self._account.verify))
            if self._account.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout_s)
        )
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection


def _time_for(deadline: Deadline, limit_s: float) -> float:
    left_s = deadline.left_s()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return min(limit_s, left_s)


@functools.lru_cache(maxsize=64)
def context(verify: bool | str) -> ssl.SSLContext:  # noqa: FBT001  # a CA setting, not a flag
    """The TLS settings for one CA setting, shared: a context of its own costs each connection 40 ms and 1 MB."""
    if verify is False:
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        return unverified
    if verify is True:
        return ssl.create_default_context()
    file = pathlib.Path(str(verify)).is_file()
    return ssl.create_default_context(cafile=str(verify) if file else None, capath=None if file else str(verify))
