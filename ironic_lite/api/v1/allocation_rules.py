"""The rules on allocations: of which nodes they are, and when they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.clock import new_uuid
from ironic_lite.db import nodes, traits
from ironic_lite.db.allocations import Candidate
from ironic_lite.db.engine import Database
from ironic_lite.db.tables import nodes as nodes_table
from ironic_lite.domain.allocation import Allocation
from ironic_lite.domain.states import PATCHABLE_ON_THE_WAY, Provision

n: Final = nodes_table.c


def candidates(database: Database, idents: list[str]) -> list[str]:
    """The UUIDs of the nodes with those names or UUIDs. Raises `Invalid` naming those that are not there."""
    if not idents:
        return []
    query = sa.select(n.uuid, n.name).where(sa.or_(n.uuid.in_(idents), n.name.in_(idents)))
    with database.read() as connection:
        known = {ident: row.uuid for row in connection.execute(query) for ident in (row.uuid, row.name)}
    missing = [ident for ident in idents if ident not in known]
    if missing:
        raise errors.Invalid(reason=f"Nodes cannot be found: {', '.join(missing)}.")
    return list(dict.fromkeys(known[ident] for ident in idents))


def backfilled(database: Database, values: Mapping[str, Any], ident: str) -> tuple[Allocation, Candidate]:
    """The allocation of a node that is in use already, and the node. Raises what forbids it.

    What is not asked for is as the node has it; its instance stays what it is.
    """
    row = _in_use(database, ident)
    if values["resource_class"] not in (None, "", row.resource_class):
        raise errors.Invalid(
            reason=f"Node {row.uuid} has resource class {row.resource_class}, not {values['resource_class']}."
        )
    missing = set(values["traits"]) - set(row.traits or ())
    if missing:
        raise errors.Invalid(reason=f"Node {row.uuid} lacks traits {', '.join(sorted(missing))}.")
    if values["candidate_nodes"] and row.uuid not in values["candidate_nodes"]:
        raise errors.Invalid(reason=f"Node {row.uuid} is not among the candidates.")
    if row.instance_uuid is not None and values["uuid"] not in (None, row.instance_uuid):
        raise errors.NodeAssociated(node=row.uuid, instance=row.instance_uuid)
    uuid = values["uuid"] or row.instance_uuid or new_uuid()
    wanted = msgspec.convert({**values, "uuid": uuid, "resource_class": row.resource_class or ""}, Allocation)
    return wanted, Candidate(row.id, row.uuid, row.revision, row.instance_info, is_locked=False)


def _in_use(database: Database, ident: str) -> sa.Row[Any]:
    """The node that a body names. Raises `Invalid`, `NodeLocked`, or `Conflict` if nobody uses it."""
    columns = (
        n.id, n.uuid, n.revision, n.instance_info, n.instance_uuid, n.resource_class, n.provision_state, n.reservation,
        n.lock_purpose, traits.OF_NODE,
    )  # fmt: skip
    try:
        row = nodes.fetch(database, ident, columns)
    except errors.NodeNotFound as exc:
        raise errors.Invalid(str(exc)) from exc
    if row.reservation is not None:
        raise errors.NodeLocked(node=row.uuid, host=row.reservation, purpose=row.lock_purpose)
    if row.provision_state != Provision.ACTIVE:
        raise errors.Conflict(
            reason=f'Node {row.uuid} is in state "{row.provision_state}"; only a node in state "{Provision.ACTIVE}" '
            "can be given an allocation."
        )
    return row


def removable(node: str, state: str, target: str | None, *, maintenance: bool) -> None:
    """Raise `Conflict` if the node's allocation must stay: as long as it is in use or on its way to be."""
    on_the_way = target is not None and state not in PATCHABLE_ON_THE_WAY
    if not maintenance and (state == Provision.ACTIVE or on_the_way):
        raise errors.Conflict(
            reason=f'The allocation of node {node} can not be removed while the node is in state "{state}" and not in '
            "maintenance mode."
        )
