"""What a BMC measures, in the shape of Ironic's sensor notifications, which exporters read.

Requests are bounded: the System, its first chassis with fans, temperatures and power supplies, at most `STORAGE_LIMIT`
controllers and `DRIVE_LIMIT` drives. A part that a BMC does not have, or answers with one of `ABSENT`, is left out; a
BMC that cannot be reached is an error.
"""

from __future__ import annotations

import enum
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from sushy import exceptions as sushy_errors
from sushy.resources.system import system as sushy_system

from ironic_lite.drivers.interfaces import Sensors

ABSENT: Final = (404, 500, 501)
DRIVE_LIMIT: Final = 64
STORAGE_LIMIT: Final = 16

FAN: Final = (
    "identity", "max_reading_range", "min_reading_range", "reading", "reading_units", "serial_number",
    "physical_context",
)  # fmt: skip
TEMPERATURE: Final = (
    "identity", "max_reading_range_temp", "min_reading_range_temp", "reading_celsius", "physical_context",
    "sensor_number",
)  # fmt: skip
SUPPLY: Final = ("power_capacity_watts", "line_input_voltage", "last_power_output_watts", "serial_number")
DRIVE: Final = ("name", "model", "capacity_bytes")

T = TypeVar("T")
Part = dict[str, dict[str, Any]]


def collect(system: sushy_system.System) -> Sensors:
    """Every sensor of the machine."""
    found: Sensors = {
        "Extra": {"Manufacturer": system.manufacturer, "Model": system.model, "UUID": system.uuid},
        **_chassis(system),
        "Drive": _given(lambda: _simple_drives(system), {}) or _given(lambda: _drives(system), {}),
    }
    return {kind: part for kind, part in found.items() if part}


def _given(part: Callable[[], T], otherwise: T) -> T:
    """A part of the machine, or `otherwise` where this BMC does not have it."""
    try:
        return part()
    except sushy_errors.MissingAttributeError:
        return otherwise
    except sushy_errors.HTTPError as exc:
        if exc.status_code not in ABSENT:
            raise
        return otherwise


def _chassis(system: sushy_system.System) -> Sensors:
    links = ((system.json.get("Links") or {}).get("Chassis") or [])[:1]
    first = _given(lambda: system.root.get_chassis(links[0]["@odata.id"]), None) if links else None
    if first is None:
        return {}
    thermal = _given(lambda: first.thermal, None)
    power = _given(lambda: first.power, None)
    return {
        "Fan": {f"{fan.identity}@{first.identity}": _fields(fan, FAN) for fan in (thermal.fans if thermal else ())},
        "Temperature": {
            f"{sensor.identity}@{first.identity}": _fields(sensor, TEMPERATURE)
            for sensor in (thermal.temperatures if thermal else ())
        },
        "Power": {
            f"{supply.identity or index}:{power.identity}@{first.identity}": _fields(supply, SUPPLY)
            for index, supply in enumerate(power.power_supplies if power else ())
        },
    }


def _members(collection: Any) -> Iterator[Any]:
    """The first members of a collection; one that the BMC cannot tell is left out."""
    for path in collection.members_identities[:STORAGE_LIMIT]:
        member = _given(functools.partial(collection.get_member, path), None)
        if member is not None:
            yield member


def _simple_drives(system: sushy_system.System) -> Part:
    """Drives of BMCs that list them whole; a bay of capacity 0 is empty."""
    return {
        f"{device.name}:{storage.identity}@{system.identity}": _fields(device, DRIVE)
        for storage in _members(system.simple_storage)
        for device in storage.devices
        if device.capacity_bytes != 0
    }


def _drives(system: sushy_system.System) -> Part:
    """Drives of BMCs where each is a resource of its own."""
    paths = ((storage, path) for storage in _members(system.storage) for path in storage.drives_identities or ())
    drives = (
        (storage, _given(functools.partial(storage.get_drive, path), None))
        for storage, path in itertools.islice(paths, DRIVE_LIMIT)
    )
    return {
        f"{drive.name}:{storage.identity}@{system.identity}": _fields(drive, DRIVE)
        for storage, drive in drives
        if drive
    }


def _fields(source: Any, names: Iterable[str]) -> dict[str, Any]:
    """The fields of a sushy resource as JSON can hold them, with its state and health."""
    values = {name: getattr(source, name) for name in names}
    status = source.status
    values["state"] = status.state if status else None
    values["health"] = status.health if status else None
    return {name: value.value if isinstance(value, enum.Enum) else value for name, value in values.items()}
