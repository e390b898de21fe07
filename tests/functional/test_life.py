"""A Redfish machine's first hours, by the API of the real service: verified, inspected, cleaned by power, adopted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.service import Service, service


@pytest.fixture(scope="module")
def machines() -> Iterator[FleetProcess]:
    with fleet(2) as process:
        yield process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(Path(tmp_path_factory.mktemp("life"))) as started:
        yield started


def enrolled(running: Service, machines: FleetProcess, number: int) -> str:
    info = {
        "redfish_address": machines.bmcs[number].url, "redfish_username": USERNAME, "redfish_password": PASSWORD,
    }  # fmt: skip
    return running.create(f"machine-{number}", "redfish", driver_info=info)


def give(running: Service, uuid: str, **verb: object) -> Any:
    running.put(f"/v1/nodes/{uuid}/states/provision", verb)
    return running.settled(uuid)


def test_what_a_machine_is_made_of_is_there_once_it_is_verified_and_inspected(
    running: Service, machines: FleetProcess
) -> None:
    uuid = enrolled(running, machines, 0)
    assert running.request("GET", f"/v1/nodes/{uuid}/inventory")[0] == 404
    node = give(running, uuid, target="manage")
    assert (node["provision_state"], node["last_error"]) == ("manageable", None)
    assert running.get(f"/v1/nodes/{uuid}/bios")["bios"]
    assert {one["component"] for one in running.get(f"/v1/nodes/{uuid}/firmware")["firmware"]} >= {"bios", "bmc"}

    node = give(running, uuid, target="inspect")
    assert (node["provision_state"], node["last_error"]) == ("manageable", None)
    assert node["inspection_finished_at"] is not None
    assert {"memory_mb", "cpu_arch"} <= node["properties"].keys()
    inventory = running.get(f"/v1/nodes/{uuid}/inventory")["inventory"]
    found = {one["mac_address"] for one in inventory["interfaces"]}
    assert {port["address"] for port in running.get(f"/v1/nodes/{uuid}/ports")["ports"]} == found != set()
    told = [one["event"] for one in running.get(f"/v1/nodes/{uuid}/history")["history"]]
    assert "Inspected: the inventory is kept, and missing ports were added." in told


def test_power_driven_steps_do_to_the_machine_what_they_say(running: Service, machines: FleetProcess) -> None:
    uuid, bmc = enrolled(running, machines, 1), machines.bmcs[1]
    give(running, uuid, target="manage")
    steps = [{"interface": "power", "step": name} for name in ("power_on", "reboot", "power_off")]
    node = give(running, uuid, target="clean", clean_steps=steps)
    assert (node["provision_state"], node["power_state"]) == ("manageable", "power off")
    assert machines.ledger(bmc) == [("redfish", "On"), ("redfish", "ForceRestart"), ("redfish", "ForceOff")]
    status, _, refused = running.request("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": "provide"})
    assert status == 202, refused
    running.settled(uuid)
    status, _, refused = running.request("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": "active"})
    assert status == 400
    assert "deploy" in str(refused)
