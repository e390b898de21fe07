"""/v1/nodes/{ident}/bios, .../firmware and .../inventory: what a machine is made of, as it was last read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import falcon
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.arguments import Argument
from ironic_lite.api.caller import Caller, links
from ironic_lite.api.resource import Field, Resource, Scene, View, timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import c, find
from ironic_lite.db import parts
from ironic_lite.db.tables import bios_settings, firmware_information
from ironic_lite.db.tables import nodes as nodes_table

b: Final = bios_settings.c
f: Final = firmware_information.c
REGISTRY_SINCE: Final = 74
# Shown whatever else was asked for.
ALWAYS: Final = ("created_at", "updated_at")


def _links(scene: Scene, node: str, name: str) -> list[dict[str, str]]:
    return links(scene.base_url, f"nodes/{node}/bios/{quote(name, safe='')}")


def _registered(column: sa.Column[Any]) -> Field:
    return Field(column=column, since=REGISTRY_SINCE)


class BiosSetting(Resource, noun="BIOS setting"):
    """One BIOS setting; the registry says the rest of what is behind its value."""

    created_at = Field(column=b.created_at, summary=True, show=timestamp)
    updated_at = Field(column=b.updated_at, summary=True, show=timestamp)
    name = Field(column=b.name, summary=True)
    value = Field(column=b.value, summary=True)
    attribute_type = _registered(b.attribute_type)
    allowable_values = Field(column=b.allowable_values, since=REGISTRY_SINCE, show=lambda values: values or [])
    lower_bound = _registered(b.lower_bound)
    max_length = _registered(b.max_length)
    min_length = _registered(b.min_length)
    read_only = _registered(b.read_only)
    reset_required = _registered(b.reset_required)
    unique = _registered(b.unique)
    upper_bound = _registered(b.upper_bound)
    links = Field(derive=_links, needs=(c.uuid, b.name))


class FirmwareComponent(Resource, noun="firmware component"):
    """One piece of firmware."""

    created_at = Field(column=f.created_at, summary=True, show=timestamp)
    updated_at = Field(column=f.updated_at, summary=True, show=timestamp)
    component = Field(column=f.component, summary=True)
    initial_version = Field(column=f.initial_version, summary=True)
    current_version = Field(column=f.current_version, summary=True)
    last_version_flashed = Field(column=f.last_version_flashed, summary=True)


class Bios:
    """GET /v1/nodes/{ident}/bios."""

    since = 40

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, _shapes(since=REGISTRY_SINCE))
        node = find(self._serving, caller, ident, (c.id,))
        view = _view(BiosSetting, caller.minor, given)
        answers.show(resp, {"bios": _rendered(self._serving, caller, view, bios_settings, node.id, b.name)})


class BiosItem:
    """GET /v1/nodes/{ident}/bios/{name}."""

    since = 40

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str, name: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        node = find(self._serving, caller, ident, (c.id, c.uuid))
        view = BiosSetting.detail(caller.minor)
        found = _rendered(self._serving, caller, view, bios_settings, node.id, b.name, b.name == name)
        if not found:
            raise errors.NotFound(what=f"The BIOS setting {name!r} of node {node.uuid}")
        answers.show(resp, {name: found[0]})


class Firmware:
    """GET /v1/nodes/{ident}/firmware."""

    since = 86

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, _shapes())
        node = find(self._serving, caller, ident, (c.id,))
        view = _view(FirmwareComponent, caller.minor, given)
        found = _rendered(self._serving, caller, view, firmware_information, node.id, f.component)
        answers.show(resp, {"firmware": found})


class InventoryItem:
    """GET /v1/nodes/{ident}/inventory."""

    since = 81

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        node = find(self._serving, req.context.caller, ident, (c.id, c.uuid))
        row = parts.get_inventory(self._serving.database, node.id, node.uuid)
        answers.show(resp, {"inventory": row.inventory_data, "plugin_data": row.plugin_data})


def _shapes(*, since: int = 1) -> dict[str, Argument]:
    return {
        "detail": Argument(arguments.boolean, since=since, hidden_before=True),
        "fields": Argument(arguments.words, since=since, hidden_before=True, repeats=True),
    }


def _view(resource: type[Resource], minor: int, given: Mapping[str, Any]) -> View:
    """The shape that was asked for."""
    fields = given.get("fields")
    if given.get("detail"):
        if fields is not None:
            raise errors.Invalid(reason="The arguments fields and detail exclude each other.")
        return resource.detail(minor)
    return resource.summary(minor) if fields is None else resource.selection(minor, (*ALWAYS, *fields))


def _rendered(  # a list has that many parts
    serving: Serving,
    caller: Caller,
    view: View,
    table: sa.Table[Any],
    node_id: int,
    order: sa.Column[Any],
    *where: sa.ColumnElement[bool],
) -> list[dict[str, Any]]:
    """Those of the node's rows, in one statement."""
    query = sa.select(*view.columns).select_from(table.join(nodes_table)).where(table.c.node_id == node_id, *where)
    scene = Scene(caller, serving.members)
    with serving.database.read() as connection:
        return [view.render(row, scene) for row in connection.execute(query.order_by(order))]
