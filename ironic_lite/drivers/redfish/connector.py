"""What sushy does its I/O through: the contact that polls use too, and the permit before each change.

sushy's own connector is not used: it closes the connection after each request, makes a TLS context for each
connection, sends a POST up to three times when the BMC is slow to answer even with its retries set to 0
(`server_side_retries or 3`), and its session is deleted by a finaliser in whatever thread that runs in.

*Guarantees.* (1) Only a change that was answered with 401 is sent again, once, after a new login: the BMC has not
carried it out. (2) `permit` is asked right before each request that is not a GET, in the thread that wants it, when the
connection is open and its turn has come; also before that second time. (3) No request outlives the deadline by more
than `LATE_S`, even where the loop hangs. Not thread-safe: `client.visit` sees to one user at a time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import queue
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import sushy
from sushy import auth as sushy_auth
from sushy import exceptions as sushy_errors

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.drivers.contact import IO, LATE_S, Rank
from ironic_lite.drivers.redfish.account import Account
from ironic_lite.drivers.redfish.bmc import BMCS
from ironic_lite.drivers.redfish.exchange import Request
from ironic_lite.drivers.redfish.http1 import Response
from ironic_lite.drivers.redfish.session import JSON_LINE


class _NoAuth(sushy_auth.AuthBase):  # type: ignore[misc]
    """Keeps sushy out of logging in and, at the end of its object, out of a blocking DELETE."""

    def _do_authenticate(self) -> None:
        """The session is the BMC's."""

    def can_refresh_session(self) -> bool:
        return False


class Errand:
    """One request's way to the loop and back; meanwhile the thread that waits for it is asked for the permit."""

    def __init__(self, permit: Callable[[], None]) -> None:
        self._permit = permit
        self._asked: queue.SimpleQueue[concurrent.futures.Future[None] | None] = queue.SimpleQueue()

    async def ask(self) -> None:
        """On the loop: return once the permit is given. Raises what the permit raises."""
        answer: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._asked.put(answer)
        await asyncio.wrap_future(answer)

    def wait(self, work: concurrent.futures.Future[Response], timeout_s: float) -> Response:
        """Give the permit when asked, until the work has ended. Raises what it raises, and `TimeoutError`.

        Not `TaskPool.wait`: see `contact.ended`.
        """
        work.add_done_callback(lambda _work: self._asked.put(None))
        end = Deadline(SystemClock(), timeout_s)
        try:
            while (answer := self._asked.get(timeout=end.left_s())) is not None:
                self._answer(answer)
        except queue.Empty:
            raise TimeoutError from None
        return work.result(0)

    def _answer(self, answer: concurrent.futures.Future[None]) -> None:
        outcome: BaseException | None = None
        try:
            self._permit()
        except BaseException as exc:  # noqa: BLE001  # it comes back through the work, to this very thread
            outcome = exc
        if answer.set_running_or_notify_cancel():
            answer.set_exception(outcome) if outcome else answer.set_result(None)


def _forbidden() -> None:
    raise RuntimeError("A request that changes hardware was about to be sent from a call that only reads.")


class Connector:
    """One account's requests to its BMC, as sushy makes them: one after the other."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._root: sushy.Sushy | None = None
        self._deadline = Deadline(SystemClock(), 0.0)
        self._permit: Callable[[], None] = _forbidden
        self._rank = Rank.POWER

    def begin(self, deadline: Deadline, permit: Callable[[], None] | None, rank: Rank) -> None:
        """Set what the requests that follow must keep; without a permit they may only read."""
        self._deadline, self._permit, self._rank = deadline, permit or _forbidden, rank

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

    def _request(self, method: str, path: str, data: object, headers: Mapping[str, str]) -> Response:
        path = urllib.parse.urljoin(
            self._account.root, urllib.parse.urlsplit(path)._replace(scheme="", netloc="").geturl()
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = None if data is None else json.dumps(data).encode()
        reads = method == "GET"
        errand = Errand(self._permit)
        request = Request(
            method,
            path,
            lines if data is None else lines + JSON_LINE,
            body,
            repeatable=reads,
            consent=None if reads else errand.ask,
        )
        bmc = BMCS.get(self._account)
        work = IO.submit(bmc.ask(self._account, request, self._rank, self._deadline), f"{method} to a BMC")
        try:
            response = errand.wait(work, self._deadline.left_s() + LATE_S)
        finally:
            work.cancel()
        sushy_errors.raise_for_response(method, path, response)
        return response
