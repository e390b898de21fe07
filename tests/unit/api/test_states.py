"""What is asked of conductors: by whom, with what, and what is refused before anybody is asked."""

from __future__ import annotations

import datetime
import sys
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api.v1.node_states import POWER_TARGETS
from ironic_lite.conductor.reports import SensorReport
from ironic_lite.conductor.validation import Validation
from ironic_lite.db import nodes
from ironic_lite.db.history import Event as Happened
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import nodes as table
from ironic_lite.domain.provision import NEXT, TABLE, VERBS, Event, accepts
from ironic_lite.domain.states import BootDevice, PowerTarget, Provision
from ironic_lite.drivers.interfaces import BootChoice
from tests.builders import a_node
from tests.parts.api import Service, fault

POWER_PUT_CALLS = 320
"""Python calls of one PUT power in the API: measured 238 on 3.11; the whole, with the conductor, may be 1,200."""


@pytest.mark.parametrize("wanted", POWER_TARGETS)
def test_a_power_change_goes_to_the_owner(service: Service, wanted: str) -> None:
    node = a_node(service.database, name="n1")
    result = service.ask("PUT", "/v1/nodes/n1/states/power", {"target": wanted, "timeout": 90})
    assert (result.status_code, result.text, result.headers["content-type"]) == (202, "", "")
    assert result.headers["Location"] == "http://127.0.0.1:46385/v1/nodes/n1/states"
    assert service.conductors.calls == [("refhost", "change_power", (node.uuid, PowerTarget(wanted), 90))]


@pytest.mark.parametrize(
    ("body", "minor", "status", "named"),
    [
        ({"target": "soft power off"}, 26, 406, "1.27"),
        ({"target": "power on", "timeout": 5}, 26, 406, "timeout"),
        ({"target": "sleep"}, 110, 400, "soft rebooting"),
        ({"target": "power on", "timeout": 0}, 110, 400, "timeout"),
        ({"target": "power on", "timeout": 1.5}, 110, 400, "timeout"),
        ({"target": "power on", "timeout": 10**30}, 110, 400, "timeout"),
        ({"target": "power on", "force": True}, 110, 400, "force"),
        ({"target": None}, 110, 400, "target"),
        ({}, 110, 400, "target"),
        ([], 110, 400, "object"),
    ],
)
def test_a_wrong_power_request_asks_nobody(service: Service, body: Any, minor: int, status: int, named: str) -> None:
    node = a_node(service.database)
    result = service.ask("PUT", f"/v1/nodes/{node.uuid}/states/power", body, minor=minor)
    assert result.status_code == status
    assert named in fault(result)["faultstring"]
    assert service.conductors.calls == []


def test_what_forbids_a_power_change_is_told(service: Service) -> None:
    cleaning = a_node(service.database, provision_state="cleaning")
    kept_on = a_node(service.database, disable_power_off=True)
    assert service.ask("PUT", f"/v1/nodes/{cleaning.uuid}/states/power", {"target": "power on"}).status_code == 400
    for target, status in (("power off", 409), ("soft power off", 409), ("rebooting", 202), ("power on", 202)):
        assert service.ask("PUT", f"/v1/nodes/{kept_on.uuid}/states/power", {"target": target}).status_code == status


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (errors.NodeLocked(node="n", host="h", purpose="p"), 409),
        (errors.NoFreeWorker(pool="p", kind="k", busy=1, limit=1, waiting=0, queue=0, since_s=3.0), 503),
        (errors.ConductorUnreachable(host="h", reason="no answer in time"), 503),
        (errors.BMCUnreachable(node="n", address="a", reason="r"), 504),
        (errors.InvalidDriverInfo(node="n", problems="p"), 400),
    ],
)
def test_what_a_conductor_raises_is_the_answer(service: Service, raised: errors.Error, status: int) -> None:
    node = a_node(service.database)
    service.conductors.answers["change_power"] = raised
    result = service.ask("PUT", f"/v1/nodes/{node.uuid}/states/power", {"target": "power on"})
    assert (result.status_code, fault(result)["faultstring"]) == (status, str(raised))


def test_a_power_change_is_one_select_and_few_calls(service: Service) -> None:
    node = a_node(service.database)
    path, body = f"/v1/nodes/{node.uuid}/states/power", {"target": "power on"}
    environ = environment(path, b'{"target": "power on"}')
    for _ in range(3):
        service.ask("PUT", path, body)
    seen, calls = service.statements(), 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        answer = b"".join(service.app(environ, falcon.testing.StartResponseMock()))
    finally:
        sys.setprofile(None)
    assert answer == b""
    assert [one.split()[0] for one in seen] == ["SELECT"]
    assert calls <= POWER_PUT_CALLS


def environment(path: str, body: bytes) -> dict[str, Any]:
    headers = {"X-OpenStack-Ironic-API-Version": "1.110"}
    return falcon.testing.create_environ(path, method="PUT", body=body, headers=headers)


def test_the_table_of_states_is_whole() -> None:
    assert (len(Provision), len(TABLE), len(NEXT)) == (30, 93, 93)


A_STEP = {"interface": "power", "step": "power_off"}
BESIDE: dict[Event, dict[str, Any]] = {
    Event.CLEAN: {"clean_steps": [A_STEP]},
    Event.SERVICE: {"service_steps": [A_STEP]},
    Event.RESCUE: {"rescue_password": "x"},
}


@pytest.mark.parametrize("state", list(Provision))
def test_a_verb_is_carried_out_exactly_where_the_table_has_it(service: Service, state: Provision) -> None:
    node = a_node(service.database, provision_state=state)
    for verb, (event, _) in VERBS.items():
        service.conductors.calls.clear()
        body = {"target": verb} | BESIDE.get(event, {})
        result = service.ask("PUT", f"/v1/nodes/{node.uuid}/states/provision", body)
        if accepts(state, event):
            assert result.status_code == 202, (state, verb)
            ((host, name, (uuid, sent, _)),) = service.conductors.calls
            assert (host, name, uuid, sent) == ("refhost", "change_provision_state", node.uuid, event)
        else:
            assert result.status_code == 400, (state, verb)
            assert service.conductors.calls == []


@pytest.mark.parametrize("verb", [verb for verb, (_, since) in VERBS.items() if since > 1])
def test_a_verb_is_refused_before_its_version(service: Service, verb: str) -> None:
    node = a_node(service.database)
    path = f"/v1/nodes/{node.uuid}/states/provision"
    since = VERBS[verb][1]
    assert service.ask("PUT", path, {"target": verb}, minor=since - 1).status_code == 406
    assert service.ask("PUT", path, {"target": verb}, minor=since).status_code in (202, 400)


@pytest.mark.parametrize(
    ("state", "body", "minor", "status"),
    [
        ("inspect wait", {"target": "abort"}, 40, 406),
        ("inspect wait", {"target": "abort"}, 41, 202),
        ("wait call-back", {"target": "abort"}, 109, 406),
        ("wait call-back", {"target": "abort"}, 110, 202),
        ("clean wait", {"target": "abort"}, 13, 202),
        ("manageable", {"target": "provide", "configdrive": {}}, 110, 202),
        ("manageable", {"target": "provide", "configdrive": {"meta_data": {}}}, 110, 400),
        ("manageable", {"target": "provide", "clean_steps": [{}]}, 110, 400),
        ("manageable", {"target": "provide", "runbook": "r"}, 91, 406),
        ("manageable", {"target": "provide", "colour": 1}, 110, 400),
        ("manageable", {"target": "clean"}, 110, 400),
        ("manageable", {"target": "clean", "clean_steps": []}, 110, 400),
        ("manageable", {"target": "clean", "clean_steps": [{"interface": "bios"}]}, 110, 400),
        ("manageable", {"target": "clean", "clean_steps": [A_STEP | {"args": 1}]}, 110, 400),
        ("manageable", {"target": "clean", "clean_steps": [A_STEP | {"execute_on_child_nodes": True}]}, 110, 400),
        ("manageable", {"target": "clean", "clean_steps": [A_STEP | {"order": 1}], "disable_ramdisk": True}, 110, 202),
        ("active", {"target": "service"}, 110, 400),
        ("active", {"target": "rescue", "rescue_password": " "}, 110, 400),
        ("available", {"target": "active", "deploy_steps": [A_STEP]}, 110, 400),
        ("available", {"target": "active", "deploy_steps": [A_STEP | {"args": {}, "priority": "5"}]}, 110, 202),
        ("available", {"target": "active", "deploy_steps": [A_STEP | {"args": {}, "priority": "x"}]}, 110, 400),
        ("available", {"target": "active", "deploy_steps": [A_STEP | {"args": {}, "priority": "9" * 5000}]}, 110, 400),
        ("available", {"target": "active", "deploy_steps": [A_STEP | {"args": {}, "priority": 10**26}]}, 110, 400),
        ("available", {"target": "active", "runbook": "r"}, 110, 400),
        ("manageable", {"target": "clean", "clean_steps": [A_STEP], "runbook": "r"}, 110, 400),
        ("active", {"target": "service", "service_steps": [A_STEP], "disable_ramdisk": True}, 107, 406),
        ("active", {"target": "service", "service_steps": [A_STEP], "disable_ramdisk": True}, 108, 202),
        ("active", {"target": "rebuild", "configdrive": "aGk="}, 34, 406),
        ("available", {"target": "active", "configdrive": "not base64!"}, 110, 400),
        ("available", {"target": "active", "configdrive": "http://somewhere/drive"}, 110, 202),
        ("available", {"target": "active", "configdrive": {"meta_data": {}}}, 55, 406),
        ("available", {"target": "active", "configdrive": {"vendor_data": {}}}, 58, 400),
        ("available", {"target": "active", "configdrive": {"meta_data": []}}, 110, 400),
        ("available", {"target": "active", "configdrive": {"user_data": "#!"}}, 110, 202),
        ("manageable", {"target": "asleep"}, 110, 400),
        ("manageable", {}, 110, 400),
    ],
)
def test_what_a_verb_needs(service: Service, state: str, body: Any, minor: int, status: int) -> None:
    node = a_node(service.database, provision_state=state)
    result = service.ask("PUT", f"/v1/nodes/{node.uuid}/states/provision", body, minor=minor)
    assert result.status_code == status
    assert len(service.conductors.calls) == (status == 202)


def test_a_config_drive_may_be_large_and_nothing_else(service: Service) -> None:
    node = a_node(service.database, provision_state="available")
    body = {"target": "active", "configdrive": "x" * 2**21}
    assert service.ask("PUT", f"/v1/nodes/{node.uuid}/states/provision", body).status_code == 202
    ((_, _, (_, _, request)),) = service.conductors.calls
    assert request.configdrive == body["configdrive"]
    assert service.ask("PUT", f"/v1/nodes/{node.uuid}/states/power", body).status_code == 413


def test_a_verb_that_a_held_node_may_soon_accept_is_409(service: Service) -> None:
    node = a_node(service.database, provision_state="verifying")
    path = f"/v1/nodes/{node.uuid}/states/provision"
    assert service.ask("PUT", path, {"target": "provide"}).status_code == 400
    nodes.take(service.database, node, Hold("h2", "lock"), "manage", {})
    assert service.ask("PUT", path, {"target": "provide"}).status_code == 409


def test_maintenance_and_protection_forbid_their_verbs(service: Service) -> None:
    node = a_node(service.database, provision_state="available", maintenance=True)
    result = service.ask("PUT", f"/v1/nodes/{node.uuid}/states/provision", {"target": "active"})
    assert (result.status_code, "maintenance" in fault(result)["faultstring"]) == (400, True)
    kept = a_node(service.database, provision_state="active", protected=True)
    assert service.ask("PUT", f"/v1/nodes/{kept.uuid}/states/provision", {"target": "deleted"}).status_code == 403
    assert service.conductors.calls == []


def test_the_states_of_a_node(service: Service) -> None:
    node = a_node(service.database, name="n1", power_state="power on")
    early = service.ask("GET", "/v1/nodes/n1/states", minor=10).json
    assert early == {
        "console_enabled": False, "last_error": None, "power_state": "power on", "provision_state": "enroll",
        "provision_updated_at": None, "target_power_state": None, "target_provision_state": None,
    }  # fmt: skip
    late = service.ask("GET", "/v1/nodes/n1/states").json
    assert late.keys() - early.keys() == {"raid_config", "target_raid_config", "boot_mode", "secure_boot"}
    assert service.ask("GET", f"/v1/nodes/states/{node.uuid}").json == late


@pytest.mark.parametrize(
    ("minor", "state", "shown"),
    [(38, "inspect wait", "inspecting"), (39, "inspect wait", "inspect wait"), (1, "available", None)],
)
def test_a_state_looks_to_old_versions_as_it_did_then(
    service: Service, minor: int, state: str, shown: str | None
) -> None:
    node = a_node(service.database, provision_state=state)
    for path in (f"/v1/nodes/{node.uuid}", f"/v1/nodes/{node.uuid}/states"):
        assert service.ask("GET", path, minor=minor).json["provision_state"] == shown


def test_boot_devices(service: Service) -> None:
    node = a_node(service.database)
    path = f"/v1/nodes/{node.uuid}/management/boot_device"
    service.conductors.answers = {
        "get_boot_device": BootChoice(BootDevice.PXE, persistent=None),
        "supported_boot_devices": [BootDevice.PXE, BootDevice.DISK],
    }
    assert service.ask("GET", path).json == {"boot_device": "pxe", "persistent": None}
    assert service.ask("GET", f"{path}/supported").json == {"supported_boot_devices": ["pxe", "disk"]}
    assert service.ask("PUT", path, {"boot_device": "disk", "persistent": "yes"}).status_code == 204
    assert service.ask("PUT", path, {"boot_device": "cdrom"}).status_code == 204
    refused = service.ask("PUT", path, {"boot_device": "floppy"})
    assert (refused.status_code, "uefihttp" in fault(refused)["faultstring"]) == (400, True)
    assert service.ask("PUT", path, {"boot_device": "disk", "persistent": "maybe"}).status_code == 400
    assert [call[1:] for call in service.conductors.calls[2:]] == [
        ("set_boot_device", (node.uuid, BootDevice.DISK, True)),
        ("set_boot_device", (node.uuid, BootDevice.CDROM, False)),
    ]  # fmt: skip


def test_validation(service: Service) -> None:
    node = a_node(service.database, name="n1")
    service.conductors.answers["validate_interfaces"] = {
        "power": Validation(result=False, reason="no address"), "bios": Validation(None, "not supported"),
        "boot": Validation(result=True),
    }  # fmt: skip
    expected = {
        "power": {"result": False, "reason": "no address"}, "bios": {"result": None, "reason": "not supported"},
        "boot": {"result": True},
    }  # fmt: skip
    assert service.ask("GET", "/v1/nodes/n1/validate").json == expected
    assert service.ask("GET", f"/v1/nodes/validate?node_uuid={node.uuid}", minor=1).json == expected
    assert service.ask("GET", "/v1/nodes/validate?node=n1").json == expected
    assert service.ask("GET", "/v1/nodes/validate").status_code == 400
    assert service.ask("GET", "/v1/nodes/validate?node=nobody").status_code == 404


def test_sensors_are_shown_as_last_collected(service: Service) -> None:
    node = a_node(service.database, name="n1")
    path = "/lite/v1/nodes/n1/sensors"
    refused = service.ask("GET", path)
    assert (refused.status_code, node.uuid in fault(refused)["faultstring"]) == (404, True)
    at = datetime.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  # as the clock tells it
    report = SensorReport(at, {"Temperature": {"CPU": {"reading_celsius": 41}}}, {"Power": "it did not answer in time"})
    service.conductors.answers["latest_sensors"] = report
    shown = {
        "collected_at": "2026-01-02T03:04:05.000000+00:00",
        "sensors": {"Temperature": {"CPU": {"reading_celsius": 41}}},
        "missing": {"Power": "it did not answer in time"},
    }
    assert service.ask("GET", path, minor=None).json == shown
    service.conductors.answers["earlier_sensors"] = [report]
    assert service.ask("GET", f"{path}?history=true", minor=None).json == {**shown, "history": [shown]}
    assert service.ask("GET", f"{path}?fields=x", minor=None).status_code == 400


def test_the_history_of_a_node(service: Service) -> None:
    node, other = a_node(service.database, name="n1"), a_node(service.database)
    for one, texts in ((node, ["first", "x" * 300]), (other, ["elsewhere"])):
        for text in texts:
            hold = Hold("h1", text[:8])
            nodes.take(service.database, nodes.get(service.database, one.uuid), hold, "power", {})
            nodes.release(service.database, one.uuid, hold, "power", {}, Happened("power", "INFO", text))
    entries = service.ask("GET", "/v1/nodes/n1/history").json["history"]
    assert [one["event"] for one in entries] == ["first", "x" * 255]
    assert entries[0].keys() == {"uuid", "created_at", "severity", "event", "links"}
    path = f"/v1/nodes/{node.uuid}/history/{entries[0]['uuid']}"
    assert entries[0]["links"] == [{"href": f"http://127.0.0.1:46385{path}", "rel": "self"}]
    detail = service.ask("GET", "/v1/nodes/n1/history?detail=true").json["history"][0]
    assert detail == service.ask("GET", path).json
    assert (detail["conductor"], detail["event_type"]) == ("h1", "power")
    page = service.ask("GET", "/v1/nodes/n1/history?limit=1").json
    assert page["next"].count("marker=") == 1
    assert service.ask("GET", f"/v1/nodes/{other.uuid}/history/{entries[0]['uuid']}").status_code == 404
    assert service.ask("GET", "/v1/nodes/nobody/history").status_code == 404


def test_drivers_and_conductors_are_those_of_the_cluster(service: Service) -> None:
    drivers = service.ask("GET", "/v1/drivers").json["drivers"]
    assert {one["name"] for one in drivers} >= {"fake-hardware", "redfish"}
    assert drivers[0].keys() == {"name", "hosts", "links", "properties", "type"}
    assert service.ask("GET", "/v1/drivers", minor=1).json["drivers"][0].keys() == {"name", "hosts", "links"}
    redfish = service.ask("GET", "/v1/drivers/redfish").json
    assert (redfish["hosts"], redfish["default_power_interface"]) == (["refhost"], "redfish")
    assert "default_bios_interface" not in service.ask("GET", "/v1/drivers/redfish", minor=39).json
    assert service.ask("GET", "/v1/drivers/ilo").status_code == 404
    assert service.ask("GET", "/v1/drivers/ilo/properties").status_code == 404
    assert "redfish_address" in service.ask("GET", "/v1/drivers/redfish/properties").json
    conductor = service.ask("GET", "/v1/conductors/refhost").json
    assert (conductor["alive"], "redfish" in conductor["drivers"]) == (True, True)
    assert service.ask("GET", "/v1/conductors/nobody").status_code == 404
    with service.database.write() as connection:
        connection.execute(sa.text("UPDATE conductors SET online = 0"))
    service.members.forget()
    assert service.ask("GET", "/v1/drivers").json == {"drivers": []}
    assert service.ask("GET", "/v1/conductors").json["conductors"][0]["alive"] is False
    nobody_there = service.ask("POST", "/v1/nodes", {"driver": "redfish"})
    assert (nobody_there.status_code, nobody_there.headers["retry-after"]) == (503, "2")
    assert service.rows(table) == []


def test_events_that_clients_ask_for_are_known_to_the_table() -> None:
    assert {event for _, event, _ in TABLE} >= {event for event, _ in VERBS.values()}
