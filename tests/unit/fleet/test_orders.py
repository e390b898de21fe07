"""Orders and scripts of them, on a fleet that does not listen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ironic_lite.clock import ManualClock
from ironic_lite.fleet.device import Credentials
from ironic_lite.fleet.faults import Kind, ScriptError
from ironic_lite.fleet.http import Request
from ironic_lite.fleet.machine import FRONT_PANEL, Power, Reset
from ironic_lite.fleet.orders import Choice, Order, read_script
from ironic_lite.fleet.server import Fleet
from ironic_lite.fleet.settings import Settings


@pytest.fixture
def whole() -> Fleet:
    return Fleet(Settings(credentials=Credentials("admin", "secret"), size=30, ipmi_size=10), ManualClock())


def meant(whole: Fleet, choice: Any, seed: int = 0) -> list[str]:
    return [device.address for device in Choice.parse(choice).among(whole.devices, seed)]


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        ("all", 40),
        ("127.77.0.3", 1),
        (["127.77.0.3", "127.77.0.39"], 2),
        ({}, 40),
        ({"kind": "ipmi"}, 10),
        ({"kind": "redfish", "share": 0.2}, 6),
        ({"first": 7}, 7),
        ({"kind": "ipmi", "first": 7}, 7),
        ({"share": 0}, 0),
    ],
)
def test_a_choice_means_so_many(whole: Fleet, choice: Any, count: int) -> None:
    assert len(set(meant(whole, choice))) == count


def test_a_share_is_drawn_by_the_seed(whole: Fleet) -> None:
    half = {"share": 0.5}
    assert meant(whole, half, seed=1) == meant(whole, half, seed=1) != meant(whole, half, seed=2)


def test_an_order_does_all_that_it_says_and_leaves_the_rest(whole: Fleet) -> None:
    device, other = whole.devices["127.77.0.5"], whole.devices["127.77.0.6"]
    faults = [{"fault": "503", "times": 2}, {"fault": "hang"}]
    order = {
        "bmcs": device.address,
        "faults": faults,
        "latency": "0.5",
        "sensor_latency": "9",
        "health": "Warning",
        "reset": "On",
    }
    whole.control.carry_out(Order.parse(order))
    assert (device.faults.kind, device.delay_s(), device.machine.health) == (Kind.BUSY, 0.5, "Warning")
    assert device.sensor_delay_s() == 9.0
    assert device.machine.power is Power.ON
    assert [(one.by, one.kind, one.before) for one in device.machine.ledger] == [(FRONT_PANEL, Reset.ON, Power.OFF)]
    assert (other.faults.kind, other.machine.power) == (None, Power.OFF)
    whole.control.carry_out(Order.parse({"bmcs": device.address, "latency": "0"}))
    assert (device.faults.kind, device.delay_s()) == (Kind.BUSY, 0.0)


def test_a_slow_root_is_slow_at_the_root_alone(whole: Fleet) -> None:
    whole.control.carry_out(Order.parse({"quirks": ["slow-root"]}))
    bmc = whole.redfish["127.77.0.1"]
    assert bmc.slowness_s(Request("GET", "/redfish/v1")) >= 3.0
    assert bmc.slowness_s(Request("GET", "/redfish/v1/Systems/1")) == 0.0


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({}, "faults, quirks, latency, sensor_latency, health, reset"),
        ({"reset": "On", "who": "me"}, "bmcs, at and one or more"),
        ({"reset": "Explode"}, "On, ForceOn"),
        ({"reset": "On", "at": -1}, "seconds from the start"),
        ({"reset": "On", "bmcs": {"kind": "snmp"}}, "redfish, ipmi"),
        ({"reset": "On", "bmcs": {"share": 2}}, "from 0 to 1"),
        ({"reset": "On", "bmcs": {"first": 0.5}}, "whole number"),
        ({"reset": "On", "bmcs": []}, "an object of kind, share, first"),
        ({"faults": "hang"}, "list of at most"),
        ({"faults": [{"fault": "explode"}]}, "one of hang, refuse"),
        ({"faults": [{"fault": "hang", "per_second": 3}]}, "crash alone"),
        ({"faults": [{"fault": "crash", "per_second": 0}]}, "from 1 to 1000"),
        ({"quirks": ["moody"]}, "any of already-there"),
        ({"latency": "soon"}, "uniform:LOW:HIGH"),
        ({"health": "Fine"}, "OK, Warning, Critical"),
    ],
)
def test_an_order_that_makes_no_sense_is_told_what_would(order: Any, told: str) -> None:
    with pytest.raises(ScriptError, match=told):
        Order.parse(order)


def test_a_script_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"orders": [{"at": 9, "reset": "On"}, {"health": "Warning"}]}))
    assert [order.at_s for order in read_script(script)] == [0.0, 9.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", 'an object of "orders"'),
        ('{"orders": [{"reset": "On"}, {"reset": "Off"}]}', "Order 2 of .*: The field reset is one of On"),
    ],
)
def test_a_broken_script_is_told_where(tmp_path: Path, text: str, told: str) -> None:
    script = tmp_path / "script.json"
    script.write_text(text)
    with pytest.raises(ScriptError, match=told):
        read_script(script)
