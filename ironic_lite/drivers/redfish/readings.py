"""What Redfish's documents say of sensors, in the shape of Ironic's notifications. Pure: bytes in, sensors out.

It says what sushy and `sensors.py` say, field for field. A document whose shape is not its resource's raises
`ValueError` or `TypeError`; what a BMC leaves out, or says in a word that Redfish does not have, is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec
from sushy.resources import constants
from sushy.resources.chassis.thermal.constants import FanReadingUnit

from ironic_lite.drivers.interfaces import Sensors
from ironic_lite.drivers.redfish.documents import plain

STATES: Final = frozenset(state.value for state in constants.State)
HEALTHS: Final = frozenset(health.value for health in constants.Health)
FAN_UNITS: Final = frozenset(unit.value for unit in FanReadingUnit)

T = TypeVar("T")


class Link(msgspec.Struct):
    """A reference to another resource."""

    path: str | None = msgspec.field(default=None, name="@odata.id")


class _Status(msgspec.Struct, rename="pascal"):
    state: Any = None
    health: Any = None


class _Fan(msgspec.Struct, rename="pascal"):
    member_id: Any
    max_reading_range: Any = None
    min_reading_range: Any = None
    reading: Any = None
    reading_units: Any = None
    serial_number: Any = None
    physical_context: Any = None
    status: _Status | None = None


class _Temperature(msgspec.Struct, rename="pascal"):
    member_id: Any
    max_reading_range_temp: Any = None
    min_reading_range_temp: Any = None
    reading_celsius: Any = None
    physical_context: Any = None
    sensor_number: Any = None
    status: _Status | None = None


class _Thermal(msgspec.Struct, rename="pascal"):
    fans: list[_Fan] | None = None
    temperatures: list[_Temperature] | None = None


class _Supply(msgspec.Struct, rename="pascal"):
    member_id: Any = None
    power_capacity_watts: Any = None
    line_input_voltage: Any = None
    last_power_output_watts: Any = None
    serial_number: Any = None
    status: _Status | None = None


class _Power(msgspec.Struct, rename="pascal"):
    id: Any
    name: Any
    power_supplies: list[_Supply] | None = None


class _Device(msgspec.Struct, rename="pascal"):
    """A drive of a SimpleStorage, or one that is a resource of its own."""

    name: Any = None
    model: Any = None
    capacity_bytes: Any = None
    status: _Status | None = None


class _Named(_Device, rename="pascal", kw_only=True):
    name: Any


class _SimpleStorage(msgspec.Struct, rename="pascal"):
    id: Any
    devices: list[_Named] | None = None


class _Drive(_Device, rename="pascal", kw_only=True):
    id: Any


class _Expandable(_Device, rename="pascal", kw_only=True):
    path: str | None = msgspec.field(default=None, name="@odata.id")
    id: Any = None


class _Controller(msgspec.Struct, rename="pascal"):
    id: Any
    drives: list[_Expandable] | None = None


class _Sensor(msgspec.Struct, rename="pascal"):
    path: str | None = msgspec.field(default=None, name="@odata.id")
    id: Any = None
    reading: Any = None
    reading_type: Any = None
    reading_range_max: Any = None
    reading_range_min: Any = None
    physical_context: Any = None
    status: _Status | None = None


class _Sensors(msgspec.Struct, rename="pascal"):
    members: list[_Sensor] | None = None


class _Collection(msgspec.Struct, rename="pascal"):
    members: list[Link] | None = None


class _Links(msgspec.Struct, rename="pascal"):
    chassis: list[Link] | None = None


class System(msgspec.Struct, rename="pascal"):
    """What a collection needs of a System."""

    id: Any
    manufacturer: Any = None
    model: Any = None
    uuid: Any = msgspec.field(default=None, name="UUID")
    links: _Links | None = None
    simple_storage: Link | None = None
    storage: Link | None = None


class Chassis(msgspec.Struct, rename="pascal"):
    """What a collection needs of a Chassis; the first three are required of each."""

    id: Any
    name: Any
    chassis_type: Any
    thermal: Link | None = None
    power: Link | None = None
    sensors: Link | None = None


class _Expand(msgspec.Struct, rename="pascal"):
    no_links: Any = None
    expand_all: Any = None


class _Features(msgspec.Struct, rename="pascal"):
    expand_query: _Expand | None = None


class _Root(msgspec.Struct, rename="pascal"):
    protocol_features_supported: _Features | None = None


_DECODERS: Final[dict[Any, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        _Thermal, _Power, _SimpleStorage, _Drive, _Controller, _Sensor, _Sensors, _Collection, _Root, System, Chassis,
    )
}  # fmt: skip


def _decoded(kind: type[T], document: bytes) -> T:
    """The document as its resource; without the mark that some BMCs put before it, which JSON does not have."""
    found: T = _DECODERS[kind].decode(plain(document))
    return found


def system(document: bytes) -> System:
    """A System."""
    return _decoded(System, document)


def chassis(document: bytes) -> Chassis:
    """A Chassis."""
    return _decoded(Chassis, document)


def path(link: Link | None) -> str | None:
    """Where a link leads, if it is there."""
    return link.path or None if link is not None else None


def members(document: bytes) -> tuple[str, ...]:
    """The paths of a collection's members."""
    return _paths(_decoded(_Collection, document).members)


def expands(document: bytes) -> bool:
    """Whether the service, by its root, puts the members of a collection into it when asked to (`$expand=.`)."""
    features = _decoded(_Root, document).protocol_features_supported
    query = features.expand_query if features else None
    return query is not None and (query.no_links is True or query.expand_all is True)


def thermal(document: bytes, place: str) -> Sensors:
    """Fans and temperatures of the chassis `place`."""
    found = _decoded(_Thermal, document)
    fans = {
        f"{fan.member_id}@{place}": {
            "identity": fan.member_id,
            "max_reading_range": _whole(fan.max_reading_range),
            "min_reading_range": _whole(fan.min_reading_range),
            "reading": _whole(fan.reading),
            "reading_units": _word(FAN_UNITS, fan.reading_units),
            "serial_number": fan.serial_number,
            "physical_context": fan.physical_context,
            **_told(fan.status),
        }
        for fan in found.fans or ()
    }
    temperatures = {
        f"{sensor.member_id}@{place}": {
            "identity": sensor.member_id,
            "max_reading_range_temp": sensor.max_reading_range_temp,
            "min_reading_range_temp": sensor.min_reading_range_temp,
            "reading_celsius": sensor.reading_celsius,
            "physical_context": sensor.physical_context,
            "sensor_number": _whole(sensor.sensor_number),
            **_told(sensor.status),
        }
        for sensor in found.temperatures or ()
    }
    return {"Fan": fans, "Temperature": temperatures}


def power(document: bytes, place: str) -> Sensors:
    """Power supplies of the chassis `place`."""
    found = _decoded(_Power, document)
    return {
        "Power": {
            f"{supply.member_id or index}:{found.id}@{place}": {
                "power_capacity_watts": _whole(supply.power_capacity_watts),
                "line_input_voltage": _whole(supply.line_input_voltage),
                "last_power_output_watts": _whole(supply.last_power_output_watts),
                "serial_number": supply.serial_number,
                **_told(supply.status),
            }
            for index, supply in enumerate(found.power_supplies or ())
        }
    }


def simple_storage(document: bytes, place: str) -> Sensors:
    """The drives of a SimpleStorage of the System `place`; a bay of capacity 0 is empty."""
    found = _decoded(_SimpleStorage, document)
    drives = [_drive(device, found.id, place) for device in found.devices or () if _whole(device.capacity_bytes) != 0]
    return {"Drive": dict(drives)}


def drive(document: bytes, controller: str, place: str) -> Sensors:
    """One drive of a controller of the System `place`."""
    return {"Drive": dict([_drive(_decoded(_Drive, document), controller, place)])}


def controller(document: bytes, place: str) -> tuple[str, Sensors, tuple[str, ...]]:
    """A storage controller: its name, the drives that came with it, and where the others are."""
    found = _decoded(_Controller, document)
    drives = found.drives or []
    whole = [_drive(one, found.id, place) for one in drives if one.id is not None]
    return str(found.id), {"Drive": dict(whole)}, _paths(one for one in drives if one.id is None)


def sensors(document: bytes, place: str) -> tuple[Sensors, tuple[str, ...]]:
    """A chassis' collection of Sensors: those that came with it, and where the others are."""
    found = _decoded(_Sensors, document).members or []
    told: Sensors = {}
    for one in found:
        for kind, entries in _sensor(one, place).items():
            told.setdefault(kind, {}).update(entries)
    return told, _paths(one for one in found if one.id is None)


def sensor(document: bytes, place: str) -> Sensors:
    """One Sensor of the chassis `place`: what BMCs have instead of Thermal and Power since Redfish 2020.4."""
    return _sensor(_decoded(_Sensor, document), place)


def _sensor(found: _Sensor, place: str) -> Sensors:
    """Of the kinds that Ironic's notifications know; the others are left out."""
    status = _told(found.status)
    match found.reading_type if found.id is not None else None:
        case "Temperature":
            told = {
                "identity": found.id, "max_reading_range_temp": found.reading_range_max,
                "min_reading_range_temp": found.reading_range_min, "reading_celsius": found.reading,
                "physical_context": found.physical_context, "sensor_number": None,
            }  # fmt: skip
            return {"Temperature": {f"{found.id}@{place}": {**told, **status}}}
        case "Rotational":
            told = {
                "identity": found.id, "max_reading_range": _whole(found.reading_range_max),
                "min_reading_range": _whole(found.reading_range_min), "reading": _whole(found.reading),
                "reading_units": "RPM", "serial_number": None, "physical_context": found.physical_context,
            }  # fmt: skip
            return {"Fan": {f"{found.id}@{place}": {**told, **status}}}
        case "Power":
            told = {
                "power_capacity_watts": None, "line_input_voltage": None,
                "last_power_output_watts": _whole(found.reading), "serial_number": None,
            }  # fmt: skip
            return {"Power": {f"{found.id}:Sensors@{place}": {**told, **status}}}
    return {}


def _drive(found: _Device, controller: Any, place: str) -> tuple[str, dict[str, Any]]:
    told = {"name": found.name, "model": found.model, "capacity_bytes": _whole(found.capacity_bytes)}
    return f"{found.name}:{controller}@{place}", {**told, **_told(found.status)}


def _told(status: _Status | None) -> dict[str, Any]:
    if status is None:
        return {"state": None, "health": None}
    return {"state": _word(STATES, status.state), "health": _word(HEALTHS, status.health)}


def _word(words: frozenset[str], said: Any) -> str | None:
    return said if isinstance(said, str) and said in words else None


def _whole(said: Any) -> int | None:
    return None if said is None else int(said)


def _paths(links: Iterable[Any] | None) -> tuple[str, ...]:
    return tuple(link.path.rstrip("/") for link in links or () if link.path)
