"""What sushy does its I/O through: logging in, the permit before each change, and nothing sent twice.

sushy's own connector is not used: it closes the connection after each request, makes a TLS context for each
connection, sends a POST up to three times when the BMC is slow to answer even with its retries set to 0
(`server_side_retries or 3`), and its session is deleted by a finaliser in whatever thread that runs in.

*Guarantees.* (1) Only a request that was answered with 401 is sent again, once, after a new login: the BMC has not
carried it out. (2) `permit` is asked right before each request that is not a GET, also before that second time.
(3) No password or token is in a log record or an error. Not thread-safe: `client.visit` sees to one user at a time.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Final

import sushy
from sushy import auth as sushy_auth
from sushy import exceptions as sushy_errors

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.drivers.redfish.account import Account
from ironic_lite.drivers.redfish.exchange import Exchange, Response

# identity: with compression some BMCs turn their ETag into a weak one, which they then do not accept themselves.
HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "OData-Version": "4.0"}
NO_SESSIONS: Final = (404, 405, 501)
LOGOUT_S: Final = 2.0

LOG = logging.getLogger(__name__)


class SessionsMissing(Exception):
    """The BMC has no session service, and driver_info insists on one."""


class _NoAuth(sushy_auth.AuthBase):  # type: ignore[misc]
    """Keeps sushy out of logging in and, at the end of its object, out of a blocking DELETE."""

    def _do_authenticate(self) -> None:
        """The connector logs in by itself."""

    def can_refresh_session(self) -> bool:
        return False


def _forbidden() -> None:
    raise RuntimeError("A request that changes hardware was about to be sent from a call that only reads.")


class Connector:
    """One BMC's requests, one after the other."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._exchange = Exchange(account)
        self._credentials: dict[str, str] = {}
        self._session_path: str | None = None
        self._logged_in = account.username is None
        self._root: sushy.Sushy | None = None
        self._deadline = Deadline(SystemClock(), 0.0)
        self._permit: Callable[[], None] = _forbidden

    def begin(self, deadline: Deadline, permit: Callable[[], None] | None) -> None:
        """Set what the requests that follow must keep; without a permit they may only read."""
        self._deadline, self._permit = deadline, permit or _forbidden

    @property
    def root(self) -> sushy.Sushy:
        """The service root as sushy sees it; read once."""
        if self._root is None:
            self._root = sushy.Sushy(
                self._account.address, root_prefix=self._account.root, auth=_NoAuth(), connector=self
            )
        return self._root

    # The part of a connector that sushy's resources call.

    def set_auth(self, auth: object) -> None:
        """Nothing: see `_NoAuth`."""

    def get(self, path: str = "", headers: Mapping[str, str] | None = None, **_ignored: Any) -> Response:
        return self._request("GET", path, None, headers or {})

    def post(
        self, path: str = "", data: object = None, headers: Mapping[str, str] | None = None, **_ignored: Any
    ) -> Response:
        return self._request("POST", path, data, headers or {})

    def put(
        self, path: str = "", data: object = None, headers: Mapping[str, str] | None = None, **_ignored: Any
    ) -> Response:
        return self._request("PUT", path, data, headers or {})

    def delete(
        self, path: str = "", data: object = None, headers: Mapping[str, str] | None = None, **_ignored: Any
    ) -> Response:
        return self._request("DELETE", path, data, headers or {})

    def patch(
        self,
        path: str = "",
        data: object = None,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        **_ignored: Any,
    ) -> Response:
        """PATCH; a 412 (the BMC refused its own ETag, which is common for weak ones) is asked again without one."""
        try:
            return self._request("PATCH", path, data, {**(headers or {}), **({"If-Match": etag} if etag else {})})
        except sushy_errors.HTTPError as exc:
            if exc.status_code != 412 or not etag:
                raise
            return self._request("PATCH", path, data, {**(headers or {}), "If-Match": "*"})

    # Logging in and out.

    def logout(self, deadline: Deadline) -> None:
        """Delete the session on the BMC, in at most 2 s; one that does not answer lets it expire."""
        path, self._session_path = self._session_path, None
        bounded = Deadline(SystemClock(), min(LOGOUT_S, deadline.left_s()))
        with contextlib.suppress(OSError, http.client.HTTPException):
            if path is not None and not deadline.passed():
                self._exchange.send("DELETE", path, {**HEADERS, **self._credentials}, None, bounded)
        self.forget()

    def forget(self) -> None:
        """Drop the connection and what was learnt; the next request begins anew."""
        self._exchange.close()
        self._credentials, self._logged_in, self._root = {}, self._account.username is None, None

    def _request(self, method: str, path: str, data: object, headers: Mapping[str, str]) -> Response:
        path = urllib.parse.urljoin(
            self._account.root, urllib.parse.urlsplit(path)._replace(scheme="", netloc="").geturl()
        )
        if not self._logged_in and path != self._account.root:
            self._login()
        response = self._send(method, path, data, headers)
        if response.status_code == 401 and self._session_path is not None:
            LOG.debug("The session with the BMC at %s has ended; logging in again.", self._account.address)
            self._login()
            response = self._send(method, path, data, headers)
        sushy_errors.raise_for_response(method, path, response)
        return response

    def _send(self, method: str, path: str, data: object, headers: Mapping[str, str]) -> Response:
        if method != "GET":
            self._permit()
        return self._exchange.send(
            method,
            path,
            self._headers(data, headers),
            None if data is None else json.dumps(data).encode(),
            self._deadline,
        )

    def _headers(self, data: object, more: Mapping[str, str]) -> dict[str, str]:
        kind = {} if data is None else {"Content-Type": "application/json"}
        return {**HEADERS, **kind, **self._credentials, **more}

    def _login(self) -> None:
        """Get a session, or fall back to basic where the BMC has none. A refused password is not tried twice."""
        self._credentials, self._session_path, self._logged_in = {}, None, False
        sessions = self._sessions() if self._account.auth != "basic" else None
        if sessions is None or not self._open_session(sessions):
            if self._account.auth == "session":
                raise SessionsMissing
            pair = f"{self._account.username}:{self._account.password}".encode()
            self._credentials = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        self._logged_in = True

    def _sessions(self) -> str | None:
        """Where sessions are made, by what the service root says."""
        document = self.root.json or {}
        with contextlib.suppress(KeyError, TypeError):
            return str(document["Links"]["Sessions"]["@odata.id"])
        with contextlib.suppress(KeyError, TypeError):
            return f"{document['SessionService']['@odata.id'].rstrip('/')}/Sessions"
        return None

    def _open_session(self, path: str) -> bool:
        """Log in; False when the BMC has no session service after all."""
        body = json.dumps({"UserName": self._account.username, "Password": self._account.password}).encode()
        response = self._exchange.send("POST", path, self._headers(body, {}), body, self._deadline)
        if response.status_code in NO_SESSIONS:
            return False
        sushy_errors.raise_for_response("POST", path, response)
        token = response.headers.get("X-Auth-Token")
        if token is None:
            return False
        location = response.headers.get("Location") or response.json().get("@odata.id", "")
        self._session_path = urllib.parse.urlsplit(location).path
        self._credentials = {"X-Auth-Token": token}
        return True
