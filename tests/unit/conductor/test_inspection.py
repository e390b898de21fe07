"""What flows keep of a machine: BIOS settings, firmware, and an inspection's inventory, properties and ports."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.conductor import caching, inspection
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.db import nodes
from ironic_lite.db.tables import bios_settings, firmware_information, node_inventory, ports
from ironic_lite.db.tables import nodes as nodes_table
from tests.builders import a_node
from tests.parts.scripted_bmc import scripted_bmc


def count(conductor: Conductor, table: sa.FromClause) -> int:
    with conductor.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_settings_and_firmware_are_kept_under_the_lock_that_goes_on(conductor: Conductor):
    node = a_node(conductor.database)
    for _ in range(2):
        with NodeLock(conductor, nodes.get(conductor.database, node.uuid), "verifying") as lock:
            caching.cache_bios(lock)
            caching.cache_firmware(lock)
            lock.write(boot_mode="uefi")  # the lock still knows which revision it holds
        assert (count(conductor, bios_settings), count(conductor, firmware_information)) == (2, 2)
    assert nodes.get(conductor.database, node.uuid).boot_mode == "uefi"


def test_a_driver_that_cannot_tell_is_not_asked(conductor: Conductor):
    node = a_node(conductor.database, bios_interface="no-bios", firmware_interface="no-firmware")
    with NodeLock(conductor, node, "verifying") as lock:
        caching.cache_bios(lock)
        caching.cache_firmware(lock)
    assert (count(conductor, bios_settings), count(conductor, firmware_information)) == (0, 0)


def test_an_inspection_keeps_what_it_found_and_says_what_follows(conductor: Conductor):
    node = a_node(conductor.database, properties={"cpu_arch": "aarch64", "vendor": "v"})
    for _ in range(2):
        with NodeLock(conductor, nodes.get(conductor.database, node.uuid), "inspecting") as lock:
            changes = inspection.inspect(lock)
            lock.write(**changes)
        assert (count(conductor, node_inventory), count(conductor, ports)) == (1, 1)
    assert nodes.get(conductor.database, node.uuid).properties == {
        "vendor": "v",
        "cpu_arch": "aarch64",
        "memory_mb": 4096,
        "local_gb": 39,
        "capabilities": "boot_mode:uefi",
    }


def test_a_port_of_another_node_is_left_and_told(conductor: Conductor, caplog: pytest.LogCaptureFixture):
    first, second = a_node(conductor.database), a_node(conductor.database)
    with NodeLock(conductor, first, "inspecting") as lock:
        inspection.inspect(lock)
    with conductor.database.write() as connection:  # as if its card had been put into the other machine
        other = sa.select(nodes.c.id).where(nodes.c.uuid == second.uuid).scalar_subquery()
        connection.execute(sa.update(ports).values(node_id=other))
    with NodeLock(conductor, nodes.get(conductor.database, first.uuid), "inspecting") as lock:
        inspection.inspect(lock)
    assert count(conductor, ports) == 1
    assert "belong to other nodes already" in caplog.text


def test_an_inspection_that_is_not_whole_keeps_nothing(conductor: Conductor):
    with scripted_bmc() as bmc:
        node = a_node(conductor.database, driver="redfish", driver_info=bmc.driver_info(), properties={"a": 1})
        with NodeLock(conductor, node, "inspecting") as lock, pytest.raises(errors.InventoryIncomplete):
            inspection.inspect(lock)
    assert (count(conductor, node_inventory), count(conductor, ports)) == (0, 0)


def test_a_lock_that_was_lost_meanwhile_keeps_nothing(conductor: Conductor):
    node = a_node(conductor.database)
    lock = NodeLock(conductor, node, "inspecting")
    with conductor.database.write() as connection:
        connection.execute(sa.update(nodes_table).values(lock_id="another"))
    for flow in (inspection.inspect, caching.cache_bios, caching.cache_firmware):
        with pytest.raises(errors.LockLost):
            flow(lock)
    tables = (bios_settings, firmware_information, node_inventory, ports)
    assert [count(conductor, table) for table in tables] == [0, 0, 0, 0]


def test_a_node_without_an_inspection_says_so(conductor: Conductor):
    node = a_node(conductor.database, inspect_interface="no-inspect")
    with NodeLock(conductor, node, "inspecting") as lock, pytest.raises(errors.UnsupportedByDriver, match="no-inspect"):
        inspection.inspect(lock)
