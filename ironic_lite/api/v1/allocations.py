"""/v1/allocations and /v1/nodes/{ident}/allocation: nodes by what they can do.

A conductor finds the node of a new allocation; everything else is one transaction on a node that nobody holds.
"""

from __future__ import annotations

from typing import Any, Final

import falcon
import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments, idents
from ironic_lite.api.arguments import Argument
from ironic_lite.api.body import Schema
from ironic_lite.api.caller import Caller
from ironic_lite.api.patch import Operation
from ironic_lite.api.resource import Scene, View
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1 import allocation_rules
from ironic_lite.api.v1.allocation import CHANGED_SINCE, COLLECTION, SINCE, Allocation, a, find, n
from ironic_lite.api.v1.node import find as find_node
from ironic_lite.api.v1.nodes import again_if_changed
from ironic_lite.clock import new_uuid
from ironic_lite.conductor.allocations import create_allocation
from ironic_lite.db import allocations, nodes
from ironic_lite.domain.allocation import Allocation as Wanted
from ironic_lite.domain.allocation import State

BACKFILL_SINCE: Final = 58

_NEW: Final = Schema(dict[str, Any])
_PATCH: Final = Schema(list[Operation])
# What ending an allocation must know of it and of its node.
_REMOVED: Final[tuple[sa.ColumnElement[Any], ...]] = (
    a.uuid, a.revision, n.uuid.label("node"), n.revision.label("node_revision"), n.reservation, n.lock_purpose,
    n.provision_state, n.target_provision_state, n.maintenance,
)  # fmt: skip
# How an allocation begins, whatever has become of it by now.
_AT_FIRST: Final = {"state": State.ALLOCATING, "updated_at": None, "node_uuid": None, "last_error": None}


class Allocations:
    """GET and POST /v1/allocations."""

    since = SINCE
    too_new: Final = {"POST": errors.MethodNotAllowed}

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        answers.show(resp, COLLECTION.show(self._serving, req))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        body = _NEW.read(req)
        node = body.pop("node", None) if caller.minor >= BACKFILL_SINCE else None
        values = Allocation.created(body, caller.minor)
        values["candidate_nodes"] = allocation_rules.candidates(self._serving.database, values["candidate_nodes"])
        at_first = (
            self._begin(values) if node is None else self._backfill(values, idents.given("node", node, caller.minor))
        )
        location = f"{caller.base_url}/v1/allocations/{values['uuid']}"
        answers.created(resp, _shown(self._serving, caller, values["uuid"]) | at_first, location)

    def _begin(self, values: dict[str, Any]) -> dict[str, Any]:
        if not values["resource_class"]:
            raise errors.Invalid(reason="resource_class is mandatory for an allocation without a node.")
        values["uuid"] = values["uuid"] or new_uuid()
        owner = self._serving.members.somebody(values["uuid"])
        self._serving.conductors.call(owner, create_allocation, msgspec.convert(values, Wanted))
        return _AT_FIRST

    def _backfill(self, values: dict[str, Any], ident: str) -> dict[str, Any]:
        def attempt() -> None:
            wanted, node = allocation_rules.backfilled(self._serving.database, values, ident)
            allocations.backfill(self._serving.database, wanted, node)
            values["uuid"] = wanted.uuid

        again_if_changed(attempt)
        return {}


class AllocationItem:
    """GET, PATCH and DELETE /v1/allocations/{ident}."""

    since: Final = {"GET": SINCE, "PATCH": CHANGED_SINCE, "DELETE": SINCE}
    too_new: Final = {"PATCH": errors.MethodNotAllowed, "DELETE": errors.MethodNotAllowed}

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        answers.show(resp, _shown(self._serving, caller, ident, _view(req)))

    def on_patch(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        operations = _PATCH.read(req)

        def attempt() -> str:
            row = find(self._serving, caller, ident, (a.uuid, a.revision, a.name, a.extra))
            changes = Allocation.patched({"name": row.name, "extra": row.extra}, operations, caller.minor)
            if changes:
                allocations.change(self._serving.database, row.uuid, row.revision, changes)
            return str(row.uuid)

        answers.show(resp, _shown(self._serving, caller, again_if_changed(attempt)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        remove(self._serving, req.context.caller, ident)
        answers.done(resp)


class NodeAllocation:
    """GET and DELETE /v1/nodes/{ident}/allocation."""

    since = SINCE

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        uuid = self._of_node(req, ident)
        answers.show(resp, _shown(self._serving, req.context.caller, uuid, _view(req)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        remove(self._serving, req.context.caller, self._of_node(req, ident))
        answers.done(resp)

    def _of_node(self, req: falcon.Request, ident: str) -> str:
        node = find_node(self._serving, req.context.caller, ident, (n.uuid, allocations.OF_NODE))
        if node.allocation_uuid is None:
            raise errors.NotFound(what=f"An allocation of node {node.uuid}")
        return str(node.allocation_uuid)


def remove(serving: Serving, caller: Caller, ident: str) -> None:
    """Delete an allocation; its node, if it has one, is free then. Raises what forbids it."""

    def attempt() -> None:
        row = find(serving, caller, ident, _REMOVED)
        if row.node is None:
            allocations.delete(serving.database, row.uuid, row.revision)
            return
        if row.reservation is not None:
            raise errors.NodeLocked(node=row.node, host=row.reservation, purpose=row.lock_purpose)
        allocation_rules.removable(
            row.node, row.provision_state, row.target_provision_state, maintenance=row.maintenance
        )
        nodes.change(serving.database, row.node, row.node_revision, {"instance_uuid": None})

    again_if_changed(attempt)


def _view(req: falcon.Request) -> View:
    minor = req.context.caller.minor
    given = arguments.read(req, minor, {"fields": Argument(arguments.words, repeats=True)})
    return Allocation.selection(minor, given["fields"]) if "fields" in given else Allocation.detail(minor)


def _shown(serving: Serving, caller: Caller, ident: str, view: View | None = None) -> dict[str, Any]:
    view = view or Allocation.detail(caller.minor)
    return view.render(find(serving, caller, ident, view.columns), Scene(caller, serving.members))
