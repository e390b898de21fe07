"""The statements on ports.

Guarantees: (1) a port is changed or removed only while nobody holds its node, and only as it was read (`revision`);
(2) each change counts `revision` up; (3) a port never outlives its node, nor belongs to none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.clock import new_uuid
from ironic_lite.db.engine import Database, utc_now
from ironic_lite.db.nodes import unique
from ironic_lite.db.tables import nodes, ports
from ironic_lite.domain import names

c: Final = ports.c
WITH_NODE: Final = ports.join(nodes)

_NEW: Final = {
    "revision": 0, "pxe_enabled": False, "is_smartnic": False, "extra": {}, "local_link_connection": {},
    "internal_info": {},
}  # fmt: skip
_NODE_IS_FREE: Final = sa.exists().where(nodes.c.id == c.node_id, nodes.c.reservation.is_(None))


def fetch(database: Database, ident: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns, the node's among them, of the port with that UUID or name. Raises `PortNotFound`."""
    key = c.uuid if names.is_uuid(ident) else c.name
    with database.read() as connection:
        row = connection.execute(sa.select(*columns).select_from(WITH_NODE).where(key == ident)).first()
    if row is None:
        raise errors.PortNotFound(port=ident)
    return row


def insert(database: Database, node_id: int, values: Mapping[str, Any]) -> None:
    """Add a port to that node. Raises `AlreadyExists` naming what is taken, or `Invalid` if the node has gone."""
    row = sa.insert(ports).values(**values, node_id=node_id, revision=0, created_at=utc_now())
    try:
        with unique(ports, values), database.write() as connection:
            connection.execute(row)
    except sa.exc.IntegrityError as exc:  # the node has gone since it was looked up
        raise errors.Invalid(reason="The node of the new port has just been removed.") from exc


def add_missing(connection: sa.Connection, node: str, addresses: Sequence[str]) -> list[str]:
    """Add a port to that node for each of these addresses that no port has; those that ports of other nodes have.

    They are not booted from until somebody says so: which one is, no BMC tells. Raises `ChangedMeanwhile`.
    """
    query = sa.select(c.address, nodes.c.uuid).select_from(WITH_NODE).where(c.address.in_(addresses))
    owners = {row.address: row.uuid for row in connection.execute(query)}
    node_id = sa.select(nodes.c.id).where(nodes.c.uuid == node).scalar_subquery()
    new = [{**_NEW, "uuid": new_uuid(), "address": one} for one in addresses if one not in owners]
    try:
        if new:
            connection.execute(sa.insert(ports).values(node_id=node_id, created_at=utc_now()), new)
    except sa.exc.IntegrityError as exc:  # somebody else has just added one of them
        raise errors.ChangedMeanwhile(what=f"A port of node {node}") from exc
    return [address for address, owner in owners.items() if owner != node]


def change(database: Database, uuid: str, revision: int, values: Mapping[str, Any]) -> None:
    """Change a port that is as it was read, of a node that nobody holds.

    Raises `AlreadyExists`, `PortNotFound`, `NodeLocked` or `ChangedMeanwhile`.
    """
    statement = sa.update(ports).where(*_as_read(uuid, revision))
    try:
        with unique(ports, values), database.write() as connection:
            done = connection.execute(statement.values(**values, revision=c.revision + 1, updated_at=utc_now()))
    except sa.exc.IntegrityError as exc:  # the node that the port should move to has gone
        raise errors.ChangedMeanwhile(what=f"The node that port {uuid} should belong to") from exc
    if done.rowcount != 1:
        _refuse(database, uuid)


def delete(database: Database, uuid: str, revision: int) -> None:
    """Remove a port. Raises `PortNotFound`, `NodeLocked` or `ChangedMeanwhile`."""
    with database.write() as connection:
        done = connection.execute(sa.delete(ports).where(*_as_read(uuid, revision)))
    if done.rowcount != 1:
        _refuse(database, uuid)


def _as_read(uuid: str, revision: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (c.uuid == uuid, c.revision == revision, _NODE_IS_FREE)


def _refuse(database: Database, uuid: str) -> None:
    """Say why a conditional statement found nothing."""
    row = fetch(database, uuid, (nodes.c.uuid.label("node"), nodes.c.reservation, nodes.c.lock_purpose))
    if row.reservation is not None:
        raise errors.NodeLocked(node=row.node, host=row.reservation, purpose=row.lock_purpose or "unknown purpose")
    raise errors.ChangedMeanwhile(what=f"Port {uuid}")
