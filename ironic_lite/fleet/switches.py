"""What a client can set of a machine beside its power and its boot: indicators and secure boot."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from ironic_lite.fleet import refusals
from ironic_lite.fleet.machine import BootMode, Machine


class Light(StrEnum):
    """Redfish's IndicatorLED."""

    LIT = "Lit"
    BLINKING = "Blinking"
    OFF = "Off"


def set_lights(machine: Machine, path: str, body: Mapping[str, Any]) -> None:
    """IndicatorLED or LocationIndicatorActive of the resource at that path. Raises `RefusedError`."""
    if "IndicatorLED" in body:
        machine.shine(path, refusals.choice(body, "IndicatorLED", Light, Light.OFF))
    if "LocationIndicatorActive" in body:
        machine.shine(path, Light.LIT if _boolean(body, "LocationIndicatorActive") else Light.OFF)


def set_secure_boot(machine: Machine, body: Mapping[str, Any], *, at_boot: bool) -> None:
    """SecureBootEnable, which only a machine that boots by UEFI takes. Raises `RefusedError`."""
    wanted = _boolean(body, "SecureBootEnable")
    if wanted and machine.boot_mode is not BootMode.UEFI:
        raise refusals.wrong_value("SecureBootEnable", wanted)
    put(machine, "secure_boot", wanted, at_boot=at_boot)


def put(machine: Machine, name: str, value: object, *, at_boot: bool) -> None:
    """Set an attribute of the machine, now or when it boots."""
    if at_boot:
        machine.at_boot = {**machine.at_boot, name: value}
    else:
        setattr(machine, name, value)


def _boolean(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool):
        raise refusals.wrong_value(name, value)
    return value
