"""What a BMC measures, through IPMI, in the shape of Ironic's sensor notifications, which exporters read.

Ironic cuts it out of the text of `ipmitool sdr -v`; names, units and the words for a status are that program's.
"""

from __future__ import annotations

from typing import Any, Final

from pyghmi import constants as pyghmi_constants

from ironic_lite.drivers.interfaces import Collected, Sensors
from ironic_lite.drivers.ipmi.records import BMC, Commands, Repository
from ironic_lite.drivers.ipmi.session import Session

GET_READING: Final = (0x04, 0x2D)
STATUS: Final = (
    (pyghmi_constants.Health.Failed, "nr"),
    (pyghmi_constants.Health.Critical, "cr"),
    (pyghmi_constants.Health.Warning, "nc"),
)
# pyghmi's units whose names exporters make metrics of, in ipmitool's words.
UNITS: Final = {"°C": "degrees C", "C": "degrees C", "V": "Volts", "W": "Watts", "A": "Amps"}
# What pyghmi raises over a record or a reading that does not fit the other.
UNREADABLE: Final = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, NotImplementedError)
# Types that are two to ipmitool, and one to pyghmi (IPMI 2.0, table 42-3).
WATCHDOGS: Final = {0x11: "Watchdog1", 0x23: "Watchdog2"}


def collect(session: Session, bmc: BMC) -> Collected:
    """Every sensor that has a reading. Raises what the session raises when not one was read."""
    commands = Commands(session)
    repository = Repository(commands, bmc)
    keys = list(repository.get_sensor_numbers())
    found: Sensors = {}
    unread: list[str] = []
    for index, key in enumerate(keys):
        sensor = repository.sensors[key]
        try:
            answer = session.query(*GET_READING, bytes([sensor.sensor_number]), rslun=sensor.sensor_lun)
        except OSError:
            if not found:
                raise
            unread += (repository.sensors[left].name for left in keys[index:])
            break
        if "error" in answer:  # a sensor of a part that is not plugged in
            continue
        try:
            reading = sensor.decode_sensor_reading(commands, answer["data"])
        except UNREADABLE:
            unread.append(sensor.name)
            continue
        told = entry(sensor.sensor_number, reading, f"{repository.entities.get(key, '0.0')} ({sensor.entity.title()})")
        if told:
            found.setdefault(kind(sensor), {})[told["Sensor ID"]] = told
    missing = {"Sensors": f"{len(unread)} of {len(keys)} could not be read, {unread[0]} first"} if unread else {}
    return Collected(found, missing)


def kind(sensor: Any) -> str:
    """The type under which Ironic has a sensor: the first word of ipmitool's."""
    return WATCHDOGS.get(sensor.sensor_type_number) or str(sensor.sensor_type).partition(" ")[0]


def entry(number: int, reading: Any, entity: str) -> dict[str, Any]:
    """A sensor as ipmitool's text has it; empty where there is nothing to read."""
    if reading.unavailable or (reading.value is None and not reading.states):
        return {}
    value = ", ".join(reading.states)
    if reading.value is not None:
        value = f"{reading.value:g} {UNITS.get(reading.units, reading.units) or ''}".strip()
    status = next((text for health, text in STATUS if reading.health & health), "ok")
    return {
        "Sensor ID": f"{reading.name} (0x{number:02x})",
        "Entity ID": entity,
        "Sensor Reading": value,
        "Status": status,
    }
