"""How handlers answer."""

from __future__ import annotations

from typing import Any, Final

import falcon
import msgspec

from ironic_lite.api.caller import Caller

_ENCODER: Final = msgspec.json.Encoder()


def show(resp: falcon.Response, document: Any) -> None:
    """200 with the document."""
    resp.content_type = falcon.MEDIA_JSON
    resp.data = _ENCODER.encode(document)


def created(resp: falcon.Response, document: Any, location: str) -> None:
    """201 with the new object and where it is."""
    show(resp, document)
    resp.status = 201
    resp.set_header("Location", location)


def accepted(resp: falcon.Response, location: str | None = None) -> None:
    """202: the work has begun; `location` is where its outcome shows."""
    resp.status = 202
    if location is not None:
        resp.set_header("Location", location)


def done(resp: falcon.Response) -> None:
    """204: done, nothing to show."""
    resp.status = 204


def states_url(caller: Caller, ident: str) -> str:
    """Where the outcome of an action on a node shows; the node as the client named it."""
    return f"{caller.base_url}/v1/nodes/{ident}/states"
