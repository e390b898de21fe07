"""/v1/ports: the collection and its items."""

from __future__ import annotations

from typing import Any, Final

import falcon

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.arguments import Argument
from ironic_lite.api.body import Schema
from ironic_lite.api.caller import Caller
from ironic_lite.api.patch import Operation
from ironic_lite.api.resource import Scene, View, Write
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.nodes import again_if_changed
from ironic_lite.api.v1.port import COLLECTION, Port, find, n, p
from ironic_lite.clock import new_uuid
from ironic_lite.db import nodes, ports
from ironic_lite.domain.states import REDRIVABLE, Provision

_STORED: Final = {name: one.column for name, one in Port.writable(Write.PATCH).items() if one.column is not None} | {
    "uuid": p.uuid,
    "revision": p.revision,
    "provision_state": n.provision_state,
    "maintenance": n.maintenance,
}

_NEW_PORT: Final = Schema(dict[str, Any])
_PATCH: Final = Schema(list[Operation])

# What decides how a machine is connected changes only while nobody relies on it.
_CONNECTIVITY: Final = frozenset({"pxe_enabled", "local_link_connection", "physical_network"})
RECONNECTABLE: Final = REDRIVABLE - {Provision.AVAILABLE}


class Ports:
    """GET and POST /v1/ports."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answers.show(resp, COLLECTION.show(self._serving, req))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        values = Port.created(_NEW_PORT.read(req), caller.minor)
        idents = [ident for ident in (values.pop("node_uuid"), values.pop("node_ident")) if ident is not None]
        if len(idents) != 1:
            raise errors.Invalid(reason="A new port needs exactly one of node_uuid and node_ident.")
        values |= {"uuid": values["uuid"] or new_uuid(), "internal_info": {}}
        ports.insert(self._serving.database, _node_id(self._serving, idents[0]), values)
        location = f"{caller.base_url}/v1/ports/{values['uuid']}"
        answers.created(resp, _shown(self._serving, caller, values["uuid"]), location)


class PortsDetail:
    """GET /v1/ports/detail."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answers.show(resp, COLLECTION.show_detail(self._serving, req))


class PortItem:
    """GET, PATCH and DELETE /v1/ports/{ident}."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, {"fields": Argument(arguments.words, since=8, repeats=True)})
        view = Port.selection(caller.minor, given["fields"]) if "fields" in given else Port.detail(caller.minor)
        answers.show(resp, _shown(self._serving, caller, ident, view))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        operations = _PATCH.read(req)

        def attempt() -> str:
            port = self._stored(caller, ident)
            changes = self._followed_up(port, Port.patched(port, operations, caller.minor))
            if changes:
                ports.change(self._serving.database, port["uuid"], port["revision"], changes)
            uuid: str = port["uuid"]
            return uuid

        answers.show(resp, _shown(self._serving, caller, again_if_changed(attempt)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)

        def attempt() -> None:
            port = self._stored(caller, ident)
            ports.delete(self._serving.database, port["uuid"], port["revision"])

        again_if_changed(attempt)
        answers.done(resp)

    def _stored(self, caller: Caller, ident: str) -> dict[str, Any]:
        return dict(zip(_STORED, find(self._serving, caller, ident, tuple(_STORED.values())), strict=True))

    def _followed_up(self, port: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """The changes as columns. Raises `Conflict` for a node that is in use, `Invalid` for one that is not there."""
        rewired = sorted(_CONNECTIVITY & changes.keys())
        if rewired and port["provision_state"] not in RECONNECTABLE and not port["maintenance"]:
            raise errors.Conflict(
                reason=f"Port {port['uuid']} can not have {', '.join(rewired)} updated while node {port['node_uuid']} "
                f"is in state {port['provision_state']}; allowed are: {', '.join(sorted(RECONNECTABLE))}, or "
                f"maintenance mode."
            )
        idents = [changes.pop(key) for key in ("node_uuid", "node_ident") if key in changes]
        if None in idents or len(idents) > 1:
            raise errors.Invalid(reason="A port belongs to exactly one node: node_uuid or node_ident must name it.")
        return changes | ({"node_id": _node_id(self._serving, idents[0])} if idents else {})


def _node_id(serving: Serving, ident: str) -> int:
    """The node that a body names. Raises `Invalid`: what is wrong is the body, not the path."""
    try:
        found: int = nodes.fetch(serving.database, ident, (n.id,)).id
    except errors.NodeNotFound as exc:
        raise errors.Invalid(str(exc)) from exc
    return found


def _shown(serving: Serving, caller: Caller, ident: str, view: View | None = None) -> dict[str, Any]:
    view = view or Port.detail(caller.minor)
    row = find(serving, caller, ident, view.columns or (p.uuid,))
    return view.render(row, Scene(caller, serving.members))
