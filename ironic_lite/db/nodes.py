"""The statements on nodes.

Guarantees: (1) a node is changed only by a statement that proves its right to: either it holds the node's lock
(`reservation` and `lock_id` both match: the fence), or the node is unreserved and has not changed since it was read
(`revision`); (2) at most one holder at a time, on any number of hosts: `take` demands `reservation IS NULL`;
(3) each change counts `revision` up; (4) a node whose `instance_uuid` is cleared loses its allocation in the same
transaction, whoever clears it. Rules that hold on SQLite, PostgreSQL and MariaDB alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.db.engine import Database, seconds_ago, utc_now
from ironic_lite.db.history import Event, record, storable
from ironic_lite.db.tables import (
    allocations,
    bios_settings,
    firmware_information,
    node_history,
    node_inventory,
    nodes,
    ports,
)
from ironic_lite.domain import names
from ironic_lite.domain.node import FIELDS, Node
from ironic_lite.domain.states import WORKING

c: Final = nodes.c
_BELONGING: Final = (ports, node_history, bios_settings, firmware_information, node_inventory)
_COLUMNS: Final = tuple(c[name] for name in FIELDS)
FREED: Final = {"reservation": None, "lock_id": None, "lock_purpose": None, "lock_taken_at": None}


class Hold(msgspec.Struct, frozen=True):
    """Who holds a node: the host, and which of its holds this is. Two lives of one host have different ids."""

    host: str
    lock_id: str


class Version(NamedTuple):
    """A node as its row is followed: in which version it is, and what decides whose it is."""

    uuid: str
    revision: int
    driver: str
    conductor_group: str


def fetch(database: Database, ident: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns of the node with that UUID or name. Raises `NodeNotFound`."""
    with database.read() as connection:
        row = connection.execute(
            _select(tuple(columns), "uuid" if names.is_uuid(ident) else "name"), {"ident": ident}
        ).first()
    if row is None:
        raise errors.NodeNotFound(node=ident)
    return row


def get(database: Database, ident: str) -> Node:
    """The node with that UUID or name. Raises `NodeNotFound`."""
    return _as_node(fetch(database, ident, _COLUMNS))


@lru_cache(maxsize=256)
def _select(columns: tuple[sa.ColumnElement[Any], ...], key: str) -> sa.Select[Any]:
    return sa.select(*columns).where(c[key] == sa.bindparam("ident"))


def _as_node(row: sa.Row[Any]) -> Node:
    return msgspec.convert(row._mapping, Node, strict=False)  # noqa: SLF001  # SQLAlchemy's public name for it


def insert(database: Database, values: Mapping[str, Any]) -> None:
    """Add a node. Raises `AlreadyExists` naming what is taken."""
    with unique(nodes, values), database.write() as connection:
        connection.execute(sa.insert(nodes).values(created_at=utc_now(), revision=0, **values))


def change(database: Database, uuid: str, revision: int, values: Mapping[str, Any]) -> None:
    """Change an unreserved node that is still as it was read. Raises as `changing`."""
    with changing(database, uuid, revision, values):
        pass


@contextmanager
def changing(database: Database, uuid: str, revision: int, values: Mapping[str, Any]) -> Iterator[sa.Connection]:
    """A transaction that begins by changing an unreserved node that is still as it was read.

    That proves the right to whatever else the block does to what belongs to the node, and keeps the row until the end.
    Raises `NodeLocked`, `NodeNotFound`, `AlreadyExists`, or `ChangedMeanwhile`; nothing is written then.
    """
    try:
        with unique(nodes, values), database.write() as connection:
            if not _is_changed(connection, "unseen", values, {"node": uuid, "seen": revision}):
                raise _NotAsReadError
            yield connection
    except _NotAsReadError:
        _refuse(database, uuid)


class _NotAsReadError(Exception):
    """Ends a transaction that had no right to its change."""


def delete(database: Database, uuid: str, revision: int) -> None:
    """Remove an unreserved node that is still as it was read, and all that belongs to it. Raises as `changing`."""
    with changing(database, uuid, revision, {}) as connection:
        node_id = sa.select(c.id).where(c.uuid == uuid).scalar_subquery()
        for table in _BELONGING:
            connection.execute(sa.delete(table).where(table.c.node_id == node_id))
        connection.execute(sa.delete(nodes).where(c.uuid == uuid))


def take(
    database: Database,
    node: Node,
    hold: Hold,
    purpose: str,
    coming: Mapping[str, Any],
    event: Event | None = None,
) -> None:
    """Lock the node for `hold` and write what is coming, in one statement; the history row goes with it.

    Raises `NodeLocked` if it is held, `ChangedMeanwhile` if it is not as it was read; nothing is written then.
    """
    lock = {"reservation": hold.host, "lock_id": hold.lock_id, "lock_purpose": purpose}
    values = lock | dict(coming)
    with database.write() as connection:
        if event is not None:
            record(connection, node.uuid, hold.host, coming, event)
        taken = _is_changed(connection, "unseen", values, {"node": node.uuid, "seen": node.revision})
        if not taken:
            connection.rollback()
    if not taken:
        _refuse(database, node.uuid)


def write(
    database: Database, uuid: str, hold: Hold, purpose: str, values: Mapping[str, Any], event: Event | None = None
) -> None:
    """Change a node that `hold` holds, and tell its history. Raises `LockLost` if it no longer does."""
    with database.write() as connection:
        if event is not None:
            record(connection, uuid, hold.host, values, event)
        _write_held(connection, uuid, hold, purpose, values)


def within(
    database: Database, uuid: str, hold: Hold, purpose: str, statements: Callable[[sa.Connection], None]
) -> None:
    """These statements in one transaction, which `hold` has the right to. Raises `LockLost` if it does not any more."""
    with database.write() as connection:
        _write_held(connection, uuid, hold, purpose, {})
        statements(connection)


def release(
    database: Database, uuid: str, hold: Hold, purpose: str, values: Mapping[str, Any], event: Event | None
) -> None:
    """Write the result and let go, in one statement; the history row goes with it. Raises `LockLost`."""
    write(database, uuid, hold, purpose, FREED | dict(values), event)


def is_held(database: Database, uuid: str, hold: Hold) -> bool:
    """Whether `hold` still holds the node."""
    with database.read() as connection:
        row = connection.execute(_HELD, {"uuid": uuid, "host": hold.host, "lock_id": hold.lock_id}).first()
    return row is not None


def uuids(database: Database) -> set[str]:
    """The UUID of every node."""
    with database.read() as connection:
        return set(connection.scalars(sa.select(c.uuid)))


def places(database: Database) -> list[tuple[str, str, str]]:
    """UUID, driver and conductor group of every node: what the ring decides by."""
    with database.read() as connection:
        rows = connection.execute(sa.select(c.uuid, c.driver, c.conductor_group))
        return [(row.uuid, row.driver, row.conductor_group) for row in rows]


def locked_by(database: Database, host: str) -> list[Node]:
    """Every node that this host holds, whatever the case its name was written in."""
    query = sa.select(*_COLUMNS).where(sa.func.lower(c.reservation) == host.lower())
    with database.read() as connection:
        return [_as_node(row) for row in connection.execute(query)]


def held_by(database: Database, host: str) -> list[Node]:
    """Every node that this host holds, by its name as it is written now."""
    with database.read() as connection:
        return [_as_node(row) for row in connection.execute(sa.select(*_COLUMNS).where(c.reservation == host))]


def in_states(database: Database, states: Collection[str]) -> list[Node]:
    """Every node in one of those provision states."""
    query = sa.select(*_COLUMNS).where(c.provision_state.in_(sorted(states)))
    with database.read() as connection:
        return [_as_node(row) for row in connection.execute(query)]


def stranded(database: Database) -> list[Node]:
    """Every node that nobody holds in a state in which somebody should be working on it."""
    query = sa.select(*_COLUMNS).where(c.reservation.is_(None), c.provision_state.in_(sorted(WORKING)))
    with database.read() as connection:
        return [_as_node(row) for row in connection.execute(query)]


def count_in(database: Database, states: Collection[str]) -> int:
    """How many nodes are in one of those provision states."""
    query = sa.select(sa.func.count()).select_from(nodes).where(c.provision_state.in_(sorted(states)))
    with database.read() as connection:
        return connection.scalar(query) or 0


def waiting(database: Database, uuid: str) -> tuple[Node, float]:
    """The node, and the seconds that it has been in its provision state. Raises `NodeNotFound`."""
    row = fetch(database, uuid, (*_COLUMNS, utc_now().label("now")))
    since = row.provision_updated_at or row.now
    return _as_node(row), (row.now - since).total_seconds()


def changed_since(database: Database, seconds: int) -> tuple[list[Version], int]:
    """Nodes that were written or made in the last so many seconds of the database's clock; how many nodes there are.

    A transaction that began earlier and has not ended yet is not seen: the caller asks for as much longer.
    """
    with database.read() as connection:
        since, total = connection.execute(sa.select(seconds_ago(seconds), _TOTAL)).one()
        return [Version(*row) for row in connection.execute(_CHANGED_SINCE, {"since": since})], total


def revisions(database: Database) -> list[Version]:
    """Every node: who is there, in which version, and whose."""
    with database.read() as connection:
        return [Version(*row) for row in connection.execute(_VERSIONS)]


def some(database: Database, uuids: Sequence[str]) -> list[Node]:
    """Those of the nodes that exist; ask for some hundreds at a time."""
    with database.read() as connection:
        return [_as_node(row) for row in connection.execute(_SOME, {"uuids": list(uuids)})]


def change_each(database: Database, changes: Sequence[tuple[str, int, Mapping[str, Any]]]) -> set[str]:
    """Make each change (UUID, revision, values) whose node is unreserved and still as it was read, in one transaction.

    The UUIDs of those that were changed.
    """
    changed = set()
    with database.write() as connection:
        for uuid, revision, values in sorted(changes, key=itemgetter(0)):  # in one order, so that two never cross
            if _is_changed(connection, "unseen", values, {"node": uuid, "seen": revision}):
                changed.add(uuid)
    return changed


_SINCE: Final = sa.bindparam("since", type_=sa.DateTime())
_VERSIONS: Final = sa.select(c.uuid, c.revision, c.driver, c.conductor_group)
_CHANGED_SINCE: Final = _VERSIONS.where(sa.or_(c.updated_at >= _SINCE, c.created_at >= _SINCE))
_TOTAL: Final = sa.select(sa.func.count()).select_from(nodes).scalar_subquery()
_SOME: Final = sa.select(*_COLUMNS).where(c.uuid.in_(sa.bindparam("uuids", expanding=True)))
_HELD: Final = sa.select(c.id).where(
    c.uuid == sa.bindparam("uuid"),
    c.reservation == sa.bindparam("host"),
    c.lock_id == sa.bindparam("lock_id"),
)
_RIGHTS: Final = {
    "unseen": (c.reservation.is_(None), c.revision == sa.bindparam("seen")),
    "held": (c.reservation == sa.bindparam("holder"), c.lock_id == sa.bindparam("hold_id")),
}


@lru_cache(maxsize=256)
def _update(right: str, columns: tuple[str, ...]) -> sa.Update:
    """One statement for each right and set of columns, compiled once."""
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}", type_=c[name].type) for name in columns}
    values |= {"revision": c.revision + 1, "updated_at": utc_now()}
    if "provision_state" in columns:
        values["provision_updated_at"] = utc_now()
    if right == "unseen" and "reservation" in columns:
        values["lock_taken_at"] = utc_now()
    return sa.update(nodes).where(c.uuid == sa.bindparam("node"), *_RIGHTS[right]).values(values)


def _is_changed(connection: sa.Connection, right: str, values: Mapping[str, Any], proof: dict[str, Any]) -> bool:
    """Whether the node that `proof` names was changed: its names are those of the right."""
    if values.get("instance_uuid", "") is None:
        if connection.dialect.name in ("mysql", "mariadb"):
            connection.execute(_LOCKED[right], proof)  # or of two that both refer to the row neither may change it
        connection.execute(_FORGET[right], proof)
    bound = {f"new_{name}": storable(value) for name, value in values.items()}
    return connection.execute(_update(right, tuple(sorted(values))), bound | proof).rowcount == 1


def _forgotten(right: str) -> sa.Delete:
    """The end of the allocation of a node that will have no instance: a foreign key demands that it goes first."""
    node_id = sa.select(c.id).where(c.uuid == sa.bindparam("node"), *_RIGHTS[right]).scalar_subquery()
    return sa.delete(allocations).where(allocations.c.node_id == node_id)


_FORGET: Final = {right: _forgotten(right) for right in _RIGHTS}
_LOCKED: Final = {
    right: sa.select(c.id).where(c.uuid == sa.bindparam("node"), *proof).with_for_update(key_share=True)
    for right, proof in _RIGHTS.items()
}


def _write_held(connection: sa.Connection, uuid: str, hold: Hold, purpose: str, values: Mapping[str, Any]) -> None:
    fence = {"node": uuid, "holder": hold.host, "hold_id": hold.lock_id}
    if not _is_changed(connection, "held", values, fence):
        raise errors.LockLost(node=uuid, purpose=purpose)


def _refuse(database: Database, uuid: str) -> None:
    """Say why a conditional statement found nothing to change."""
    row = fetch(database, uuid, (c.reservation, c.lock_purpose))
    if row.reservation is not None:
        raise errors.NodeLocked(node=uuid, host=row.reservation, purpose=row.lock_purpose or "unknown purpose")
    raise errors.ChangedMeanwhile(what=f"Node {uuid}")


class unique:
    """Turn a violated unique constraint of `table` into `AlreadyExists` naming the field and its value."""

    def __init__(self, table: sa.Table[Any], values: Mapping[str, Any]) -> None:
        self._table, self._values = table, values

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> None:
        if not isinstance(exc, sa.exc.IntegrityError):
            return
        text = str(exc.orig)
        for name in self._named(text):
            noun = self._table.name.removesuffix("s")
            what = f"{'An' if noun[0] in 'aeiou' else 'A'} {noun} with {name} {self._values[name]}"
            raise errors.AlreadyExists(what=what) from exc

    def _named(self, text: str) -> Iterable[str]:
        """The columns whose constraint the database names: `nodes.name` on SQLite, `uq_nodes_name` elsewhere."""
        table = self._table.name
        return (name for name in self._values if f"{table}.{name}" in text or f"uq_{table}_{name}" in text)
