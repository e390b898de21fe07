"""What an allocation looks like from outside, and how allocations are found and listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import arguments, checks, idents, versions
from ironic_lite.api.arguments import Argument
from ironic_lite.api.caller import Caller, links
from ironic_lite.api.collection import Collection, Filter
from ironic_lite.api.resource import Field, Resource, Scene, Write, timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.api.trait_names import traits
from ironic_lite.db import allocations, nodes
from ironic_lite.db.tables import allocations as table
from ironic_lite.db.tables import nodes as nodes_table

a: Final = table.c
n: Final = nodes_table.c
SINCE: Final = 52
CHANGED_SINCE: Final = 57
OWNER_SINCE: Final = 60
MAX_CANDIDATES: Final = 1000


def _candidates(field: str, value: Any, minor: int) -> list[str]:
    """Names and UUIDs of nodes."""
    if not isinstance(value, list) or len(value) > MAX_CANDIDATES:
        raise errors.Invalid(reason=f"Expected a list of at most {MAX_CANDIDATES} nodes for {field}.")
    return list(dict.fromkeys(idents.given(field, one, minor) for one in value))


def _links(scene: Scene, uuid: str) -> list[dict[str, str]]:
    return links(scene.base_url, f"allocations/{uuid}")


class Allocation(Resource, noun="allocation"):
    """An allocation; a list shows all of it."""

    uuid = Field(column=a.uuid, summary=True, write=Write.CREATE, check=checks.uuid)
    created_at = Field(column=a.created_at, summary=True, show=timestamp)
    updated_at = Field(column=a.updated_at, summary=True, show=timestamp)
    candidate_nodes = Field(column=a.candidate_nodes, summary=True, write=Write.CREATE, check=_candidates, absent=[])
    extra = Field(column=a.extra, summary=True, write=Write.ALWAYS, check=checks.mapping, absent={})
    last_error = Field(column=a.last_error, summary=True)
    name = Field(column=a.name, summary=True, write=Write.ALWAYS, check=checks.name)
    owner = Field(column=a.owner, since=OWNER_SINCE, summary=True, write=Write.CREATE, check=checks.word)
    resource_class = Field(column=a.resource_class, summary=True, write=Write.CREATE, check=checks.text(80))
    state = Field(column=a.state, summary=True)
    traits = Field(column=a.traits, summary=True, write=Write.CREATE, check=traits, absent=[])
    links = Field(derive=_links, needs=(a.uuid,))
    node_uuid = Field(column=n.uuid, summary=True)


def find(serving: Serving, caller: Caller, ident: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns of the allocation with that UUID or name.

    Raises `AllocationNotFound`, or `InvalidIdent` for nonsense.
    """
    return idents.found(caller, "allocation", ident, lambda one: allocations.fetch(serving.database, one, columns))


def _of_node(serving: Serving, ident: str) -> sa.ColumnElement[bool]:
    try:
        of_node: sa.ColumnElement[bool] = a.node_id == nodes.fetch(serving.database, ident, (n.id,)).id
    except errors.NodeNotFound as exc:
        raise errors.Invalid(str(exc)) from exc
    return of_node


def _equal(column: sa.Column[Any], since: int = 1) -> Filter:
    return Filter(Argument(arguments.text, since=since), lambda _serving, value: column == value)


FILTERS: Final[Mapping[str, Filter]] = {
    "node": Filter(Argument(arguments.text), _of_node),
    "resource_class": _equal(a.resource_class),
    "state": _equal(a.state),
    "owner": _equal(a.owner, OWNER_SINCE),
}

COLLECTION: Final = Collection(
    name="allocations",
    resource=Allocation,
    source=allocations.WITH_NODE,
    id_column=a.id,
    marker=a.uuid,
    filters=FILTERS,
    detail_since=versions.MAX + 1,  # every list shows everything
)
