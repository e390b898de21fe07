"""The unmodified openstacksdk: its proxy of bare metal, and the older calls of its cloud layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openstack
import pytest
import sqlalchemy as sa
from openstack import exceptions

from ironic_lite.db import nodes, parts
from ironic_lite.db.engine import Database
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.firmware import Component
from ironic_lite.domain.inventory import Interface, Inventory, Memory
from tests.parts.service import HOST, Service, service
from tests.waiting import until

pytestmark = [
    pytest.mark.timeout(240),
    # openstacksdk's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

INVENTORY = Inventory(memory=Memory(1024), interfaces=[Interface("52:54:00:00:01:01", "eth0")])
MACS = ("52:54:00:00:01:01", "52:54:00:00:01:02")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service")) as started:
        yield started
    assert "Traceback" not in started.log()


@pytest.fixture
def cloud(running: Service) -> Iterator[Any]:
    """A connection that knows the service by its address alone."""
    with openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="none",
        endpoint=running.url,
        baremetal_endpoint_override=running.url,
        baremetal_default_microversion="1.110",
        baremetal_status_code_retries=1,  # of its 5, with growing pauses, after a 409
    ) as connection:
        yield connection


@pytest.fixture
def node(cloud: Any) -> Iterator[Any]:
    made = cloud.baremetal.create_node(driver="fake-hardware", name="one")
    yield made
    until(lambda: cloud.baremetal.get_node(made.id).reservation is None)
    cloud.baremetal.delete_node(made.id)
    assert cloud.baremetal.find_node(made.id) is None


def test_a_node_is_made_found_changed_and_deleted(cloud: Any) -> None:
    made = cloud.baremetal.create_node(driver="fake-hardware", name="two", properties={"cpu_arch": "x86_64"})
    assert (made.provision_state, made.power_state, made.conductor) == ("enroll", None, HOST)
    assert cloud.baremetal.find_node("two").id == made.id == cloud.baremetal.find_node(made.id).id
    assert cloud.baremetal.find_node("nobody") is None

    changed = cloud.baremetal.update_node(made, extra={"rack": "r1"}, resource_class="big")
    assert (changed.extra, changed.resource_class) == ({"rack": "r1"}, "big")
    patch = [{"op": "add", "path": "/extra/slot", "value": 7}, {"op": "remove", "path": "/properties/cpu_arch"}]
    changed = cloud.baremetal.patch_node(made, patch)
    assert (changed.extra, changed.properties) == ({"rack": "r1", "slot": 7}, {})

    named = cloud.baremetal.update_node(made, instance_info={"display_name": "web-1"})
    assert named.instance_name == "web-1"
    named = cloud.baremetal.update_node(made, instance_name="web-2", instance_info={"display_name": "web-3"})
    assert named.instance_name == "web-2"

    with pytest.raises(exceptions.ConflictException, match="already exists"):
        cloud.baremetal.create_node(driver="fake-hardware", name="two")
    cloud.baremetal.delete_node(made)
    with pytest.raises(exceptions.NotFoundException):
        cloud.baremetal.get_node(made.id)


def test_a_node_is_made_available_in_one_call(cloud: Any) -> None:
    made = cloud.baremetal.create_node(driver="fake-hardware", name="three", provision_state="available")
    assert (made.provision_state, made.last_error) == ("available", None)
    managed = cloud.baremetal.set_node_provision_state(made, "manage", wait=True, timeout=30)
    assert managed.provision_state == "manageable"
    provided = cloud.baremetal.set_node_provision_state(made, "provide", wait=True, timeout=30)
    assert provided.provision_state == "available"
    with pytest.raises(exceptions.BadRequestException, match="can not be performed"):
        cloud.baremetal.set_node_provision_state(made, "provide")
    cloud.baremetal.delete_node(made)


@pytest.mark.parametrize(
    ("target", "state"),
    [("power on", "power on"), ("rebooting", "power on"), ("soft rebooting", "power on"), ("power off", "power off")],
)
def test_power(cloud: Any, node: Any, target: str, state: str) -> None:
    cloud.baremetal.set_node_power_state(node, target, wait=True, timeout=30)
    assert cloud.baremetal.wait_for_node_power_state(node, state, timeout=30).power_state == state
    assert cloud.baremetal.wait_for_node_reservation(node, timeout=30).target_power_state is None


def test_maintenance(cloud: Any, node: Any) -> None:
    cloud.baremetal.set_node_maintenance(node, reason="a new fan")
    kept = cloud.baremetal.get_node(node.id)
    assert (kept.is_maintenance, kept.maintenance_reason) == (True, "a new fan")
    cloud.baremetal.unset_node_maintenance(node)
    kept = cloud.baremetal.get_node(node.id)
    assert (kept.is_maintenance, kept.maintenance_reason) == (False, None)


def test_validation_and_boot_device(cloud: Any, node: Any) -> None:
    found = cloud.baremetal.validate_node(node)
    assert (found["power"].result, found["management"].result) == (True, True)
    assert cloud.baremetal.get_node_supported_boot_devices(node)["supported_boot_devices"] == ["pxe", "disk", "cdrom"]
    cloud.baremetal.set_node_boot_device(node, "disk", persistent=True)
    assert cloud.baremetal.get_node_boot_device(node)["boot_device"] == "pxe"  # fake-hardware forgets
    with pytest.raises(exceptions.BadRequestException, match="supported are: pxe, disk, cdrom"):
        cloud.baremetal.set_node_boot_device(node, "bios")


def test_boot_modes_and_interrupts(cloud: Any, node: Any) -> None:
    cloud.baremetal.set_node_boot_mode(node, "bios")
    until(lambda: cloud.baremetal.get_node(node.id).boot_mode == "bios")
    cloud.baremetal.wait_for_node_reservation(node, timeout=30)
    cloud.baremetal.set_node_secure_boot(node, True)
    until(lambda: cloud.baremetal.get_node(node.id).is_secure_boot is True)
    cloud.baremetal.wait_for_node_reservation(node, timeout=30)
    cloud.baremetal.inject_nmi_to_node(node)


def test_what_a_machine_is_made_of(running: Service, cloud: Any, node: Any) -> None:
    assert cloud.baremetal.list_node_firmware(node)["firmware"] == []
    with pytest.raises(exceptions.NotFoundException, match="was not inspected yet"):
        cloud.baremetal.get_node_inventory(node)
    keep_inventory(running, node.id)
    [bios] = cloud.baremetal.list_node_firmware(node)["firmware"]
    assert (bios["component"], bios["current_version"]) == ("bios", "1.0")
    found = cloud.baremetal.get_node_inventory(node)
    assert (found["inventory"], found["plugin_data"]["macs"]) == (INVENTORY.document(), [MACS[0]])
    bare = cloud.baremetal.get(f"/nodes/{node.id}/bios/BootMode", microversion="1.74").json()
    assert (bare["BootMode"]["value"], bare["BootMode"]["allowable_values"]) == ("Uefi", ["Uefi", "Bios"])


def keep_inventory(running: Service, uuid: str) -> None:
    """As an inspection does, under a lock of its own."""
    database = Database(sa.URL.create("sqlite", database=str(running.directory / "ironic.sqlite")))
    hold = Hold("an-inspection", uuid)

    def keep(connection: sa.Connection) -> None:
        parts.firmware_difference(database, uuid, [Component("bios", "1.0")]).write(connection)
        parts.bios_difference(database, uuid, [Setting("BootMode", "Uefi", "Enumeration", ["Uefi", "Bios"])]).write(
            connection
        )
        parts.store_inventory(connection, uuid, INVENTORY)

    nodes.take(database, nodes.get(database, uuid), hold, "test", {})
    nodes.within(database, uuid, hold, "test", keep)
    nodes.release(database, uuid, hold, "test", {}, None)
    database.dispose()


def test_ports(cloud: Any, node: Any) -> None:
    first, second = (cloud.baremetal.create_port(node_uuid=node.id, address=address) for address in MACS)
    assert [one.id for one in cloud.baremetal.ports(node=node.id)] == [first.id, second.id]
    assert [one.id for one in cloud.baremetal.ports(address=MACS[1])] == [second.id]
    assert cloud.baremetal.update_port(first, is_pxe_enabled=False).is_pxe_enabled is False
    patch = [{"op": "replace", "path": "/extra", "value": {"nic": 1}}]
    assert cloud.baremetal.patch_port(second, patch).extra == {"nic": 1}
    assert cloud.baremetal.get_port(first.id, fields=["address", "node_uuid"]).address == MACS[0]
    cloud.baremetal.delete_port(first)
    assert cloud.baremetal.find_port(first.id) is None
    with pytest.raises(exceptions.ConflictException, match="already exists"):
        cloud.baremetal.create_port(node_uuid=node.id, address=MACS[1])


def test_drivers_and_conductors(cloud: Any) -> None:
    drivers = {one.name: one for one in cloud.baremetal.drivers(details=True)}
    assert sorted(drivers) == ["fake-hardware", "ipmi", "redfish"]
    assert drivers["redfish"].default_power_interface == "redfish"
    assert cloud.baremetal.get_driver("ipmi").hosts == [HOST]
    [conductor] = cloud.baremetal.conductors()
    assert (conductor.hostname, conductor.alive) == (HOST, True)
    assert cloud.baremetal.get_conductor(HOST).drivers == sorted(drivers)


def test_25_nodes_come_in_pages_each_once(running: Service, cloud: Any) -> None:
    made = {f"page-{number:02}": running.create(f"page-{number:02}") for number in range(25)}
    before = running.log().count("GET '/v1/nodes'")
    listed = list(cloud.baremetal.nodes(limit=10, fields=["uuid", "name", "power_state"], sort_key="name"))
    assert {one.name: one.id for one in listed if one.name.startswith("page-")} == made
    assert [one.name for one in listed] == sorted(one.name for one in listed)
    assert listed[0].driver is None  # it was not asked for
    until(lambda: running.log().count("GET '/v1/nodes'") - before >= 3)
    assert len(list(cloud.baremetal.nodes(details=True, driver="fake-hardware"))) == len(listed)
    assert list(cloud.baremetal.nodes(driver="redfish")) == []
    [one] = list(cloud.baremetal.nodes(is_maintenance=False, limit=1, paginated=False))
    assert one.id
    for uuid in made.values():
        cloud.baremetal.delete_node(uuid)


def test_the_cloud_layer(cloud: Any) -> None:
    machine = cloud.register_machine(
        nics=[{"address": MACS[0]}], wait=True, timeout=60, driver="fake-hardware", name="four"
    )
    assert machine["provision_state"] == "available"
    assert [one["name"] for one in cloud.list_machines()] == ["four"]
    assert cloud.get_machine("four")["id"] == cloud.get_machine_by_mac(MACS[0])["id"] == machine["id"]
    assert cloud.get_machine("nobody") is None
    assert [one["address"] for one in cloud.list_nics_for_machine(machine["id"])] == [MACS[0]]
    assert cloud.get_nic_by_mac(MACS[0])["node_id"] == machine["id"]
    cloud.validate_machine("four", for_deploy=False)
    cloud.set_machine_power_on("four")
    assert cloud.baremetal.wait_for_node_power_state("four", "power on", timeout=30)
    cloud.wait_for_baremetal_node_lock(cloud.get_machine("four"), timeout=30)
    cloud.set_machine_maintenance_state("four", state=True, reason="dust")
    assert cloud.get_machine("four")["maintenance_reason"] == "dust"
    cloud.remove_machine_from_maintenance("four")
    assert cloud.update_machine("four", extra={"rack": "r2"})["node"]["extra"] == {"rack": "r2"}
    cloud.unregister_machine([{"address": MACS[0]}], machine["id"])
    assert (list(cloud.list_machines()), list(cloud.list_nics())) == ([], [])
