"""Requests to one BMC over one connection, which is kept while the BMC keeps it. Knows nothing of Redfish.

*Guarantees.* (1) There is at most one connection; another one is opened only after it was closed. (2) A request that
may be repeated goes over the kept connection, and once more over a new one if the BMC turns out to have closed that.
Anything else is sent once, over a connection opened for it, so that a stale one can never leave in doubt whether it
arrived. (3) A GET is redirected within the same BMC only. Used on the I/O loop, by one caller at a time.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ironic_lite.clock import Deadline
from ironic_lite.config import Float, Section
from ironic_lite.drivers import contact
from ironic_lite.drivers.redfish import http1, tls, wire
from ironic_lite.drivers.redfish.account import PORTS, Account
from ironic_lite.drivers.redfish.http1 import BrokenAnswer, Response

REDIRECTS: Final = 3
REDIRECTING: Final = (301, 302, 303, 307, 308)
# What a kept connection that the BMC has closed meanwhile looks like at the next request.
STALE: Final = (http1.HungUp, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
RELEARN_S: Final = 86400.0
CAUTION: Final = 0.9


class conf(Section, name="redfish"):  # a section reads as `conf.option`
    """How long a BMC may take. Ironic waits 30 and 60 seconds, and retries; here one deadline bounds all."""

    connect_timeout = Float(10.0, min=0.1, help="Seconds that connecting to a BMC may take.")
    read_timeout = Float(30.0, min=0.1, help="Seconds that a BMC may stay silent before its answer.")


class Request(msgspec.Struct, frozen=True):
    """What to send. `lines` are its headers, each with its line end; `consent` is awaited right before it is sent."""

    method: str
    path: str
    lines: str = ""
    body: bytes | None = None
    repeatable: bool = True
    consent: Callable[[], Awaitable[None]] | None = None


class Patience:
    """How long a BMC leaves an idle connection alone, by what it did.

    One closed connection says nothing: BMCs restart. Two in a row, with no longer pause survived between them, say
    that pauses of that length are too long; for a day. Then the BMC is tried again: it may have new firmware.
    """

    __slots__ = ("_closed_s", "_learnt_at_s", "_limit_s")

    def __init__(self) -> None:
        self._closed_s: float | None = None
        self._limit_s: float | None = None
        self._learnt_at_s = 0.0

    def allows(self, idle_s: float, now_s: float) -> bool:
        """Whether a connection that was idle for so long is worth a try."""
        if self._limit_s is not None and now_s - self._learnt_at_s > RELEARN_S:
            self._limit_s = None
        return self._limit_s is None or idle_s < self._limit_s * CAUTION

    def closed(self, idle_s: float, now_s: float) -> None:
        """The BMC has closed a connection that was idle for so long."""
        if self._closed_s is not None:
            self._limit_s, self._learnt_at_s = max(self._closed_s, idle_s), now_s
        self._closed_s = idle_s

    def survived(self, idle_s: float) -> None:
        """A connection that was idle for so long worked."""
        if self._closed_s is not None and idle_s >= self._closed_s:
            self._closed_s = None


class Exchange:
    """One BMC's connection."""

    __slots__ = ("_host", "_limits_s", "_patience", "_wire", "account")

    def __init__(self, account: Account) -> None:
        self.account = account
        self._host = account.authority
        self._limits_s = conf.connect_timeout, conf.read_timeout
        self._wire: wire.Wire | None = None
        self._patience: Patience | None = None  # most BMCs keep their connections

    async def send(self, request: Request, lines: str, deadline: Deadline) -> Response:
        """Send a request with these headers before its own, and return the answer, whatever its status.

        Raises `OSError` (among them `TimeoutError`, `HungUp`, `ssl.SSLError`), `BrokenAnswer`.
        """
        for _ in range(REDIRECTS + 1):
            response = await self._once_or_again(request, lines, deadline)
            if response.status_code not in REDIRECTING or request.method != "GET":
                return response
            if "Location" not in response.headers:
                return response
            path = self._within_bmc(request.path, response.headers["Location"])
            request = msgspec.structs.replace(request, path=path)
        raise BrokenAnswer(f"it redirected more than {REDIRECTS} times")

    def close(self) -> None:
        """Drop the connection."""
        kept, self._wire = self._wire, None
        if kept is not None:
            kept.close()

    def _within_bmc(self, path: str, location: str) -> str:
        """The path of a redirect. To follow it elsewhere would hand the credentials to somebody else."""
        try:
            target = urllib.parse.urlsplit(urllib.parse.urljoin(f"{self.account.address}{path}", location))
            port = target.port or PORTS.get(target.scheme, 0)
        except ValueError as exc:
            raise BrokenAnswer("it redirected to something that is no address") from exc
        if (target.scheme, target.hostname, port) != (self.account.scheme, self.account.host, self.account.port):
            raise BrokenAnswer(f"it redirected to another host, {target.scheme}://{target.hostname}:{port}")
        return urllib.parse.urlunsplit(("", "", target.path or "/", target.query, ""))

    async def _once_or_again(self, request: Request, lines: str, deadline: Deadline) -> Response:
        kept = self._kept() if request.repeatable else None
        if kept is not None:
            idle_s = kept.age_s()
            try:
                response = await self._over(kept, request, lines, deadline)
            except STALE:
                self._note_closed(idle_s)
            else:
                if self._patience is not None:
                    self._patience.survived(idle_s)
                return response
        self.close()
        self._wire = opened = await self._connect()
        return await self._over(opened, request, lines, deadline)

    def _kept(self) -> wire.Wire | None:
        """The kept connection, if it may be used again."""
        kept = self._wire
        if kept is None:
            return None
        if kept.idle_s is not None:
            self._note_closed(kept.idle_s)
        if kept.is_open() and (self._patience is None or self._patience.allows(kept.age_s(), _now_s())):
            return kept
        self.close()
        return None

    def _note_closed(self, idle_s: float) -> None:
        if self._patience is None:
            self._patience = Patience()
        self._patience.closed(idle_s, _now_s())

    async def _over(self, connection: wire.Wire, request: Request, lines: str, deadline: Deadline) -> Response:
        data = http1.request(request.method, request.path, self._host, lines + request.lines, request.body)
        if request.consent is not None:
            await request.consent()
        quiet_s = self._limits_s[1]
        return await connection.ask(data, quiet_s if quiet_s < deadline.left_s() else None)

    async def _connect(self) -> wire.Wire:
        account = self.account
        secured = tls.context(account.verify) if account.scheme == "https" else None
        with await contact.IO.gate.enter():
            async with asyncio.timeout(self._limits_s[0]):
                return await wire.connect(account.host, account.port, secured)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
