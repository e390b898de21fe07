"""What a port looks like from outside, and how ports are found and listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import arguments, checks, idents
from ironic_lite.api.arguments import Argument
from ironic_lite.api.caller import Caller, links
from ironic_lite.api.collection import Collection, Filter
from ironic_lite.api.resource import Field, Resource, Scene, Write, constant, timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.db import nodes, ports
from ironic_lite.db.tables import nodes as nodes_table
from ironic_lite.db.tables import ports as table
from ironic_lite.domain import names

p: Final = table.c
n: Final = nodes_table.c


def _no_portgroup(field: str, value: Any, minor: int) -> None:
    raise errors.Invalid(reason=f"Port group {checks.uuid(field, value, minor)} could not be found.")


def _links(scene: Scene, uuid: str) -> list[dict[str, str]]:
    return links(scene.base_url, f"ports/{uuid}")


class Port(Resource, noun="port"):
    """A port. `node_ident` is only ever written: it names the node by name or UUID."""

    uuid = Field(column=p.uuid, summary=True, write=Write.CREATE, check=checks.uuid)
    created_at = Field(column=p.created_at, show=timestamp, selectable=False)
    updated_at = Field(column=p.updated_at, show=timestamp, selectable=False)
    address = Field(column=p.address, summary=True, write=Write.ALWAYS, check=checks.mac, required=True)
    extra = Field(column=p.extra, write=Write.ALWAYS, check=checks.mapping, absent={})
    internal_info = Field(column=p.internal_info, since=18)
    is_smartnic = Field(column=p.is_smartnic, since=53, write=Write.ALWAYS, check=checks.boolean, absent=False)
    local_link_connection = Field(
        column=p.local_link_connection, since=19, write=Write.ALWAYS, check=checks.local_link_connection, absent={}
    )
    physical_network = Field(column=p.physical_network, since=34, write=Write.ALWAYS, check=checks.text(64))
    pxe_enabled = Field(column=p.pxe_enabled, since=19, write=Write.ALWAYS, check=checks.boolean, absent=True)
    node_uuid = Field(column=n.uuid, write=Write.ALWAYS, check=checks.uuid)
    node_ident = Field(since=94, write=Write.ALWAYS, check=checks.word, selectable=False)
    name = Field(column=p.name, since=88, write=Write.ALWAYS, check=checks.name)
    description = Field(column=p.description, since=97, write=Write.ALWAYS, check=checks.word)
    vendor = Field(column=p.vendor, since=100, write=Write.ALWAYS, check=checks.text(32))
    category = Field(column=p.category, since=101, write=Write.ALWAYS, check=checks.text(80))
    portgroup_uuid = constant(None, since=24, write=Write.ALWAYS, check=_no_portgroup)
    links = Field(selectable=False, derive=_links, needs=(p.uuid,))


def find(serving: Serving, caller: Caller, ident: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns of the port with that UUID or name. Raises `PortNotFound`, or `InvalidIdent` for nonsense."""
    return idents.found(caller, "port", ident, lambda one: ports.fetch(serving.database, one, columns))


def _of_node(serving: Serving, ident: str) -> sa.ColumnElement[bool]:
    of_node: sa.ColumnElement[bool] = p.node_id == nodes.fetch(serving.database, ident, (n.id,)).id
    return of_node


FILTERS: Final[Mapping[str, Filter]] = {
    "node": Filter(Argument(arguments.text), _of_node),
    "node_uuid": Filter(arguments.UUID, _of_node),
    "address": Filter(Argument(names.mac), lambda _serving, value: p.address == value),
    "shard": Filter(
        Argument(arguments.texts, since=82, repeats=True), lambda _serving, value: n.shard.in_(sorted(value))
    ),
    "description_contains": Filter(
        Argument(arguments.text), lambda _serving, value: p.description.contains(value, autoescape=True)
    ),
    "conductor_groups": Filter(
        Argument(arguments.words, since=99, repeats=True), lambda _serving, value: n.conductor_group.in_(sorted(value))
    ),
}

COLLECTION: Final = Collection(
    name="ports", resource=Port, source=ports.WITH_NODE, id_column=p.id, marker=p.uuid, filters=FILTERS
)
