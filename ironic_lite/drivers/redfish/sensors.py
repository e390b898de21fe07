"""What a BMC measures, through sushy, in the shape of Ironic's sensor notifications, which exporters read.

The blocking way; `collect.py` says the same on the I/O loop. Requests are bounded: the System, its first chassis with
fans, temperatures and power supplies, or with its Sensors where it has neither, at most `STORAGE_LIMIT` controllers and
`DRIVE_LIMIT` drives. A part that a BMC does not have, or answers with one of `ABSENT`, is left out; one that goes wrong
is named with the reason.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sushy.resources import base
from sushy.resources.system import system as sushy_system

from ironic_lite.clock import Deadline
from ironic_lite.drivers.interfaces import Collected
from ironic_lite.drivers.redfish import readings
from ironic_lite.drivers.redfish.parts import DRIVE_LIMIT, SENSOR_LIMIT, STORAGE_LIMIT, Parts

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


class _Sensor(base.ResourceBase):  # type: ignore[misc]  # sushy has no types
    """A Sensor, which sushy does not know."""


class _Sensors(base.ResourceCollectionBase):  # type: ignore[misc]
    """A chassis' Sensors."""

    _resource_type = _Sensor


def collect(system: sushy_system.System, deadline: Deadline) -> Collected:
    """Every sensor of the machine, in the order of `collect.py`. Raises what went wrong when not one is told."""
    parts, chassis = Parts(deadline), None
    with parts.part("Chassis"):
        links = (system.json.get("Links") or {}).get("Chassis") or ()
        if links and links[0].get("@odata.id"):
            chassis = system.root.get_chassis(links[0]["@odata.id"])
    if chassis is not None:
        _ask_thermal(chassis, parts)
    with parts.part("Drives"):
        if _names(system, "SimpleStorage"):
            _ask_simple_storage(system, parts)
    with parts.part("Drives"):
        if "Drive" not in parts.told and _names(system, "Storage"):
            _ask_storage(system, parts)
    if chassis is not None:
        _ask_power(chassis, parts)
    return parts.collected({"Manufacturer": system.manufacturer, "Model": system.model, "UUID": system.uuid})


def _names(resource: Any, name: str) -> bool:
    return bool((resource.json.get(name) or {}).get("@odata.id"))


def _ask_thermal(chassis: Any, parts: Parts) -> None:
    place = chassis.identity
    with parts.part("Thermal"):
        if _names(chassis, "Thermal"):
            parts.check()
            thermal = chassis.thermal
            fans = {f"{fan.identity}@{place}": _fields(fan, FAN) for fan in thermal.fans or ()}
            temperatures = {f"{one.identity}@{place}": _fields(one, TEMPERATURE) for one in thermal.temperatures or ()}
            parts.add({"Fan": fans, "Temperature": temperatures})
    with parts.part("Sensors"):
        if _names(chassis, "Sensors") and not _names(chassis, "Thermal") and not _names(chassis, "Power"):
            _ask_sensors(chassis, parts)


def _ask_power(chassis: Any, parts: Parts) -> None:
    with parts.part("Power"):
        if _names(chassis, "Power"):
            parts.check()
            power = chassis.power
            supplies = {
                f"{supply.identity or index}:{power.identity}@{chassis.identity}": _fields(supply, SUPPLY)
                for index, supply in enumerate(power.power_supplies or ())
            }
            parts.add({"Power": supplies})


def _ask_sensors(chassis: Any, parts: Parts) -> None:
    parts.check()
    collection = _Sensors(chassis._conn, chassis.json["Sensors"]["@odata.id"])  # noqa: SLF001  # as sushy goes on, too
    for path in collection.members_identities[:SENSOR_LIMIT]:
        with parts.part("Sensors"):
            parts.check()
            sensor = collection.get_member(path)
            parts.add(readings.sensor(msgspec.json.encode(sensor.json), str(chassis.identity)))


def _ask_simple_storage(system: Any, parts: Parts) -> None:
    """Drives of BMCs that list them whole; a bay of capacity 0 is empty."""
    parts.check()
    collection = system.simple_storage
    for path in collection.members_identities[:STORAGE_LIMIT]:
        with parts.part("Drives"):
            parts.check()
            storage = collection.get_member(path)
            devices = [device for device in storage.devices or () if device.capacity_bytes != 0]
            parts.add({"Drive": {_key(device, storage, system): _fields(device, DRIVE) for device in devices}})


def _ask_storage(system: Any, parts: Parts) -> None:
    """Drives of BMCs where each is a resource of its own."""
    parts.check()
    collection, left = system.storage, DRIVE_LIMIT
    for path in collection.members_identities[:STORAGE_LIMIT]:
        with parts.part("Drives"):
            parts.check()
            storage = collection.get_member(path)
            paths = (storage.drives_identities or ())[:left]
            left -= len(paths)
            _ask_drives(system, storage, paths, parts)


def _ask_drives(system: Any, storage: Any, paths: Iterable[str], parts: Parts) -> None:
    for path in paths:
        with parts.part("Drives"):
            parts.check()
            drive = storage.get_drive(path)
            parts.add({"Drive": {_key(drive, storage, system): _fields(drive, DRIVE)}})


def _key(drive: Any, storage: Any, system: Any) -> str:
    return f"{drive.name}:{storage.identity}@{system.identity}"


def _fields(source: Any, names: Iterable[str]) -> dict[str, Any]:
    """The fields of a sushy resource as JSON can hold them, with its state and health."""
    values = {name: getattr(source, name) for name in names}
    status = source.status
    values["state"] = status.state if status else None
    values["health"] = status.health if status else None
    return {name: value.value if isinstance(value, enum.Enum) else value for name, value in values.items()}
