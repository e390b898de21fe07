"""/metrics: for Prometheus, without a version, for all API processes at once."""

from __future__ import annotations

from typing import Final

import falcon

from ironic_lite import metrics
from ironic_lite.api.workers import Workers

PATH: Final = "/metrics"
BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DURATIONS: Final = metrics.histogram(
    "ironic_lite_http_request_duration_seconds",
    "Requests that the API answered, and how long it took.",
    "method",
    "route",
    "status",
)
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


def labels(req: falcon.Request, resp: falcon.Response) -> tuple[str, str, str]:
    """Method, template of the path, class of the status: whatever clients send, there are only so many."""
    method = req.method if req.method in _METHODS else "other"
    return method, req.uri_template or "none", f"{resp.status_code // 100}xx"


class Metrics:
    """GET /metrics."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = metrics.CONTENT_TYPE
        resp.data = self._workers.scrape().encode()
