"""The picture of the machines stays true: power that changes by itself, a BMC that hangs, sensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ironic_lite.clock import SystemClock
from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.scrapes import scraped
from tests.parts.service import Service, free_port, service
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

SYSTEM = "/redfish/v1/Systems/1"
INTERVAL_S = 1
DEBOUNCE_S = 1
NOTICED_S = 12.0  # an interval, a visit, a second look, and what a busy machine takes; less than `HANGS_S`
HANGS_S = 15  # how long the power sync waits for a BMC that says nothing

ENDS_S = 40.0  # what the end takes on a busy machine; less than the visit, which takes 60 s
CLOCK = SystemClock()


@pytest.fixture(params=["coroutines", "threads"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both ways to ask BMCs do the same."""
    name: str = request.param
    return name


@pytest.fixture
def bmcs() -> Iterator[FleetProcess]:
    with fleet(3) as started:
        yield started


def options(engine: str = "coroutines", **conductor: object) -> dict[str, Any]:
    quick = {"poll_engine": engine, "sync_power_state_interval": INTERVAL_S, "power_state_sync_debounce": DEBOUNCE_S}
    return {"conductor": {**quick, **conductor}}


def enrol(running: Service, bmc: Bmc, name: str) -> str:
    """A node that the power sync visits."""
    info = {"redfish_address": bmc.url, "redfish_username": USERNAME, "redfish_password": PASSWORD}
    uuid = running.create(name, "redfish", driver_info=info | {"redfish_system_id": SYSTEM})
    running.manage(uuid)
    return uuid


def press(bmcs: FleetProcess, bmc: Bmc, reset: str) -> None:
    """Press the machine's button behind the service's back."""
    answer = bmcs.ask(bmc, "POST", f"{SYSTEM}/Actions/ComputerSystem.Reset", {"ResetType": reset})
    assert answer.status in (200, 202, 204), answer
    until(lambda: bmcs.ask(bmc, "GET", "/fleet/machine").document["power"] == ("On" if reset == "On" else "Off"))


def recorded(running: Service, uuid: str) -> str:
    state: str = running.get(f"/v1/nodes/{uuid}/states")["power_state"]
    return state


def test_power_that_changes_by_itself_is_noticed(tmp_path: Path, bmcs: FleetProcess, engine: str) -> None:
    with service(tmp_path, **options(engine, force_power_state_during_sync=False)) as running:
        bmc = bmcs.bmcs[0]
        uuid = enrol(running, bmc, "one")
        assert recorded(running, uuid) == "power off"
        for reset, state in (("On", "power on"), ("ForceOff", "power off"), ("On", "power on")):
            press(bmcs, bmc, reset)
            until(lambda state=state: recorded(running, uuid) == state, NOTICED_S)  # type: ignore[misc]
        node = running.settled(uuid)
        assert (node["last_error"], node["maintenance"]) == (None, False)
        assert bmcs.ask(bmc, "GET", "/fleet/machine").document["power"] == "On"


def test_an_ipmi_machine_is_polled_in_one_session_which_ends_with_the_conductor(tmp_path: Path) -> None:
    with fleet(0, ipmi_size=1) as bmcs:
        bmc = bmcs.bmcs[0]
        with service(tmp_path, **options(force_power_state_during_sync=False)) as running:
            info = {"ipmi_address": bmc.address, "ipmi_port": bmc.port, "ipmi_username": USERNAME}
            uuid = running.create("one", "ipmi", driver_info=info | {"ipmi_password": PASSWORD})
            running.manage(uuid)
            bmcs.order(bmcs=bmc.address, reset="On")
            until(lambda: recorded(running, uuid) == "power on", NOTICED_S)
            asked = _counts(bmcs)["requests"]["chassis-status"]
            until(lambda: _counts(bmcs)["requests"]["chassis-status"] > asked + 2)
            assert _counts(bmcs)["sessions_max"] == _counts(bmcs)["in_flight_max"] == 1
        assert _counts(bmcs)["sessions"] == 0


def _counts(bmcs: FleetProcess) -> Any:
    return bmcs.rule("GET", "/report")["counts"]


def test_power_that_changes_by_itself_is_brought_back(tmp_path: Path, bmcs: FleetProcess, engine: str) -> None:
    with service(tmp_path, **options(engine, force_power_state_during_sync=True)) as running:
        bmc = bmcs.bmcs[0]
        uuid = enrol(running, bmc, "one")
        running.power(uuid, "power on")
        boots = bmcs.ask(bmc, "GET", "/fleet/machine").document["boots"]
        press(bmcs, bmc, "ForceOff")
        until(lambda: bmcs.ask(bmc, "GET", "/fleet/machine").document["boots"] == boots + 1, NOTICED_S)
        node = running.settled(uuid)
        assert (node["power_state"], node["last_error"]) == ("power on", None)
        assert bmcs.ask(bmc, "GET", "/fleet/machine").document["power"] == "On"


def test_a_bmc_that_hangs_keeps_no_other_from_being_visited(tmp_path: Path, bmcs: FleetProcess, engine: str) -> None:
    with service(
        tmp_path,
        **options(engine, force_power_state_during_sync=False, poll_timeout=HANGS_S, power_state_sync_debounce=0),
    ) as running:
        hung, *others = bmcs.bmcs
        enrol(running, hung, "hung")
        uuids = {bmc: enrol(running, bmc, f"well-{number}") for number, bmc in enumerate(others)}
        bmcs.set_faults(hung, {"fault": "hang"}, through=others[0])
        for reset, state in (("On", "power on"), ("ForceOff", "power off"), ("On", "power on")):
            for bmc in others:
                press(bmcs, bmc, reset)
            for uuid in uuids.values():
                until(lambda uuid=uuid, state=state: recorded(running, uuid) == state, NOTICED_S)  # type: ignore[misc]
        bmcs.set_faults(hung, through=others[0])


def test_the_end_does_not_wait_for_a_visit_to_a_bmc_that_hangs(tmp_path: Path, bmcs: FleetProcess, engine: str) -> None:
    with service(tmp_path, **options(engine, poll_timeout=60), redfish={"read_timeout": 60}) as running:
        hung, other, _ = bmcs.bmcs
        enrol(running, hung, "hung")
        bmcs.set_faults(hung, {"fault": "hang"}, through=other)
        bmcs.clear_counts(hung)
        until(lambda: bmcs.counts(hung), 60)  # from here on a visit is under way, and stays so
        began = CLOCK.monotonic()
    assert CLOCK.monotonic() - began < ENDS_S
    given_up = "does not wait for work that only reads: power sync of" in running.log()
    assert given_up == (engine == "threads"), "a coroutine is cancelled"
    bmcs.set_faults(hung, through=other)


def test_sensors_are_collected_shown_told_on_and_exported(tmp_path: Path, bmcs: FleetProcess, engine: str) -> None:
    sensors = {"send_sensor_data": True, "interval": 1, "enable_for_undeployed_nodes": True, "history": 3}
    notified = {"driver": "prometheus_exporter", "location": tmp_path / "files"}
    port = free_port()
    given = options(engine, metrics_port=port)
    with service(tmp_path, **given, sensor_data=sensors, oslo_messaging_notifications=notified) as running:
        uuid = enrol(running, bmcs.bmcs[0], "one")
        path = f"/lite/v1/nodes/{uuid}/sensors"
        until(lambda: running.request("GET", path)[0] == 200, 15)
        first = running.get(path)
        assert first["missing"] == {}
        assert first["sensors"]["Temperature"]
        assert all("reading_celsius" in one for one in first["sensors"]["Temperature"].values())
        until(lambda: running.get(path)["collected_at"] > first["collected_at"], NOTICED_S)
        assert first in running.get(f"{path}?history=true")["history"]
        exported = scraped(port).series("baremetal_temp_cpu_celsius")
        assert {dict(series)["node_uuid"] for series in exported} == {uuid}
        assert len(exported) == 2
        file = tmp_path / "files" / "one-hardware.redfish.metrics"
        until(lambda: file.exists() and "baremetal_temp_cpu_celsius{" in file.read_text(), NOTICED_S)
        status, _, refusal = running.request("GET", "/lite/v1/nodes/nobody/sensors")
        assert (status, "nobody" in refusal["error_message"]) == (404, True)


def test_slow_sensors_hold_up_nobody_and_what_was_told_is_kept(tmp_path: Path, bmcs: FleetProcess) -> None:
    slow, quick = bmcs.bmcs[:2]
    bmcs.order(bmcs=slow.address, sensor_latency="fixed:60")
    sensors = {"send_sensor_data": True, "interval": 1, "enable_for_undeployed_nodes": True, "wait_timeout": 6}
    with service(tmp_path, **options(), redfish={"read_timeout": 2}, sensor_data=sensors) as running:
        told = {name: enrol(running, bmc, name) for name, bmc in (("slow", slow), ("quick", quick))}

        def report(name: str) -> Any:
            status, _, document = running.request("GET", f"/lite/v1/nodes/{told[name]}/sensors")
            return document if status == 200 else None

        until(lambda: report("slow") is not None, ENDS_S)
        partial = report("slow")
        assert set(partial["sensors"]) == {"Extra", "Drive"}
        assert partial["missing"] == dict.fromkeys(("Thermal", "Power"), "it did not answer in time")
        first = report("quick")["collected_at"]
        until(lambda: report("quick")["collected_at"] > first, NOTICED_S)
