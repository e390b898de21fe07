"""The sensor data records of a simulated machine, and its readings as records mean them (IPMI 2.0, chapter 43.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ironic_lite.fleet.sensors import Readings

VERSION: Final = 0x51
LAST_RECORD: Final = 0xFFFF
_FULL: Final = 0x01
_THRESHOLD_CODES: Final = 0x01
_NON_CRITICAL, _CRITICAL = 0x08, 0x10  # bits of the upper thresholds


@dataclass(frozen=True, slots=True)
class Sensor:
    """One threshold sensor: a raw byte times `factor` is its value in `unit`. Thresholds are raw, None is none."""

    name: str
    kind: int
    unit: int
    factor: int
    entity: int
    instance: int
    warning: int | None = None
    critical: int | None = None

    @property
    def threshold_mask(self) -> int:
        """Which thresholds can be read."""
        return (_NON_CRITICAL if self.warning is not None else 0) | (_CRITICAL if self.critical is not None else 0)

    def thresholds(self) -> bytes:
        """The answer of Get Sensor Thresholds: the mask, three lower ones, then the upper three."""
        return bytes((self.threshold_mask, 0, 0, 0, self.warning or 0, self.critical or 0, 0))

    def state(self, raw: int) -> int:
        """Which thresholds the reading is at or above."""
        warned = self.warning is not None and raw >= self.warning
        critical = self.critical is not None and raw >= self.critical
        return 0xC0 | (_NON_CRITICAL if warned else 0) | (_CRITICAL if critical else 0)


def _temperature(name: str, entity: int, instance: int) -> Sensor:
    return Sensor(name, 0x01, 1, 1, entity, instance, warning=75, critical=90)


SENSORS: Final = (
    _temperature("Inlet Temp", 0x37, 1),
    _temperature("CPU1 Temp", 0x03, 1),
    _temperature("CPU2 Temp", 0x03, 2),
    *(Sensor(f"Fan{number}", 0x04, 18, 40, 0x1D, number) for number in range(1, 5)),
    *(Sensor(f"PSU{number} Power", 0x0B, 6, 4, 0x0A, number, warning=200) for number in (1, 2)),
    *(Sensor(f"PSU{number} Voltage", 0x02, 4, 1, 0x0A, number) for number in (1, 2)),
)


def raw_values(readings: Readings) -> list[int]:
    """The raw byte of every sensor, in the order of `SENSORS`."""
    values = [
        *readings.temperatures_c.values(),
        *readings.fans_rpm.values(),
        *readings.supplies_w.values(),
        *readings.lines_v.values(),
    ]
    return [max(0, min(255, round(value / sensor.factor))) for sensor, value in zip(SENSORS, values, strict=True)]


def _record(number: int, sensor: Sensor) -> bytes:
    body = bytes(
        (
            *(0x20, 0, number),  # the BMC's own sensor
            *(sensor.entity, sensor.instance, 0x7F, 0x44, sensor.kind, _THRESHOLD_CODES),
            *(0, 0, 0, 0, sensor.threshold_mask, 0),  # no events; thresholds are read, not set
            *(0, sensor.unit, 0),  # unsigned, in this unit
            *(0, sensor.factor, 0, 0, 0, 0, 0),  # linear: the factor alone
            *(0, 0, 0, 0, 255, 0),  # no nominal value; the range
            *(0, sensor.critical or 0, sensor.warning or 0, 0, 0, 0),
            *(0, 0, 0, 0, 0),  # no hysteresis
        )
    )
    name = sensor.name.encode()
    whole = body + bytes((0xC0 | len(name),)) + name
    return struct.pack("<HBBB", number, VERSION, _FULL, len(whole)) + whole


RECORDS: Final = tuple(_record(number, sensor) for number, sensor in enumerate(SENSORS, start=1))
