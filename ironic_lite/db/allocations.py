"""The statements on allocations.

Guarantees: (1) a node is given to an allocation by one transaction, which demands that nobody holds the node, that it
is as it was when it suited (`revision`), and that the allocation still waits: of all who race for a node one gets it,
and nothing is left behind by one who dies; (2) an allocation has its node exactly as long as the node has its UUID as
`instance_uuid` (a foreign key, and guarantee 4 of `db/nodes.py`); (3) what one conductor takes up, no other does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database, seconds_ago, utc_now
from ironic_lite.db.nodes import unique
from ironic_lite.db.tables import allocations, conductors, node_traits
from ironic_lite.db.tables import nodes as nodes_table
from ironic_lite.domain import names
from ironic_lite.domain.allocation import Allocation, State
from ironic_lite.domain.states import Provision

c: Final = allocations.c
n: Final = nodes_table.c
t: Final = node_traits.c
WITH_NODE: Final = allocations.outerjoin(nodes_table, n.id == c.node_id)

# A column of a SELECT from nodes: the UUID of their allocation.
OF_NODE: Final = sa.select(c.uuid).where(c.node_id == n.id).scalar_subquery().label("allocation_uuid")


class Candidate(msgspec.Struct, frozen=True):
    """A node that suits, as it was read."""

    id: int
    uuid: str
    revision: int
    instance_info: dict[str, Any]
    is_locked: bool


def fetch(database: Database, ident: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns, the node's among them, of the allocation with that UUID or name. Raises `AllocationNotFound`."""
    key = c.uuid if names.is_uuid(ident) else c.name
    with database.read() as connection:
        row = connection.execute(sa.select(*columns).select_from(WITH_NODE).where(key == ident)).first()
    if row is None:
        raise errors.AllocationNotFound(allocation=ident)
    return row


def insert(database: Database, wanted: Allocation, host: str) -> None:
    """Add an allocation that the conductor of that name will find a node for. Raises `AlreadyExists`."""
    values = msgspec.structs.asdict(wanted)
    mine = sa.select(conductors.c.id).where(conductors.c.hostname == host).scalar_subquery()
    with unique(allocations, values), database.write() as connection:
        connection.execute(_insert(values, state=State.ALLOCATING, conductor_affinity=mine))


def backfill(database: Database, wanted: Allocation, node: Candidate) -> None:
    """Add an allocation of a node that is in use already. Raises `AlreadyExists` and as `nodes.changing`."""
    values = msgspec.structs.asdict(wanted)
    with (
        unique(allocations, {**values, "node_id": node.uuid}),
        nodes.changing(database, node.uuid, node.revision, _given(wanted, node)) as connection,
    ):
        connection.execute(_insert(values, state=State.ACTIVE, node_id=node.id))


def change(database: Database, uuid: str, revision: int, values: Mapping[str, Any]) -> None:
    """Change an allocation that is as it was read. Raises `AlreadyExists`, `AllocationNotFound`, `ChangedMeanwhile`."""
    with unique(allocations, values), database.write() as connection:
        done = connection.execute(_changed(uuid).where(c.revision == revision).values(**values))
    if done.rowcount != 1:
        _refuse(database, uuid)


def delete(database: Database, uuid: str, revision: int) -> None:
    """Remove an allocation that is as it was read and has no node. Raises `AllocationNotFound`, `ChangedMeanwhile`.

    One with a node goes when the node's `instance_uuid` is cleared (`nodes.change`).
    """
    with database.write() as connection:
        done = connection.execute(
            sa.delete(allocations).where(c.uuid == uuid, c.revision == revision, c.node_id.is_(None))
        )
    if done.rowcount != 1:
        _refuse(database, uuid)


def waiting(database: Database, uuid: str) -> Allocation | None:
    """The allocation, if it is still there and waits for a node."""
    columns = [c[name] for name in Allocation.__struct_fields__]
    with database.read() as connection:
        row = connection.execute(sa.select(*columns).where(c.uuid == uuid, c.state == State.ALLOCATING)).first()
    return None if row is None else Allocation(**row._mapping)  # noqa: SLF001  # SQLAlchemy's public name for it


def candidates(database: Database, wanted: Allocation, limit: int) -> list[Candidate]:
    """Nodes that suit, at most `limit`: first those that nobody holds, of these the one of its name, else at random."""
    columns = (n.id, n.uuid, n.revision, n.instance_info, n.reservation.is_not(None))
    by_name = sa.case((n.name == wanted.name, 0), else_=1)
    order = (sa.case((n.reservation.is_(None), 0), else_=1), by_name, sa.func.random())
    query = sa.select(*columns).where(*(rule for _, rule in _rules(wanted))).order_by(*order).limit(limit)
    with database.read() as connection:
        return [Candidate(*row) for row in connection.execute(query)]


def obstacles(database: Database, wanted: Allocation) -> dict[str | None, int]:
    """How many nodes do not suit for each reason, each node counted once; under None how many do suit."""
    whens = [(rule.is_not(sa.true()), sa.literal(number)) for number, (_, rule) in enumerate(_rules(wanted))]
    reason = sa.case(*whens, else_=None).label("reason")
    query = sa.select(reason, sa.func.count()).group_by(reason)
    texts = [text for text, _ in _rules(wanted)]
    with database.read() as connection:
        return {None if number is None else texts[number]: count for number, count in connection.execute(query)}


def take(database: Database, wanted: Allocation, node: Candidate) -> None:
    """Give the node to the allocation.

    Raises `AllocationNotFound` if it waits no longer, `AlreadyExists` if another node has its UUID for an instance, and
    as `nodes.changing`; nothing is written then.
    """
    with nodes.changing(database, node.uuid, node.revision, _given(wanted, node)) as connection:
        _settle(connection, wanted.uuid, state=State.ACTIVE, node_id=node.id)


def fail(database: Database, uuid: str, reason: str) -> None:
    """Say why the allocation gets no node. Raises `AllocationNotFound` if it waits no longer."""
    with database.write() as connection:
        _settle(connection, uuid, state=State.ERROR, last_error=reason)


def of_host(database: Database, host: str) -> list[str]:
    """The UUIDs of the waiting allocations that the conductor of that name is to find nodes for."""
    query = sa.select(c.uuid).join(conductors).where(conductors.c.hostname == host, c.state == State.ALLOCATING)
    with database.read() as connection:
        return list(connection.scalars(query))


def take_up(database: Database, host: str, seconds: int, limit: int) -> list[str]:
    """Let the conductor of that name find nodes for what has waited that long; the UUIDs, at most `limit`."""
    waited = sa.func.coalesce(c.updated_at, c.created_at) < seconds_ago(seconds)
    left = sa.and_(c.state == State.ALLOCATING, waited)
    with database.read() as connection:
        found = list(connection.scalars(sa.select(c.uuid).where(left).order_by(c.id).limit(limit)))
    if not found:
        return []
    mine = sa.select(conductors.c.id).where(conductors.c.hostname == host).scalar_subquery()
    with database.write() as connection:  # in one order, so that two never cross
        claims = [(uuid, _changed(uuid).where(left).values(conductor_affinity=mine)) for uuid in found]
        return [uuid for uuid, claim in claims if connection.execute(claim).rowcount == 1]


def _rules(wanted: Allocation) -> list[tuple[str, sa.ColumnElement[bool]]]:
    """What a node must be, each rule with what is said of those that are not; the first that fails is what counts."""
    rules: list[tuple[str, sa.ColumnElement[bool]]] = []
    if wanted.candidate_nodes:
        rules.append(("are not among the candidates", n.uuid.in_(wanted.candidate_nodes)))
    rules.append(("have another resource class", n.resource_class == wanted.resource_class))
    if wanted.owner is not None:
        rules.append(("belong to others", sa.or_(n.owner == wanted.owner, n.lessee == wanted.owner)))
    if wanted.traits:
        asked = sorted(set(wanted.traits))
        had = sa.select(sa.func.count()).where(t.node_id == n.id, t.trait.in_(asked)).scalar_subquery()
        rules.append(("lack traits", had == len(asked)))
    return [
        *rules,
        ("are in use already", n.instance_uuid.is_(None)),
        (f"are not {Provision.AVAILABLE}", n.provision_state == Provision.AVAILABLE),
        ("are in maintenance", n.maintenance.is_(sa.false())),
        ("have an unknown power state", n.power_state.is_not(None)),
    ]


def _given(wanted: Allocation, node: Candidate) -> dict[str, Any]:
    """What a node becomes. The traits that were asked for choose the steps of its deployment."""
    return {"instance_uuid": wanted.uuid, "instance_info": node.instance_info | {"traits": wanted.traits}}


def _insert(values: Mapping[str, Any], **more: Any) -> sa.Insert:
    return sa.insert(allocations).values(**values, **more, revision=0, created_at=utc_now())


def _changed(uuid: str) -> sa.Update:
    return sa.update(allocations).where(c.uuid == uuid).values(revision=c.revision + 1, updated_at=utc_now())


def _settle(connection: sa.Connection, uuid: str, **values: Any) -> None:
    done = connection.execute(_changed(uuid).where(c.state == State.ALLOCATING).values(**values))
    if done.rowcount != 1:
        raise errors.AllocationNotFound(allocation=uuid)


def _refuse(database: Database, uuid: str) -> None:
    """Say why a conditional statement found nothing."""
    fetch(database, uuid, (c.id,))
    raise errors.ChangedMeanwhile(what=f"Allocation {uuid}")
