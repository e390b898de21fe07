"""The statements on what happened to nodes. Rows are written in the transaction of what they tell of (`db.nodes`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.clock import new_uuid
from ironic_lite.db.engine import Database, seconds_since, utc_now
from ironic_lite.db.tables import node_history, nodes

c: Final = node_history.c
n: Final = nodes.c
MAX_TEXT_CHARS: Final = 16_000  # of which each may take four bytes


class Event(msgspec.Struct, frozen=True):
    """One row of a node's history, written with the result that it tells of.

    The node's provision state is added to it, and if it changes, how long the one before took.
    """

    event_type: str
    severity: str
    event: str
    user: str | None = None


def fetch(database: Database, node_id: int, uuid: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns of one entry of that node (its UUID among them). Raises `NotFound`."""
    query = sa.select(*columns).select_from(node_history.join(nodes)).where(c.node_id == node_id, c.uuid == uuid)
    with database.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise errors.NotFound(what=f"Node history record {uuid}")
    return row


def storable(value: Any) -> Any:
    """A text as every database takes it: PostgreSQL has no NUL, and MariaDB's TEXT ends at 64 KiB."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_TEXT_CHARS]


def record(connection: sa.Connection, uuid: str, host: str, values: Mapping[str, Any], event: Event) -> None:
    """Before the change itself, so that the row still tells since when the state was what it was."""
    told = {name: storable(value) for name, value in msgspec.structs.asdict(event).items()}
    bound = {"row": new_uuid(), "host": host, "node": uuid} | told
    if "provision_state" in values:
        states = {"state": values["provision_state"], "target": values.get("target_provision_state")}
        connection.execute(_RECORD_CHANGE, bound | states)
    else:
        connection.execute(_RECORD, bound)


def _told(state: Any, target: Any, duration: Any) -> sa.Insert:
    """An entry of the history, made from the node's row as it is."""
    columns: dict[str, Any] = {name: sa.bindparam(name, type_=sa.String()) for name in Event.__struct_fields__}
    columns |= {
        "uuid": sa.bindparam("row", type_=sa.String()), "conductor": sa.bindparam("host", type_=sa.String()),
        "created_at": utc_now(), "node_id": n.id,
        "state": state, "target_provision_state": target, "duration_seconds": duration,
    }  # fmt: skip
    row = sa.select(*(value.label(name) for name, value in columns.items())).where(n.uuid == sa.bindparam("node"))
    # Locked as the change will lock it: MariaDB would let two insert, and neither change the row that both refer to.
    return sa.insert(node_history).from_select(list(columns), row.with_for_update(key_share=True))


_RECORD: Final = _told(n.provision_state, n.target_provision_state, sa.null())
_RECORD_CHANGE: Final = _told(
    sa.bindparam("state", type_=sa.String()),
    sa.bindparam("target", type_=sa.String()),
    seconds_since(n.provision_updated_at),
)
