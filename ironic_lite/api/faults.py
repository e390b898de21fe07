"""Errors as Ironic's clients expect them: a JSON object whose one value is JSON again, as a text.

ironicclient decodes `error_message` and would fail on an object; so it stays a text (facts of the catalogue, 1.4).
"""

from __future__ import annotations

import http
import logging
from typing import Any, Final

import falcon
import msgspec

from ironic_lite import errors
from ironic_lite.log import request_id

LOG: Final = logging.getLogger(__name__)
_ENCODER: Final = msgspec.json.Encoder()


def register(app: falcon.App[Any, Any]) -> None:
    """Make every error of the application an answer of this shape."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _of_the_router)
    app.add_error_handler(errors.Error, _known)


def _show(resp: falcon.Response, status: int, text: str) -> None:
    inner = {
        "faultcode": "Server" if status >= 500 else "Client",
        "faultstring": text,
        "debuginfo": None,
        "code": status,
        "title": http.HTTPStatus(status).phrase,
        "description": text,
    }
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = _ENCODER.encode({"error_message": _ENCODER.encode(inner).decode()})


def _known(_req: falcon.Request, resp: falcon.Response, exc: errors.Error, _params: dict[str, Any]) -> None:
    _show(resp, exc.status, str(exc))
    if exc.retry_after_s is not None:
        resp.set_header("Retry-After", str(exc.retry_after_s))
    if exc.status >= 500:
        LOG.warning("%s: %s", type(exc).__name__, exc)


def _of_the_router(req: falcon.Request, resp: falcon.Response, exc: falcon.HTTPError, _params: dict[str, Any]) -> None:
    for name, value in dict(exc.headers or {}).items():
        resp.set_header(name, value)
    if isinstance(exc, falcon.HTTPNotFound):
        _show(resp, 404, f"There is nothing at {req.path}.")
    elif isinstance(exc, falcon.HTTPMethodNotAllowed):
        allowed = resp.get_header("Allow", default="none")
        _show(resp, 405, str(errors.MethodNotAllowed(method=req.method, allowed=allowed)))
    else:
        _show(resp, exc.status_code, f"The request is not acceptable: {exc.description or exc.title}.")


def _unexpected(_req: falcon.Request, resp: falcon.Response, exc: Exception, _params: dict[str, Any]) -> None:
    LOG.error("The request failed unexpectedly.", exc_info=exc)
    _show(resp, 500, f"The request failed unexpectedly; the log says why under {request_id.get()}.")
