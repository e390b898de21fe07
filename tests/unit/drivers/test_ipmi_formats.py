"""What IPMI's bytes and pyghmi's readings mean."""

from __future__ import annotations

from typing import Any

import pytest
from pyghmi.constants import Health
from pyghmi.ipmi.sdr import SensorReading

from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, Power, PowerTarget
from ironic_lite.drivers.interfaces import BootChoice
from ironic_lite.drivers.ipmi import management, power, sensors
from ironic_lite.drivers.ipmi.power import Control


@pytest.mark.parametrize(
    ("flags", "device", "expected"),
    [
        (0x80, 0x04, BootChoice(BootDevice.PXE, persistent=False)),
        (0xC0, 0x08, BootChoice(BootDevice.DISK, persistent=True)),
        (0xE0, 0x14, BootChoice(BootDevice.CDROM, persistent=True)),
        (0x80, 0x18, BootChoice(BootDevice.BIOS, persistent=False)),
        (0x80, 0x0C, BootChoice(BootDevice.SAFE, persistent=False)),
        (0x80, 0x3C, BootChoice(None, persistent=None)),
        (0x40, 0x04, BootChoice(None, persistent=None)),
        (0x80, 0x84, BootChoice(BootDevice.PXE, persistent=False)),
    ],
)
def test_boot_flags(flags: int, device: int, expected: Any) -> None:
    assert management.boot_choice(bytes([1, 5, flags, device, 0, 0, 0])) == expected


@pytest.mark.parametrize(
    ("capabilities", "uefi"),
    [
        (None, True),
        ("", True),
        ("boot_mode:bios", False),
        ("a:b,boot_mode:uefi", True),
        ("x,boot_mode:bios,y:z", False),
    ],
)
def test_the_boot_mode_comes_from_the_capabilities(*, capabilities: str | None, uefi: bool) -> None:
    assert management._boots_uefi(Node(uuid="u", driver="ipmi", properties={"capabilities": capabilities})) == uefi


def reading(**fields: Any) -> SensorReading:
    suffix = fields.pop("units", "")
    return SensorReading(
        {"name": "S", "type": "T", "health": Health.Ok, "states": [], "state_ids": [], **fields}, suffix
    )


@pytest.mark.parametrize(
    ("fields", "value", "status"),
    [
        ({"value": 41.0, "imprecision": 0, "units": "°C"}, "41 degrees C", "ok"),
        ({"value": 3.375, "imprecision": 0, "units": "V", "health": Health.Warning}, "3.375 Volts", "nc"),
        ({"value": 1.0, "imprecision": 0, "health": Health.Critical}, "1", "cr"),
        ({"states": ["Present", "Failed"], "health": Health.Failed}, "Present, Failed", "nr"),
    ],
)
def test_sensor_readings(fields: Any, value: Any, status: str) -> None:
    assert sensors.entry(0x2A, reading(**fields), "3.1 (Processor)") == {
        "Sensor ID": "S (0x2a)",
        "Entity ID": "3.1 (Processor)",
        "Sensor Reading": value,
        "Status": status,
    }


@pytest.mark.parametrize("fields", [{}, {"unavailable": 1, "value": 3.0, "imprecision": 0}])
def test_a_sensor_without_a_reading_is_left_out(fields: Any) -> None:
    assert sensors.entry(1, reading(**fields), "0.0") == {}


@pytest.mark.parametrize(
    ("target", "before", "uncuttable", "expected"),
    [
        (PowerTarget.REBOOT, Power.ON, False, (Control.OFF, Control.ON)),
        (PowerTarget.REBOOT, Power.OFF, False, (Control.ON,)),
        (PowerTarget.REBOOT, Power.ON, True, (Control.RESET,)),
        (PowerTarget.SOFT_REBOOT, Power.ON, False, (Control.SOFT_OFF, Control.ON)),
        (PowerTarget.SOFT_OFF, Power.OFF, False, ()),
        (PowerTarget.ON, Power.ON, False, ()),
    ],
)
def test_what_is_sent(*, target: PowerTarget, before: Power, uncuttable: bool, expected: Any) -> None:
    assert power._steps(Node(uuid="u", driver="ipmi", disable_power_off=uncuttable), target, before) == expected
