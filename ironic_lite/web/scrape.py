"""/metrics on a port of its own: one page, made anew for each GET."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ironic_lite import metrics
from ironic_lite.web.answers import answer
from ironic_lite.web.limits import Limits

PATH: Final = "/metrics"

# For a server without threads: who is slow keeps the others waiting, but not for long. No connection is kept, so that
# nothing ticks between two scrapes.
LIMITS: Final = Limits(
    header_timeout_s=2.0,
    body_timeout_s=2.0,
    answer_timeout_s=2.0,
    body_kib=1,
    queued_requests=16,
    keepalive_connections=0,
    connections=64,
)


class Page:
    """The WSGI application."""

    def __init__(self, make: Callable[[], bytes], content_type: str = metrics.CONTENT_TYPE) -> None:
        self._make, self._content_type = make, content_type

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            return answer(start_response, "404 Not Found", b"")
        if environ["REQUEST_METHOD"] != "GET":
            return answer(start_response, "405 Method Not Allowed", b"", ("Allow", "GET"))
        return answer(start_response, "200 OK", self._make(), ("Content-Type", self._content_type))
