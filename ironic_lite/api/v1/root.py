"""The version documents: / and /v1."""

from __future__ import annotations

from typing import Any, Final

import falcon

from ironic_lite.api import versions
from ironic_lite.api.answers import show
from ironic_lite.api.caller import Caller, links

# The collections that /v1 links to, with the version that brought each.
COLLECTIONS: Final[dict[str, int]] = {"nodes": 1, "ports": 1, "drivers": 1, "conductors": 49, "allocations": 52}


class Root:
    """GET /."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        version = _version(req.context.caller)
        show(
            resp,
            {
                "name": "ironic_lite",
                "description": "A bare metal service that speaks the REST API of OpenStack Ironic.",
                "default_version": version,
                "versions": [version],
            },
        )

    on_head = on_get


class V1:
    """GET /v1. ironicclient and keystoneauth look here for the versions."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller: Caller = req.context.caller
        document: dict[str, Any] = {
            "id": "v1",
            "links": [{"href": f"{caller.base_url}/v1/", "rel": "self"}],
            "media_types": {"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"},
            "version": _version(caller),
        }
        document |= {
            name: links(caller.base_url, f"{name}/") for name, since in COLLECTIONS.items() if since <= caller.minor
        }
        show(resp, document)

    on_head = on_get


def _version(caller: Caller) -> dict[str, Any]:
    return {
        "id": "v1",
        "links": [{"href": f"{caller.base_url}/v1/", "rel": "self"}],
        "status": "CURRENT",
        "min_version": f"1.{versions.MIN}",
        "version": f"1.{versions.MAX}",
    }
