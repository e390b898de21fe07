"""/lite: what Ironic does not have, kept apart so that /v1 stays exactly Ironic's. What is there, and since when."""

from __future__ import annotations

from typing import Any, Final

import falcon

from ironic_lite.api import arguments
from ironic_lite.api.answers import show
from ironic_lite.api.caller import Caller

# Every resource of /lite/v1, as a template of RFC 6570; a test compares it with the routes.
RESOURCES: Final = {
    "conductor": "/lite/v1/conductors/{host}",
    "conductor_power": "/lite/v1/conductors/{host}/power",
    "node_events": "/lite/v1/events/{uuid}/{token}",
    "node_power": "/lite/v1/nodes/{ident}/power",
    "node_sensors": "/lite/v1/nodes/{ident}/sensors",
}


class Lite:
    """GET /lite: the versions."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        arguments.refuse(req)
        show(resp, {"name": "ironic_lite", "versions": [_version(req.context.caller)]})


class LiteV1:
    """GET /lite/v1: the resources."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        arguments.refuse(req)
        caller: Caller = req.context.caller
        resources = {name: f"{caller.base_url}{template}" for name, template in RESOURCES.items()}
        show(resp, _version(caller) | {"resources": resources})


def _version(caller: Caller) -> dict[str, Any]:
    return {"id": "v1", "status": "CURRENT", "links": [{"href": f"{caller.base_url}/lite/v1", "rel": "self"}]}
