"""Sensors through Redfish: by coroutine the same as through sushy, and what is told when not all can be.

`ways` collects in one of the two ways; what both must do alike is said once.
"""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import Collected, Sensors, SensorsPoller
from ironic_lite.drivers.redfish.management import RedfishManagement
from tests.drivers.conftest import UUID, begun, deadline
from tests.parts.fleet import PASSWORD as FLEET_PASSWORD
from tests.parts.fleet import USERNAME as FLEET_USERNAME
from tests.parts.fleet import FleetProcess, fleet
from tests.parts.scripted_bmc import SYSTEM, ScriptedBmc, scripted_bmc
from tests.parts.sushy_emulator import Emulator
from tests.waiting import until

Info = dict[str, object]
Way = Callable[..., Collected]

ROOT, CHASSIS = "/redfish/v1/", "/redfish/v1/Chassis/C"
THERMAL, POWER, SENSORS = f"{CHASSIS}/Thermal", f"{CHASSIS}/Power", f"{CHASSIS}/Sensors"
SIMPLE, STORAGE = f"{SYSTEM}/SimpleStorage", f"{SYSTEM}/Storage"
RAID, DRIVE = f"{STORAGE}/RAID", f"{STORAGE}/RAID/Drives/0"
OK = {"Health": "OK", "State": "Enabled"}


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


FAN = {"MemberId": "F1", "Reading": 3600.7, "ReadingUnits": "RPM", "MinReadingRange": "0", "MaxReadingRange": 9000,
       "SerialNumber": "S1", "PhysicalContext": "Fan", "Status": OK}  # fmt: skip
TEMPERATURE = {"MemberId": "0", "ReadingCelsius": 41.5, "PhysicalContext": "CPU", "SensorNumber": 7, "Status": OK,
               "MinReadingRangeTemp": -5, "MaxReadingRangeTemp": 120}  # fmt: skip
SUPPLY = {"MemberId": "P0", "PowerCapacityWatts": 750, "LineInputVoltage": 229.6, "LastPowerOutputWatts": 181,
          "SerialNumber": "S2", "Status": OK}  # fmt: skip
DISK = {"Name": "Disk 0", "Model": "M", "CapacityBytes": 960197124096, "Status": OK}

# A BMC with every part, as documents by path. A test changes some of them.
Documents = dict[str, Any]


def documents(**more: Any) -> Documents:
    """`more` are documents instead of those, by the name of their part."""
    named: dict[str, tuple[str, Any]] = {
        "root": (ROOT, None),
        "chassis": (CHASSIS, {"Id": "C", "Name": "c", "ChassisType": "RackMount", "Thermal": link(THERMAL),
                              "Power": link(POWER)}),
        "thermal": (THERMAL, {"Id": "T", "Name": "t", "Fans": [FAN], "Temperatures": [TEMPERATURE]}),
        "power": (POWER, {"Id": "Power", "Name": "p", "PowerSupplies": [SUPPLY]}),
        "storage": (STORAGE, {"Name": "s", "Members": [link(RAID)]}),
        "raid": (RAID, {"Id": "RAID", "Drives": [link(DRIVE)]}),
        "drive": (DRIVE, {"Id": "0", **DISK}),
    }  # fmt: skip
    changed = {path: more.pop(name, document) for name, (path, document) in named.items()}
    return {path: document for path, document in (changed | more).items() if document is not None}


EVERYTHING: Sensors = {
    "Extra": {"Manufacturer": "Contoso", "Model": "R1", "UUID": "u-1"},
    "Fan": {
        "F1@C": {
            "identity": "F1", "max_reading_range": 9000, "min_reading_range": 0, "reading": 3600,
            "reading_units": "RPM", "serial_number": "S1", "physical_context": "Fan", "state": "Enabled",
            "health": "OK",
        },
    },
    "Temperature": {
        "0@C": {
            "identity": "0", "max_reading_range_temp": 120, "min_reading_range_temp": -5, "reading_celsius": 41.5,
            "physical_context": "CPU", "sensor_number": 7, "state": "Enabled", "health": "OK",
        },
    },
    "Power": {
        "P0:Power@C": {
            "power_capacity_watts": 750, "line_input_voltage": 229, "last_power_output_watts": 181,
            "serial_number": "S2", "state": "Enabled", "health": "OK",
        },
    },
    "Drive": {
        "Disk 0:RAID@1": {
            "name": "Disk 0", "model": "M", "capacity_bytes": 960197124096, "state": "Enabled", "health": "OK",
        },
    },
}  # fmt: skip


def node(driver_info: Info) -> Node:
    return Node(uuid=UUID, driver="redfish", driver_info=driver_info)


def blocking(driver_info: Info, timeout_s: float = 20.0) -> Collected:
    return registry.management(node(driver_info)).sensors(node(driver_info), deadline(timeout_s))


def collecting(driver_info: Info, timeout_s: float = 20.0) -> concurrent.futures.Future[Collected]:
    poller: SensorsPoller = RedfishManagement()
    return IO.submit(poller.collect(poller.target(node(driver_info)), deadline(timeout_s)), "sensors")


def collected(driver_info: Info, timeout_s: float = 20.0) -> Collected:
    return collecting(driver_info, timeout_s).result(60)


@pytest.fixture(params=[blocking, collected])
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture
def bmc() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as running:
        tell(running)
        yield running


@pytest.fixture(scope="module")
def simulated() -> Iterator[FleetProcess]:
    with fleet(1) as running:
        yield running


def tell(bmc: ScriptedBmc, **more: Any) -> None:
    """Have the BMC answer with these documents."""
    bmc.script.system = {
        "Manufacturer": "Contoso", "Model": "R1", "UUID": "u-1", "Links": {"Chassis": [link(CHASSIS)]},
        "Storage": link(STORAGE), "SimpleStorage": link(SIMPLE) if more.pop("simple", False) else None,
    }  # fmt: skip
    bmc.script.answers = {path: (200, json.dumps(document).encode()) for path, document in documents(**more).items()}


def info(bmc: ScriptedBmc, **more: object) -> Info:
    return bmc.driver_info(redfish_auth_type="basic", **more)


def test_everything_is_told(bmc: ScriptedBmc, way: Way) -> None:
    assert way(info(bmc)) == Collected(EVERYTHING)


def test_the_only_system_need_not_be_named(bmc: ScriptedBmc, way: Way) -> None:
    bmc.script.answers["/redfish/v1/Systems"] = (200, json.dumps({"Members": [link(SYSTEM)]}).encode())
    assert way(info(bmc, redfish_system_id=None)) == Collected(EVERYTHING)


SENSOR = {"Id": "x", "Name": "x", "Reading": 41.5, "ReadingRangeMax": 90, "PhysicalContext": "CPU", "Status": OK}
NEW_CHASSIS = {"Id": "C", "Name": "c", "ChassisType": "RackMount", "Sensors": link(SENSORS)}
NEW: Documents = {
    "chassis": NEW_CHASSIS,
    SENSORS: {"Name": "s", "Members": [link(f"{SENSORS}/{kind}") for kind in ("Temperature", "Rotational", "Power")]},
    **{f"{SENSORS}/{kind}": {**SENSOR, "ReadingType": kind} for kind in ("Temperature", "Rotational", "Power")},
}

# Documents that BMCs send, by what is odd with them.
ODD: dict[str, dict[str, Any]] = {
    "nothing but the system": {"chassis": None, "storage": None},
    "no power": {"power": None},
    "no thermal": {"thermal": None},
    "no drive there": {"drive": None},
    "no controller there": {"raid": None},
    "chassis without a type": {"chassis": {"Id": "C", "Name": "c"}},
    "empty lists": {"thermal": {"Id": "T"}, "power": {"Id": "P", "Name": "p", "PowerSupplies": []}},
    "nulls": {
        "thermal": {"Fans": None, "Temperatures": [{"MemberId": None, "Status": None}]},
        "raid": {"Id": "RAID", "Drives": None},
    },
    "names that are numbers": {"thermal": {"Temperatures": [{"MemberId": 3}], "Fans": [{"MemberId": 4.5}]}},
    "fan without a name": {"thermal": {"Fans": [{"Reading": 1}], "Temperatures": [TEMPERATURE]}},
    "fan of nonsense": {"thermal": {"Fans": [{**FAN, "Reading": "fast"}]}},
    "odd words": {"thermal": {"Fans": [{**FAN, "ReadingUnits": "rpm", "Status": {"Health": "Good", "State": 1}}]}},
    "odd types": {"thermal": {"Temperatures": [{**TEMPERATURE, "ReadingCelsius": "41", "PhysicalContext": ["CPU"]}]}},
    "thermal is a list": {"thermal": []},
    "fans are no list": {"thermal": {"Fans": 7}},
    "supplies without names": {"power": {"Id": "Power", "Name": "p", "PowerSupplies": [{}, {"MemberId": ""}]}},
    "power without a name": {"power": {"PowerSupplies": [SUPPLY]}},
    "simple storage": {
        "simple": True, SIMPLE: {"Members": [link(f"{SIMPLE}/1")]},
        f"{SIMPLE}/1": {"Id": "1", "Devices": [DISK, {"Name": "Bay 2", "CapacityBytes": 0}, {"Name": "Bay 3"}]},
    },
    "simple storage without drives": {"simple": True, SIMPLE: {"Members": []}},
    "simple storage that is not there": {"simple": True},
    "two drives of one name": {
        "raid": {"Id": "RAID", "Drives": [link(DRIVE), link(f"{DRIVE}1"), {"@odata.id": ""}, {}]},
        f"{DRIVE}1": {"Id": "01", "Name": "Disk 0"},
    },
    "sensors instead of thermal and power": NEW,
    "sensors beside thermal": {"chassis": {**NEW_CHASSIS, "Thermal": link(THERMAL)}},
    "sensors of other kinds": {
        **NEW, f"{SENSORS}/Power": {**SENSOR, "ReadingType": "Voltage"}, f"{SENSORS}/Rotational": {"Id": 1},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", list(ODD))
def test_odd_documents_mean_the_same_to_both(bmc: ScriptedBmc, name: str) -> None:
    tell(bmc, **dict(ODD[name]))
    first, second = blocking(info(bmc)), collected(info(bmc))
    assert second.sensors == first.sensors
    assert set(second.missing) == set(first.missing)
    assert collected(info(bmc)) == second  # from memory


def test_sensors_stand_in_for_thermal_and_power(bmc: ScriptedBmc, way: Way) -> None:
    tell(bmc, **NEW)
    told = way(info(bmc)).sensors
    assert told["Temperature"]["x@C"]["reading_celsius"] == 41.5
    assert told["Fan"]["x@C"]["reading"] == 41
    assert told["Power"]["x:Sensors@C"]["last_power_output_watts"] == 41


# What goes wrong.


@pytest.mark.parametrize(
    ("path", "part", "kinds"),
    [(CHASSIS, "Chassis", {"Fan", "Temperature", "Power"}), (THERMAL, "Thermal", {"Fan", "Temperature"}),
     (POWER, "Power", {"Power"}), (STORAGE, "Drives", {"Drive"}), (RAID, "Drives", {"Drive"}),
     (DRIVE, "Drives", {"Drive"})],
)  # fmt: skip
@pytest.mark.parametrize(
    "answer",
    [(503, b"{}", "HTTP status 503"), (403, b"{}", "refuses the credentials"),
     (200, b"<html>", "is not what Redfish defines")],
)  # fmt: skip
def test_a_part_that_fails_is_named_and_the_others_are_told(
    bmc: ScriptedBmc, way: Way, path: str, part: str, kinds: set[str], answer: tuple[int, bytes, str]
) -> None:
    bmc.script.answers[path] = answer[:2]
    told = way(info(bmc))
    assert told.sensors == {kind: entries for kind, entries in EVERYTHING.items() if kind not in kinds}
    assert list(told.missing) == [part]
    assert answer[2] in told.missing[part]
    tell(bmc)
    assert way(info(bmc)) == Collected(EVERYTHING)  # nothing of the failure is remembered


def test_a_bmc_may_be_silent_about_one_part(bmc: ScriptedBmc, way: Way) -> None:
    bmc.script.drops = {THERMAL}
    told = way(info(bmc))
    assert set(told.sensors) == {"Extra", "Drive", "Power"}
    assert told.missing == {"Thermal": "it closed the connection without an answer"}


def test_a_bmc_that_falls_silent_is_asked_nothing_more_and_what_it_told_is_kept(bmc: ScriptedBmc, way: Way) -> None:
    second = f"{DRIVE}1"
    tell(bmc, raid={"Id": "RAID", "Drives": [link(DRIVE), link(second), link(f"{DRIVE}2")]})
    bmc.script.drops = {second, f"{DRIVE}2"}
    told = way(info(bmc))
    assert set(told.sensors) == {"Extra", "Fan", "Temperature", "Drive"}
    assert told.missing == dict.fromkeys(("Drives", "Power"), "it closed the connection without an answer")
    assert bmc.script.sent(f"GET {POWER}") == 0


def test_what_was_told_by_the_deadline_is_kept_and_nothing_is_sent_after_it(bmc: ScriptedBmc, way: Way) -> None:
    way(info(bmc))
    bmc.script.hangs, bmc.script.requests = {DRIVE}, []
    told = way(info(bmc), timeout_s=1.0)
    assert {"Fan", "Temperature"} <= set(told.sensors)
    assert told.missing == dict.fromkeys(("Drives", "Power"), "it did not answer in time")
    assert bmc.script.requests[-1] == f"GET {DRIVE}"


def test_when_nothing_is_told_the_reason_is_raised(bmc: ScriptedBmc, way: Way) -> None:
    bmc.script.drops = {CHASSIS, STORAGE}
    with pytest.raises(errors.BMCUnreachable):
        way(info(bmc))
    bmc.script.drops = set()
    bmc.script.answers[SYSTEM] = (200, b"[]")
    with pytest.raises(errors.BMCError):
        way(info(bmc))


def test_an_oversized_document_is_refused(bmc: ScriptedBmc) -> None:
    bmc.script.answers[THERMAL] = (200, json.dumps({"Fans": [{**FAN, "Oem": "x" * 1024 * 1024}]}).encode())
    told = collected(info(bmc))
    assert told.missing == {"Thermal": "its answer is over the limit of 1024 KiB for sensors"}
    assert set(told.sensors) == {"Extra", "Power", "Drive"}


def test_a_large_document_means_the_same(bmc: ScriptedBmc) -> None:
    many = [{**TEMPERATURE, "MemberId": str(number)} for number in range(2000)]
    tell(bmc, thermal={"Id": "T", "Fans": [FAN], "Temperatures": many})
    told = collected(info(bmc))
    assert told == blocking(info(bmc))
    assert len(told.sensors["Temperature"]) == 2000


# Requests, and turns.

FEATURES = {
    "Id": "Root", "RedfishVersion": "1.6.0", "Systems": link("/redfish/v1/Systems"),
    "ProtocolFeaturesSupported": {"ExpandQuery": {"NoLinks": True}},
}  # fmt: skip
WARM = [f"GET {path}" for path in (THERMAL, DRIVE, POWER)]


def test_where_to_look_is_learnt_once(bmc: ScriptedBmc) -> None:
    for _ in range(2):
        bmc.script.requests.clear()
        collected(info(bmc))
    assert bmc.script.requests == WARM


def test_a_controller_is_asked_with_its_drives_in_it_where_the_bmc_can(bmc: ScriptedBmc) -> None:
    tell(bmc, root=FEATURES)
    bmc.script.answers[f"{RAID}?$expand=."] = (
        200, json.dumps({"Id": "RAID", "Drives": [{**link(DRIVE), "Id": "0", **DISK}]}).encode(),
    )  # fmt: skip
    for _ in range(2):
        bmc.script.requests.clear()
        assert collected(info(bmc)) == Collected(EVERYTHING)
    assert bmc.script.requests == [f"GET {THERMAL}", f"GET {RAID}?$expand=.", f"GET {POWER}"]


def test_a_controller_that_is_not_expanded_all_the_same_is_asked_for_its_drives(bmc: ScriptedBmc) -> None:
    tell(bmc, root=FEATURES)
    bmc.script.answers[f"{RAID}?$expand=."] = bmc.script.answers[RAID]
    for _ in range(2):
        bmc.script.requests.clear()
        assert collected(info(bmc)) == Collected(EVERYTHING)
    assert bmc.script.requests == WARM


def test_sensors_come_in_one_request_where_the_bmc_can(bmc: ScriptedBmc) -> None:
    tell(bmc, **NEW, root=FEATURES, storage=None)
    members = [
        {**link(f"{SENSORS}/{kind}"), **NEW[f"{SENSORS}/{kind}"]} for kind in ("Temperature", "Rotational", "Power")
    ]
    bmc.script.answers[f"{SENSORS}?$expand=."] = (200, json.dumps({"Members": members}).encode())
    for _ in range(2):
        bmc.script.requests.clear()
        told = collected(info(bmc))
    assert bmc.script.requests == [f"GET {SENSORS}?$expand=."]
    assert told == blocking(info(bmc))


@pytest.mark.parametrize("answer", [(400, b"{}"), (501, b"{}"), (404, b"{}"), (200, b"<html>")])
def test_a_bmc_that_expands_only_in_its_own_words_is_asked_plainly(bmc: ScriptedBmc, answer: tuple[int, bytes]) -> None:
    tell(bmc, root=FEATURES)
    bmc.script.answers[f"{RAID}?$expand=."] = answer
    for _ in range(3):
        bmc.script.requests.clear()
        assert collected(info(bmc)) == Collected(EVERYTHING)
    assert bmc.script.requests == WARM


def test_what_was_never_there_is_not_looked_for_again_and_again(bmc: ScriptedBmc) -> None:
    tell(bmc, drive=None)
    for _ in range(3):
        bmc.script.requests.clear()
        assert set(collected(info(bmc)).sensors) == EVERYTHING.keys() - {"Drive"}
    assert bmc.script.requests == WARM


def test_what_is_not_there_any_more_is_looked_for_anew(bmc: ScriptedBmc) -> None:
    collected(info(bmc))
    other = f"{CHASSIS}/Thermal2"
    moved = documents(
        chassis={"Id": "C", "Name": "c", "ChassisType": "RackMount", "Thermal": link(other)}, thermal=None
    )
    bmc.script.answers = {path: (200, json.dumps(one).encode()) for path, one in moved.items()}
    bmc.script.answers[other] = (200, json.dumps({"Fans": [FAN]}).encode())
    told = collected(info(bmc))
    assert told == blocking(info(bmc))
    assert set(told.sensors) == {"Extra", "Fan", "Drive"}


def test_power_goes_ahead_between_two_requests_of_collections(bmc: ScriptedBmc) -> None:
    collected(info(bmc))
    bmc.script.held, bmc.script.requests = {THERMAL}, []
    first = collecting(info(bmc))
    until(lambda: bmc.script.sent(f"GET {THERMAL}"))
    second = collecting(info(bmc))
    until(lambda: IO._running is not None and IO._running[1].stats().in_flight == 2)
    power = begun(info(bmc))  # comes last, and is next
    until(lambda: IO._running is not None and IO._running[1].stats().in_flight == 3)
    bmc.let_go.set()
    assert power.result(30).power is not None
    assert first.result(30) == second.result(30) == Collected(EVERYTHING)
    assert bmc.script.requests[:2] == [f"GET {THERMAL}", f"GET {SYSTEM}"]
    assert bmc.script.most_under_way == 1


# Peers that others wrote, and the simulator.


@pytest.mark.parametrize("kind", ["emulator", "tls_emulator"])
def test_the_emulator_tells_the_same_to_both(request: pytest.FixtureRequest, kind: str) -> None:
    emulator: Emulator = request.getfixturevalue(kind)
    told = collected(emulator.driver_info())
    assert told == blocking(emulator.driver_info())
    assert set(told.sensors) >= {"Extra", "Temperature", "Fan"}
    assert told.missing == {}


@pytest.mark.parametrize("quirks", [[], ["no-expand", "chunked"], ["closes", "no-basic", "redirects"]])
def test_the_simulator_tells_the_same_to_both(simulated: FleetProcess, quirks: list[str]) -> None:
    where: Info = {
        "redfish_address": simulated.bmcs[0].url, "redfish_system_id": SYSTEM, "redfish_username": FLEET_USERNAME,
        "redfish_password": FLEET_PASSWORD,
    }  # fmt: skip
    simulated.set_quirks(simulated.bmcs[0], *quirks)
    told, other = collected(where), blocking(where)
    assert told.missing == other.missing == {}
    assert shape(told) == shape(other)
    assert [len(told.sensors[kind]) for kind in ("Fan", "Temperature", "Power", "Drive")] == [4, 3, 2, 2]


def shape(told: Collected) -> Any:
    """Without what moves."""
    moves = ("reading", "reading_celsius", "last_power_output_watts", "line_input_voltage")
    return {
        kind: entries if kind == "Extra" else {
            name: {key: value for key, value in entry.items() if key not in moves} for name, entry in entries.items()
        }
        for kind, entries in told.sensors.items()
    }  # fmt: skip
