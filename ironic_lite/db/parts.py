"""The statements on what machines are made of: BIOS settings, firmware, the inventory of an inspection.

What a BMC told is compared with what is kept, in one SELECT; only what differs is written, by statements that the
holder of the node's lock makes in one transaction (`nodes.within`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.db.engine import Database, utc_now
from ironic_lite.db.tables import bios_settings, firmware_information, node_inventory, nodes
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.firmware import Component
from ironic_lite.domain.inventory import Inventory, plugin_data

Row = Mapping[str, Any]


class Difference(msgspec.Struct, frozen=True):
    """What is to be written of one node's rows in `table`, each known by its `key`."""

    table: Any
    key: str
    node_id: int
    new: Sequence[Row]
    changed: Sequence[Row]
    gone: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)

    def write(self, connection: sa.Connection) -> None:
        """Each kind of change in one statement. Rows of one kind have the same columns."""
        if self.gone:
            named = self.table.c[self.key].in_(self.gone)
            connection.execute(sa.delete(self.table).where(self._of_node(), named))
        if self.new:
            insert = sa.insert(self.table).values(node_id=self.node_id, created_at=utc_now())
            connection.execute(insert, list(self.new))
        if self.changed:
            values = {name: sa.bindparam(f"new_{name}", type_=self.table.c[name].type) for name in self.changed[0]}
            this = self.table.c[self.key] == sa.bindparam(f"new_{self.key}")
            update = sa.update(self.table).where(self._of_node(), this).values(**values, updated_at=utc_now())
            connection.execute(update, [{f"new_{name}": row[name] for name in row} for row in self.changed])

    def _of_node(self) -> sa.ColumnElement[bool]:
        of_node: sa.ColumnElement[bool] = self.table.c.node_id == self.node_id
        return of_node


SETTING: Final = Setting.__struct_fields__
COMPONENT: Final = ("component", "current_version", "last_version_flashed", "vendor", "model", "serial_number")


def bios_difference(database: Database, uuid: str, settings: Iterable[Setting]) -> Difference:
    """What of these settings is not kept, or kept otherwise. Raises `NodeNotFound`."""
    node_id, kept = _kept(database, uuid, bios_settings, "name", SETTING)
    told = {one.name: msgspec.structs.asdict(one) for one in settings}
    new, changed = _new_and_changed(told, kept)
    return Difference(bios_settings, "name", node_id, new, changed, sorted(kept.keys() - told.keys()))


def firmware_difference(database: Database, uuid: str, components: Iterable[Component]) -> Difference:
    """The same for firmware. What is not told any more stays: some BMCs forget adapters of a machine that is off.

    Raises `NodeNotFound`.
    """
    node_id, kept = _kept(database, uuid, firmware_information, "component", COMPONENT)
    told = {one.component: _as_row(one, kept.get(one.component)) for one in components}
    new, changed = _new_and_changed(told, kept)
    first = [{**row, "initial_version": row["current_version"]} for row in new]
    return Difference(firmware_information, "component", node_id, first, changed, ())


def _as_row(component: Component, kept: Row | None) -> Row:
    """A version other than the one that is kept was flashed in between."""
    row = msgspec.structs.asdict(component)
    version = row.pop("version")
    same = kept is None or kept["current_version"] == version
    flashed = (kept["last_version_flashed"] if kept else None) if same else version
    return {**row, "current_version": version, "last_version_flashed": flashed}


def store_inventory(connection: sa.Connection, uuid: str, inventory: Inventory) -> None:
    """Keep an inspection's result in the place of the last one's."""
    values = {"inventory_data": inventory.document(), "plugin_data": plugin_data(inventory)}
    c, node_id = node_inventory.c, sa.select(nodes.c.id).where(nodes.c.uuid == uuid).scalar_subquery()
    update = sa.update(node_inventory).where(c.node_id == node_id).values(**values, updated_at=utc_now())
    if connection.execute(update).rowcount == 0:
        connection.execute(sa.insert(node_inventory).values(**values, node_id=node_id, created_at=utc_now()))


def get_inventory(database: Database, node_id: int, uuid: str) -> sa.Row[Any]:
    """`inventory_data` and `plugin_data`. Raises `NotFound` for a node that was never inspected."""
    c = node_inventory.c
    query = sa.select(c.inventory_data, c.plugin_data).where(c.node_id == node_id)
    with database.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise errors.NotFound(what=f"The inventory of node {uuid}, which was not inspected yet,")
    return row


def _kept(
    database: Database, uuid: str, table: sa.Table[Any], key: str, names: Sequence[str]
) -> tuple[int, dict[str, Row]]:
    """The node's id and its rows by key, in one statement."""
    columns = [table.c[name] for name in names]
    query = sa.select(nodes.c.id.label("of_node"), *columns).select_from(nodes.outerjoin(table))
    with database.read() as connection:
        rows = connection.execute(query.where(nodes.c.uuid == uuid)).mappings().all()
    if not rows:
        raise errors.NodeNotFound(node=uuid)
    found: dict[str, Row] = {row[key]: {name: row[name] for name in names} for row in rows if row[key] is not None}
    return int(rows[0]["of_node"]), found


def _new_and_changed(told: Mapping[str, Row], kept: Mapping[str, Row]) -> tuple[list[Row], list[Row]]:
    new = [row for key, row in told.items() if key not in kept]
    return new, [row for key, row in told.items() if key in kept and row != kept[key]]
