"""BIOS settings, firmware, inventory, indicators, interrupts and boot modes, as clients see them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.db import nodes, parts
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.firmware import Component
from ironic_lite.domain.indicators import Light, Part
from ironic_lite.domain.inventory import Interface, Inventory, Memory, plugin_data
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootMode
from ironic_lite.drivers.fake import INDICATORS
from tests.builders import a_node
from tests.parts.api import Service, fault

URL = "http://127.0.0.1:46385"
SETTINGS = (
    Setting("BootMode", "Uefi", "Enumeration", ["Uefi", "Bios"], read_only=False, reset_required=True),
    Setting("Virtual Cores/4", None),
)
INVENTORY = Inventory(memory=Memory(4096), interfaces=[Interface("02:00:00:00:00:01", "eth0")])
HOLD = Hold("refhost", "x")


def inspected(service: Service) -> Node:
    """A node of which everything is known."""
    node = a_node(service.database, name="n1")

    def keep(connection: sa.Connection) -> None:
        parts.bios_difference(service.database, node.uuid, SETTINGS).write(connection)
        parts.firmware_difference(service.database, node.uuid, [Component("bios", "1.0", "v")]).write(connection)
        parts.store_inventory(connection, node.uuid, INVENTORY)

    nodes.take(service.database, node, HOLD, "test", {})
    nodes.within(service.database, node.uuid, HOLD, "test", keep)
    nodes.release(service.database, node.uuid, HOLD, "test", {}, None)
    return node


def shown(service: Service, path: str, **more: Any) -> Any:
    result = service.ask("GET", f"/v1/nodes/n1{path}", **more)
    assert result.status_code == 200, result.text
    return result.json


def test_settings_are_listed_in_short(service: Service) -> None:
    node = inspected(service)
    for minor in (40, 110):
        first, second = shown(service, "/bios", minor=minor)["bios"]
        assert list(first) == ["created_at", "updated_at", "name", "value", "links"]
        assert (first["name"], first["value"], first["updated_at"]) == ("BootMode", "Uefi", None)
        assert first["created_at"].endswith("+00:00")
        assert [one["href"] for one in first["links"]] == [
            f"{URL}/v1/nodes/{node.uuid}/bios/BootMode",
            f"{URL}/nodes/{node.uuid}/bios/BootMode",
        ]
        assert second["value"] is None
        assert second["links"][0]["href"].endswith("/bios/Virtual%20Cores%2F4")


def test_settings_tell_their_registry_in_detail_or_by_field(service: Service) -> None:
    inspected(service)
    first, second = shown(service, "/bios?detail=true")["bios"]
    assert list(first) == [
        "created_at", "updated_at", "name", "value", "attribute_type", "allowable_values", "lower_bound", "max_length",
        "min_length", "read_only", "reset_required", "unique", "upper_bound", "links",
    ]  # fmt: skip
    assert (first["allowable_values"], first["read_only"], first["unique"]) == (["Uefi", "Bios"], False, None)
    assert (second["allowable_values"], second["attribute_type"]) == ([], None)
    [first, _] = shown(service, "/bios?fields=value,unique&fields=name")["bios"]
    assert list(first) == ["created_at", "updated_at", "name", "value", "unique", "links"]


def test_one_setting_is_shown_under_its_name(service: Service) -> None:
    inspected(service)
    [(name, setting)] = shown(service, "/bios/BootMode").items()
    assert (name, setting["name"], setting["allowable_values"]) == ("BootMode", "BootMode", ["Uefi", "Bios"])
    assert "allowable_values" not in shown(service, "/bios/BootMode", minor=73)["BootMode"]
    result = service.ask("GET", "/v1/nodes/n1/bios/bootmode")
    assert (result.status_code, "'bootmode'" in fault(result)["faultstring"]) == (404, True)


def test_firmware(service: Service) -> None:
    inspected(service)
    [bios] = shown(service, "/firmware")["firmware"]
    assert bios | {"created_at": ""} == {
        "created_at": "",
        "updated_at": None,
        "component": "bios",
        "initial_version": "1.0",
        "current_version": "1.0",
        "last_version_flashed": None,
    }
    [bios] = shown(service, "/firmware?fields=current_version")["firmware"]
    assert list(bios) == ["created_at", "updated_at", "current_version"]
    assert shown(service, "/firmware?detail=true") == shown(service, "/firmware")


def test_inventory(service: Service) -> None:
    inspected(service)
    assert shown(service, "/inventory", minor=81) == {
        "inventory": INVENTORY.document(),
        "plugin_data": plugin_data(INVENTORY),
    }


def test_a_node_of_which_nothing_was_read(service: Service) -> None:
    node = a_node(service.database, name="n1")
    assert shown(service, "/bios") == {"bios": []}
    assert shown(service, "/firmware") == {"firmware": []}
    result = service.ask("GET", "/v1/nodes/n1/inventory")
    assert result.status_code == 404
    assert node.uuid in fault(result)["faultstring"]


@pytest.mark.parametrize(
    ("path", "minor", "status", "named"),
    [
        ("/bios", 39, 404, "1.40"),
        ("/bios/BootMode", 39, 404, "1.40"),
        ("/firmware", 85, 404, "1.86"),
        ("/inventory", 80, 404, "1.81"),
        ("/management/indicators", 62, 404, "1.63"),
        ("/management/indicators/led@system", 62, 404, "1.63"),
        ("/bios?detail=true", 73, 400, "detail"),
        ("/bios?fields=name", 73, 400, "fields"),
        ("/bios?fields=nosuch", 110, 400, "nosuch"),
        ("/bios?fields=name&detail=true", 110, 400, "exclude each other"),
        ("/bios?limit=1", 110, 400, "limit"),
        ("/firmware?fields=links", 110, 400, "links"),
        ("/firmware?marker=x", 110, 400, "marker"),
        ("/inventory?detail=true", 110, 400, "detail"),
        ("/management/indicators/led", 110, 400, "name@component"),
        ("/management/indicators/@system", 110, 400, "name@component"),
        ("/management/indicators/led@moon", 110, 400, "system, chassis, disk"),
    ],
)
def test_what_is_not_there_or_makes_no_sense(service: Service, path: str, minor: int, status: int, named: str) -> None:
    inspected(service)
    result = service.ask("GET", f"/v1/nodes/n1{path}", minor=minor)
    assert (result.status_code, named in fault(result)["faultstring"]) == (status, True), result.text
    assert service.conductors.calls == []


@pytest.mark.parametrize("path", ["/bios", "/bios?detail=true", "/bios/BootMode", "/firmware", "/inventory"])
def test_a_get_costs_two_statements(service: Service, path: str) -> None:
    inspected(service)
    shown(service, path)
    statements = service.statements()
    shown(service, path)
    assert [one.split()[0] for one in statements] == ["SELECT", "SELECT"]


def test_indicators_are_the_conductors_to_tell(service: Service) -> None:
    node = inspected(service)
    service.conductors.answers = {"get_indicators": list(INDICATORS), "get_indicator": Light.BLINKING}
    _, led = shown(service, "/management/indicators")["indicators"]
    assert led == {
        "name": "led@system",
        "component": "system",
        "readonly": False,
        "states": ["blinking", "off", "on"],
        "links": [
            {"href": f"{URL}/v1/nodes/{node.uuid}/management/indicators/led@system", "rel": "self"},
            {"href": f"{URL}/nodes/{node.uuid}/management/indicators/led@system", "rel": "bookmark"},
        ],
    }
    assert shown(service, "/management/indicators/0:1@a@disk") == {"state": "blinking"}
    assert service.conductors.calls[-1] == ("refhost", "get_indicator", (node.uuid, "0:1@a", Part.DISK))


@pytest.mark.parametrize(("given", "light"), [("ON", Light.ON), ("off", Light.OFF), ("Blinking", Light.BLINKING)])
def test_an_indicator_is_set(service: Service, given: str, light: Light) -> None:
    node = inspected(service)
    result = service.ask("PUT", "/v1/nodes/n1/management/indicators/led@system", {"state": given})
    assert (result.status_code, result.text) == (204, "")
    assert service.conductors.calls == [("refhost", "set_indicator", (node.uuid, "led", Part.SYSTEM, light))]


@pytest.mark.parametrize("body", [None, {}])
def test_an_interrupt(service: Service, body: Any) -> None:
    node = inspected(service)
    result = service.ask("PUT", "/v1/nodes/n1/management/inject_nmi", body, minor=29)
    assert (result.status_code, result.text) == (204, "")
    assert service.conductors.calls == [("refhost", "inject_nmi", (node.uuid,))]


@pytest.mark.parametrize(
    ("path", "target", "method", "told"),
    [
        ("boot_mode", "bios", "change_boot_mode", BootMode.BIOS),
        ("secure_boot", True, "change_secure_boot", True),
        ("secure_boot", "off", "change_secure_boot", False),
    ],
)
def test_a_mode_is_changed_by_the_owner(service: Service, path: str, target: Any, method: str, told: Any) -> None:
    node = inspected(service)
    result = service.ask("PUT", f"/v1/nodes/n1/states/{path}", {"target": target}, minor=76)
    assert (result.status_code, result.text) == (202, "")
    assert result.headers["Location"] == f"{URL}/v1/nodes/n1/states"
    assert service.conductors.calls == [("refhost", method, (node.uuid, told))]


@pytest.mark.parametrize(
    ("path", "body", "minor", "status"),
    [
        ("/states/boot_mode", {"target": "uefi"}, 75, 404),
        ("/states/secure_boot", {"target": True}, 75, 404),
        ("/management/inject_nmi", {}, 28, 404),
        ("/management/indicators/led@system", {"state": "on"}, 62, 404),
        ("/states/boot_mode", {"target": "foo"}, 110, 400),
        ("/states/boot_mode", {"target": True}, 110, 400),
        ("/states/boot_mode", {}, 110, 400),
        ("/states/secure_boot", {"target": "perhaps"}, 110, 400),
        ("/states/secure_boot", {"target": None}, 110, 400),
        ("/states/secure_boot?x=1", {"target": True}, 110, 400),
        ("/management/inject_nmi", {"force": True}, 110, 400),
        ("/management/indicators/led@system", {"state": "unknown"}, 110, 400),
        ("/management/indicators/led@system", {"state": 1}, 110, 400),
        ("/management/indicators/led", {"state": "on"}, 110, 400),
    ],
)
def test_a_wrong_change_asks_nobody(service: Service, path: str, body: Any, minor: int, status: int) -> None:
    inspected(service)
    result = service.ask("PUT", f"/v1/nodes/n1{path}", body, minor=minor)
    assert result.status_code == status, result.text
    assert service.conductors.calls == []


def test_what_a_conductor_refuses_is_told(service: Service) -> None:
    inspected(service)
    service.conductors.answers = {"change_boot_mode": errors.Conflict(reason="Node n1 is being deployed.")}
    result = service.ask("PUT", "/v1/nodes/n1/states/boot_mode", {"target": "uefi"})
    assert (result.status_code, fault(result)["faultstring"]) == (409, "Node n1 is being deployed.")


def test_nodes_do_not_show_each_others(service: Service) -> None:
    inspected(service)
    other = a_node(service.database)
    assert service.ask("GET", f"/v1/nodes/{other.uuid}/bios").json == {"bios": []}
    assert service.ask("GET", f"/v1/nodes/{other.uuid}/bios/BootMode").status_code == 404
    assert msgspec.json.encode(service.ask("GET", f"/v1/nodes/{other.uuid}/firmware").json) == b'{"firmware":[]}'
