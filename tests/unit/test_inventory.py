"""What follows from an inventory for its node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ironic_lite import errors
from ironic_lite.domain.inventory import (
    GIB,
    Boot,
    Cpu,
    Disk,
    Interface,
    Inventory,
    Memory,
    macs,
    plugin_data,
    properties,
)
from ironic_lite.domain.states import BootMode

WHOLE = Inventory(
    memory=Memory(262144),
    cpu=Cpu(96, "x86_64", "Some CPU", "3200"),
    disks=[Disk("one", 960_000_000_000), Disk("two", 480_000_000_000), Disk("module", 2 * GIB)],
    interfaces=[Interface("02:00:00:00:00:01", "NIC1", 25000), Interface("02:00:00:00:00:02", "NIC2")],
    boot=Boot(BootMode.UEFI),
)


def changed(**parts: Any) -> Inventory:
    return msgspec.structs.replace(WHOLE, **parts)


def test_properties_are_ironics() -> None:
    assert properties("n1", WHOLE, {}) == {
        "memory_mb": 262144,
        "cpu_arch": "x86_64",
        "local_gb": 446,  # 480 GB are 447 GiB, one of which stays free
        "capabilities": "boot_mode:uefi",
    }


def test_what_an_operator_has_said_besides_stays() -> None:
    known = {"vendor": "v", "memory_mb": 1, "capabilities": "disk_label:gpt,boot_mode:bios,a:b"}
    found = properties("n1", WHOLE, known)
    assert (found["vendor"], found["memory_mb"]) == ("v", 262144)
    assert found["capabilities"] == "disk_label:gpt,a:b,boot_mode:uefi"
    assert known["memory_mb"] == 1


def test_a_boot_mode_that_is_not_told_leaves_the_capabilities() -> None:
    known = {"capabilities": "boot_mode:bios"}
    assert properties("n1", changed(boot=Boot()), known)["capabilities"] == "boot_mode:bios"
    assert "capabilities" not in properties("n1", changed(boot=Boot()), {})


def test_a_machine_without_a_root_disk_has_none() -> None:
    assert properties("n1", changed(disks=[]), {})["local_gb"] == 0
    assert properties("n1", changed(disks=[Disk("module", 4 * GIB - 1)]), {})["local_gb"] == 0
    assert properties("n1", changed(disks=[Disk("module", 4 * GIB)]), {})["local_gb"] == 3


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ({"memory": None}, "memory"),
        ({"cpu": None}, "the processors' architecture"),
        ({"cpu": Cpu(4)}, "the processors' architecture"),
        ({"memory": None, "cpu": None}, "memory and the processors' architecture"),
    ],
)
def test_an_inspection_without_the_essential_fails(parts: dict[str, Any], missing: str) -> None:
    with pytest.raises(errors.InventoryIncomplete, match=f"The inspection of node n1 did not find {missing}[.]"):
        properties("n1", changed(**parts), {})


def test_the_document_has_the_types_that_clients_decode() -> None:
    document = WHOLE.document()
    assert document["cpu"] == {"count": 96, "architecture": "x86_64", "model_name": "Some CPU", "frequency": "3200"}
    assert document["interfaces"][0] == {"mac_address": "02:00:00:00:00:01", "name": "NIC1", "speed_mbps": 25000}
    assert document["boot"] == {"current_boot_mode": "uefi"}
    assert document == msgspec.json.decode(msgspec.json.encode(document))


def test_each_address_is_named_once() -> None:
    twice = changed(interfaces=[*WHOLE.interfaces, WHOLE.interfaces[0]])
    assert macs(twice) == ["02:00:00:00:00:01", "02:00:00:00:00:02"]
    assert plugin_data(WHOLE)["valid_interfaces"]["NIC1"] == {
        "mac_address": "02:00:00:00:00:01",
        "name": "NIC1",
        "speed_mbps": 25000,
        "pxe_enabled": False,
        "ipv6_address": None,
    }
