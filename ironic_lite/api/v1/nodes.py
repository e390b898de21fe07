"""/v1/nodes: the collection and its items. A write that needs no hardware is one conditional statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import falcon
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.arguments import Argument
from ironic_lite.api.body import Schema
from ironic_lite.api.caller import Caller
from ironic_lite.api.patch import Operation
from ironic_lite.api.resource import Scene, View, Write
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1 import node_rules
from ironic_lite.api.v1.node import COLLECTION, Node, c, find
from ironic_lite.clock import new_uuid
from ironic_lite.db import allocations, nodes

T = TypeVar("T")

# What a change must know of a node: all that a client can set, and what the rules look at.
_KEPT: Final = {name: one.column for name, one in Node.writable(Write.PATCH).items() if one.column is not None}
_RULED: Final = {
    name: c[name]
    for name in (
        "uuid", "revision", "reservation", "lock_purpose", "provision_state", "target_provision_state", "fault",
        "maintenance_reason",
    )
}  # fmt: skip
_STORED: Final[dict[str, sa.ColumnElement[Any]]] = {**_KEPT, **_RULED, "allocation_uuid": allocations.OF_NODE}
_CHANGE_ATTEMPTS: Final = 3
_NEW_NODE: Final = Schema(dict[str, Any])
_PATCH: Final = Schema(list[Operation])


class Nodes:
    """GET and POST /v1/nodes."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answers.show(resp, COLLECTION.show(self._serving, req))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        values = Node.created(_NEW_NODE.read(req), caller.minor)
        values["uuid"] = values["uuid"] or new_uuid()
        nodes.insert(self._serving.database, node_rules.complete(self._serving, values, caller.minor))
        location = f"{caller.base_url}/v1/nodes/{values['uuid']}"
        answers.created(resp, _shown(self._serving, caller, values["uuid"]), location)


class NodesDetail:
    """GET /v1/nodes/detail."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answers.show(resp, COLLECTION.show_detail(self._serving, req))


class NodeItem:
    """GET, PATCH and DELETE /v1/nodes/{ident}."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, {"fields": Argument(arguments.words, since=8, repeats=True)})
        view = Node.selection(caller.minor, given["fields"]) if "fields" in given else Node.detail(caller.minor)
        answers.show(resp, _shown(self._serving, caller, ident, view))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, {"reset_interfaces": Argument(arguments.boolean, since=45)})
        operations = _PATCH.read(req)
        reset = given.get("reset_interfaces", False)
        if "reset_interfaces" in given and not any(one.root == "driver" for one in operations):
            raise errors.Invalid(reason="reset_interfaces can only be given when the driver changes.")

        def rule(node: dict[str, Any]) -> dict[str, Any]:
            node_rules.open_to_patch(node, caller.minor)
            changes = Node.patched(node, operations, caller.minor)
            return node_rules.followed_up(self._serving, node, changes, reset_interfaces=reset)

        uuid = change(self._serving, caller, ident, rule)
        answers.show(resp, _shown(self._serving, caller, uuid))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)

        def attempt() -> None:
            node = _stored(self._serving, caller, ident)
            node_rules.deletable(node)
            nodes.delete(self._serving.database, node["uuid"], node["revision"])

        again_if_changed(attempt)
        answers.done(resp)


def change(serving: Serving, caller: Caller, ident: str, rule: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """Read a node, let `rule` say what to change, write that; return the UUID.

    Raises what the rule raises, `NodeLocked`, `AlreadyExists`, or `ChangedMeanwhile` after some attempts.
    """

    def attempt() -> str:
        node = _stored(serving, caller, ident)
        changes = rule(node)
        if changes:
            nodes.change(serving.database, node["uuid"], node["revision"], changes)
        uuid: str = node["uuid"]
        return uuid

    return again_if_changed(attempt)


def again_if_changed(attempt: Callable[[], T]) -> T:
    """Repeat what somebody else's change spoiled, a bounded number of times."""
    for _ in range(_CHANGE_ATTEMPTS - 1):
        try:
            return attempt()
        except errors.ChangedMeanwhile:
            continue
    return attempt()


def _stored(serving: Serving, caller: Caller, ident: str) -> dict[str, Any]:
    return dict(zip(_STORED, find(serving, caller, ident, tuple(_STORED.values())), strict=True))


def _shown(serving: Serving, caller: Caller, ident: str, view: View | None = None) -> dict[str, Any]:
    view = view or Node.detail(caller.minor)
    # A view without columns (only constants were asked for) still has to know whether the node is there.
    row = find(serving, caller, ident, view.columns or (c.uuid,))
    return view.render(row, Scene(caller, serving.members))
