"""BIOS settings, firmware, inventory and the ports that an inspection adds: what is written, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.db import nodes, parts, ports
from ironic_lite.db.engine import Database
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import bios_settings, firmware_information, node_inventory
from ironic_lite.db.tables import nodes as nodes_table
from ironic_lite.db.tables import ports as ports_table
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.firmware import Component
from ironic_lite.domain.inventory import Cpu, Interface, Inventory, Memory
from ironic_lite.domain.node import Node
from tests.builders import a_node

HOLD = Hold("h1", "11111111-0000-4000-8000-000000000001")
MODE = Setting("BootMode", "Uefi", "Enumeration", ["Uefi", "Bios"], read_only=False, reset_required=True)
TIMEOUT = Setting("Timeout", "5", "Integer", [], lower_bound=-(2**62), upper_bound=2**62)
SECRET = Setting("Password", None)


@pytest.fixture
def node(database: Database) -> Node:
    """A node that is held."""
    made = a_node(database)
    nodes.take(database, made, HOLD, "test", {})
    return nodes.get(database, made.uuid)


def write(database: Database, node: Node, statements: Callable[[sa.Connection], None], hold: Hold = HOLD) -> None:
    nodes.within(database, node.uuid, hold, "test", statements)


def cache_bios(database: Database, node: Node, *settings: Setting) -> parts.Difference:
    difference = parts.bios_difference(database, node.uuid, settings)
    if difference:
        write(database, node, difference.write)
    return difference


def cache_firmware(database: Database, node: Node, *components: Component) -> None:
    difference = parts.firmware_difference(database, node.uuid, components)
    if difference:
        write(database, node, difference.write)


def rows(database: Database, table: sa.Table[Any], *names: str) -> list[tuple[Any, ...]]:
    columns = [table.c[name] for name in names]
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns[:1]))]


def test_settings_are_kept_whole(database: Database, node: Node):
    cache_bios(database, node, MODE, TIMEOUT, SECRET)
    kept = rows(database, bios_settings, *parts.SETTING)
    assert [Setting(*row) for row in kept] == [MODE, SECRET, TIMEOUT]


def test_only_what_differs_is_written(database: Database, node: Node):
    cache_bios(database, node, MODE, TIMEOUT, SECRET)
    before = rows(database, bios_settings, "name", "created_at", "updated_at")
    again = cache_bios(database, node, MODE, TIMEOUT, SECRET)
    assert not again
    assert nodes.get(database, node.uuid).revision == node.revision + 1  # by the first writing alone

    changed = msgspec.structs.replace(TIMEOUT, value="7")
    new = Setting("New", "x")
    difference = cache_bios(database, node, MODE, changed, new)
    assert ([row["name"] for row in difference.new], [row["name"] for row in difference.changed]) == (
        ["New"],
        ["Timeout"],
    )
    assert difference.gone == ["Password"]
    assert rows(database, bios_settings, "name", "value") == [("BootMode", "Uefi"), ("New", "x"), ("Timeout", "7")]
    after = {row[0]: row[1:] for row in rows(database, bios_settings, "name", "created_at", "updated_at")}
    assert after["BootMode"] == before[0][1:]
    assert after["Timeout"][0] == before[2][1]
    assert after["Timeout"][1] is not None


def test_a_setting_can_come_to_have_no_values_and_no_registry(database: Database, node: Node):
    cache_bios(database, node, MODE)
    plain = Setting("BootMode", None)
    cache_bios(database, node, plain)
    assert rows(database, bios_settings, *parts.SETTING) == [msgspec.structs.astuple(plain)]
    assert not cache_bios(database, node, plain)


def test_names_that_differ_in_case_are_two(database: Database, node: Node):
    cache_bios(database, node, Setting("CStates", "1"), Setting("Cstates", "2"))
    cache_bios(database, node, Setting("CStates", "1"), Setting("Cstates", "3"))
    assert sorted(rows(database, bios_settings, "name", "value")) == [("CStates", "1"), ("Cstates", "3")]


def test_nodes_do_not_mix(database: Database, node: Node):
    other = a_node(database)
    nodes.take(database, other, HOLD, "test", {})
    cache_bios(database, node, MODE)
    cache_bios(database, other, msgspec.structs.replace(MODE, value="Bios"), TIMEOUT)
    cache_bios(database, other, msgspec.structs.replace(MODE, value="Other"))
    assert not parts.bios_difference(database, node.uuid, [MODE])
    assert parts.bios_difference(database, other.uuid, []).gone == ["BootMode"]


def test_who_lost_the_lock_writes_nothing(database: Database, node: Node):
    other = Hold("h1", "22222222-0000-4000-8000-000000000002")
    difference = parts.bios_difference(database, node.uuid, [MODE])
    with pytest.raises(errors.LockLost):
        write(database, node, difference.write, other)
    with pytest.raises(errors.LockLost):
        write(database, node, lambda connection: parts.store_inventory(connection, node.uuid, Inventory()), other)
    assert rows(database, bios_settings, "name") == rows(database, node_inventory, "id") == []


def test_a_transaction_that_fails_writes_nothing(database: Database, node: Node):
    def fail(connection: sa.Connection) -> None:
        parts.bios_difference(database, node.uuid, [MODE]).write(connection)
        raise errors.Interrupted(what="This test")

    with pytest.raises(errors.Interrupted):
        write(database, node, fail)
    assert rows(database, bios_settings, "name") == []
    assert nodes.get(database, node.uuid).revision == node.revision


def test_a_version_that_changed_was_flashed(database: Database, node: Node):
    names = ("component", "initial_version", "current_version", "last_version_flashed", "vendor")
    bios, nic = Component("bios", "1.0"), Component("nic:1", "7", "v", "m", "s")
    cache_firmware(database, node, bios, nic)
    assert rows(database, firmware_information, *names) == [
        ("bios", "1.0", "1.0", None, None),
        ("nic:1", "7", "7", None, "v"),
    ]
    cache_firmware(database, node, Component("bios", "1.1"))  # the adapter is not told while the machine is off
    cache_firmware(database, node, Component("bios", "1.1", "vendor"), nic)
    assert rows(database, firmware_information, *names) == [
        ("bios", "1.0", "1.1", "1.1", "vendor"),
        ("nic:1", "7", "7", None, "v"),
    ]
    assert not parts.firmware_difference(database, node.uuid, [nic, Component("bios", "1.1", "vendor")])


def test_the_last_inspection_is_kept(database: Database, node: Node):
    node_id = rows(database, nodes_table, "id")[0][0]
    with pytest.raises(errors.NotFound, match=f"The inventory of node {node.uuid}, which was not inspected yet, could"):
        parts.get_inventory(database, node_id, node.uuid)
    first = Inventory(memory=Memory(1024))
    second = Inventory(cpu=Cpu(4, "x86_64"), interfaces=[Interface("02:00:00:00:00:01", "eth0")])
    write(database, node, lambda connection: parts.store_inventory(connection, node.uuid, first))
    write(database, node, lambda connection: parts.store_inventory(connection, node.uuid, second))
    found = parts.get_inventory(database, node_id, node.uuid)
    assert found.inventory_data == second.document()
    assert found.plugin_data["macs"] == ["02:00:00:00:00:01"]
    assert len(rows(database, node_inventory, "id")) == 1


def test_missing_ports_are_added_once_and_those_of_others_told(database: Database, node: Node):
    other = a_node(database)
    other_id = dict(rows(database, nodes_table, "uuid", "id"))[other.uuid]
    given = {**ports._NEW, "uuid": other.uuid, "address": "02:00:00:00:00:01"}
    ports.insert(database, other_id, {name: value for name, value in given.items() if name != "revision"})
    addresses = [f"02:00:00:00:00:0{number}" for number in (1, 2, 3)]
    taken = list[list[str]]()
    for _ in range(2):
        write(database, node, lambda connection: taken.append(ports.add_missing(connection, node.uuid, addresses)))
    assert taken == [["02:00:00:00:00:01"]] * 2
    assert [row[0] for row in rows(database, ports_table, "address")] == addresses
    write(database, node, lambda connection: taken.append(ports.add_missing(connection, node.uuid, [])))
    assert taken[-1] == []


def test_everything_goes_with_the_node(database: Database, node: Node):
    cache_bios(database, node, MODE)
    cache_firmware(database, node, Component("bios", "1.0"))
    write(database, node, lambda connection: parts.store_inventory(connection, node.uuid, Inventory()))
    nodes.release(database, node.uuid, HOLD, "test", {}, None)
    nodes.delete(database, node.uuid, nodes.get(database, node.uuid).revision)
    for table in (bios_settings, firmware_information, node_inventory):
        assert rows(database, table, "node_id") == []


def test_a_look_costs_one_statement_and_a_change_one_transaction(database: Database, node: Node):
    cache_bios(database, node, MODE, SECRET)
    statements: list[str] = []
    database.on_statement(statements.append)
    assert not cache_bios(database, node, MODE, SECRET)
    assert [one.split()[0] for one in statements] == ["SELECT"]
    statements.clear()
    cache_bios(database, node, msgspec.structs.replace(MODE, value="Bios"), *(Setting(f"s{n}", "1") for n in range(50)))
    kinds = [one.split()[0] for one in statements if one != "BEGIN IMMEDIATE"]
    assert kinds[:3] == ["SELECT", "UPDATE", "DELETE"]
    assert set(kinds[3:]) == {"INSERT", "UPDATE"}
    assert len(kinds) <= 5
