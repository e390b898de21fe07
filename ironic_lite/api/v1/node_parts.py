"""What belongs to a node: its ports, its history."""

from __future__ import annotations

from typing import Any, Final

import falcon
import sqlalchemy as sa

from ironic_lite.api import answers, arguments
from ironic_lite.api.caller import Caller
from ironic_lite.api.collection import Collection
from ironic_lite.api.resource import Field, Resource, Scene, timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1 import port
from ironic_lite.api.v1.node import c, find
from ironic_lite.db import history
from ironic_lite.db.tables import node_history
from ironic_lite.db.tables import nodes as nodes_table

h: Final = node_history.c
MAX_EVENT_CHARS: Final = 255


def _self_link(scene: Scene, node_uuid: str, uuid: str) -> list[dict[str, str]]:
    return [{"href": f"{scene.base_url}/v1/nodes/{node_uuid}/history/{uuid}", "rel": "self"}]


class Entry(Resource, noun="history entry"):
    """One row of a node's history."""

    uuid = Field(column=h.uuid, summary=True)
    created_at = Field(column=h.created_at, summary=True, show=timestamp)
    severity = Field(column=h.severity, summary=True)
    event = Field(column=h.event, summary=True, show=lambda text: text and text[:MAX_EVENT_CHARS])
    event_type = Field(column=h.event_type)
    conductor = Field(column=h.conductor)
    user = Field(column=h.user)
    links = Field(selectable=False, derive=_self_link, needs=(c.uuid, h.uuid))


ENTRIES: Final = Collection(
    name="history",
    resource=Entry,
    source=node_history.join(nodes_table),
    id_column=h.id,
    marker=h.uuid,
    filters={},
    sort_key="created_at",
)


class NodePorts:
    """GET /v1/nodes/{ident}/ports."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        answers.show(resp, port.COLLECTION.show(self._serving, req, where=self._of(req, ident)))

    def _of(self, req: falcon.Request, ident: str) -> tuple[sa.ColumnElement[bool]]:
        return (port.p.node_id == find(self._serving, req.context.caller, ident, (c.id,)).id,)


class NodePortsDetail(NodePorts):
    """GET /v1/nodes/{ident}/ports/detail."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        answers.show(resp, port.COLLECTION.show_detail(self._serving, req, where=self._of(req, ident)))


class History:
    """GET /v1/nodes/{ident}/history."""

    since = 78

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        node = find(self._serving, req.context.caller, ident, (c.id,))
        answers.show(resp, ENTRIES.show(self._serving, req, where=(h.node_id == node.id,)))


class HistoryItem:
    """GET /v1/nodes/{ident}/history/{uuid}."""

    since = 78

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str, uuid: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        node = find(self._serving, caller, ident, (c.id,))
        view = Entry.detail(caller.minor)
        row: Any = history.fetch(self._serving.database, node.id, uuid, view.columns)
        answers.show(resp, view.render(row, Scene(caller, self._serving.members)))
