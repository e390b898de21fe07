"""Logging in to one BMC and out again.

*Guarantees.* (1) At most one session, deleted when it is given up in an orderly way. (2) A session that ended early is
replaced at most once in `RENEWAL_S`, so that two clients which push each other out do not fight. (3) Where sessions are
asked for as "auto" and the BMC has no free slot, basic authentication stands in for `CROWDED_S`. Used on the I/O loop,
by one caller at a time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import sys
import urllib.parse
from typing import Any, Final

from sushy import exceptions as sushy_errors

from ironic_lite.clock import Deadline
from ironic_lite.drivers.redfish.exchange import Exchange, Request
from ironic_lite.drivers.redfish.http1 import BrokenAnswer, Response

# identity: with compression some BMCs turn their ETag into a weak one, which they then do not accept themselves.
LINES: Final = "Accept: application/json\r\nAccept-Encoding: identity\r\nOData-Version: 4.0\r\n"
JSON_LINE: Final = "Content-Type: application/json\r\n"
DENIED: Final = (401, 403)
RENEWAL_S: Final = 30.0
CROWDED_S: Final = 600.0
# Of statuses that a session is refused with, those that say that there is no such service.
NO_SESSIONS: Final = (404, 405, 501)

LOG = logging.getLogger(__name__)


class SessionsMissing(Exception):
    """The BMC has no session service, and driver_info insists on one."""


class Session:
    """What proves to a BMC who we are: `lines`, the headers of each request."""

    __slots__ = ("_crowded_until_s", "_has_token", "_ready", "_renewable_at_s", "_service", "_token_path", "lines")

    def __init__(self, *, anonymous: bool) -> None:
        self.lines = LINES
        self._ready = anonymous
        self._has_token = False
        self._token_path: str | None = None
        self._service: str | None = None  # where sessions are made; "" where they are not
        self._renewable_at_s = self._crowded_until_s = 0.0

    async def begin(self, exchange: Exchange, deadline: Deadline) -> None:
        """Log in, unless that is done. Raises what the exchange raises, `SessionsMissing` and sushy's errors."""
        if not self._ready:
            await self._log_in(exchange, deadline)
            self._ready = True

    async def renew(self, exchange: Exchange, deadline: Deadline) -> bool:
        """Log in anew after a 401; False when that would not help, or was done a moment ago."""
        now_s = asyncio.get_running_loop().time()
        if not self._has_token or now_s < self._renewable_at_s:
            return False
        LOG.debug("The session with the BMC at %s has ended; logging in again.", exchange.account.address)
        self._renewable_at_s = now_s + RENEWAL_S
        self._forget()
        await self.begin(exchange, deadline)
        return True

    async def end(self, exchange: Exchange, deadline: Deadline) -> None:
        """Delete the session on the BMC; one that does not answer lets it expire."""
        path, lines = self._token_path, self.lines
        self._forget()
        if path is not None:
            with contextlib.suppress(OSError, BrokenAnswer):
                await exchange.send(Request("DELETE", path), lines, deadline)

    def _forget(self) -> None:
        self.lines, self._has_token, self._token_path, self._ready = LINES, False, None, False

    async def _log_in(self, exchange: Exchange, deadline: Deadline) -> None:
        account = exchange.account
        if account.auth != "basic" and asyncio.get_running_loop().time() >= self._crowded_until_s:
            service = await self._found(exchange, deadline)
            if service and await self._open(exchange, service, deadline):
                return
        if account.auth == "session":
            raise SessionsMissing
        pair = base64.b64encode(f"{account.username}:{account.password}".encode()).decode()
        self.lines = f"{LINES}Authorization: Basic {pair}\r\n"

    async def _found(self, exchange: Exchange, deadline: Deadline) -> str:
        """Where sessions are made, by what the service root says."""
        if self._service is None:
            root = exchange.account.root
            response = await exchange.send(Request("GET", root), LINES, deadline)
            if response.status_code in DENIED:  # against the standard: then it is in the usual place
                return f"{root}SessionService/Sessions"
            sushy_errors.raise_for_response("GET", root, response)
            self._service = sys.intern(_service(response.json()))
        return self._service

    async def _open(self, exchange: Exchange, service: str, deadline: Deadline) -> bool:
        """Make a session; False when basic authentication has to stand in."""
        account = exchange.account
        body = json.dumps({"UserName": account.username, "Password": account.password}).encode()
        # Repeatable: what a lost answer leaves behind is a session that expires by itself.
        response = await exchange.send(Request("POST", service, JSON_LINE, body), LINES, deadline)
        if response.status_code in NO_SESSIONS:
            return False
        if response.status_code >= 400 and response.status_code not in DENIED and account.auth == "auto":
            LOG.debug("The BMC at %s gives no session: HTTP status %d.", account.address, response.status_code)
            self._crowded_until_s = asyncio.get_running_loop().time() + CROWDED_S
            return False
        sushy_errors.raise_for_response("POST", service, response)
        token = response.headers.get("X-Auth-Token")
        if token is None:
            return False
        self.lines = f"{LINES}X-Auth-Token: {token}\r\n"
        self._has_token, self._token_path = True, _token_path(response)
        return True


def _service(root: Any) -> str:
    with contextlib.suppress(KeyError, TypeError):
        return str(root["Links"]["Sessions"]["@odata.id"])
    with contextlib.suppress(KeyError, TypeError):
        return f"{root['SessionService']['@odata.id'].rstrip('/')}/Sessions"
    return ""


def _token_path(response: Response) -> str | None:
    """Where the session is to be deleted, if the BMC says so."""
    location = response.headers.get("Location")
    if location is None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            location = str(response.json()["@odata.id"])
    return urllib.parse.urlsplit(location).path if location else None
