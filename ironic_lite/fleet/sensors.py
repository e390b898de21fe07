"""What the sensors of a simulated machine read: a seeded function of the time, its heat and its power."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Final

ROOM_C: Final = 21.0
CPU_RISE_C: Final = 36.0
FAN_IDLE_RPM: Final = 3600
FAN_RISE_RPM: Final = 4800
SUPPLY_CAPACITY_W: Final = 800
STANDBY_W: Final = 9.0
LOAD_W: Final = 150.0


@dataclass(frozen=True, slots=True)
class Readings:
    """Name to value of every sensor: degrees Celsius, revolutions per minute, watts, volts."""

    temperatures_c: dict[str, float]
    fans_rpm: dict[str, int]
    supplies_w: dict[str, float]
    lines_v: dict[str, float]


def read(seed: str, *, at_s: float, heat: float, running: bool) -> Readings:
    """The readings of the machine of that seed; the same arguments give the same readings.

    `heat` is 0.0 (cold) to 1.0 (warmed up); `running` is whether the power is up at all.
    """
    room_c = ROOM_C + 1.5 * _wave(seed, "room", at_s, 900.0)
    cpus = {name: room_c + 4.0 + heat * (CPU_RISE_C + 5.0 * _wave(seed, name, at_s, 75.0)) for name in ("CPU1", "CPU2")}
    fans = {
        name: int(FAN_IDLE_RPM + FAN_RISE_RPM * heat * (0.8 + 0.2 * _wave(seed, name, at_s, 120.0))) if running else 0
        for name in ("Fan1", "Fan2", "Fan3", "Fan4")
    }
    watts = {
        name: STANDBY_W + (LOAD_W * (1.0 + 0.25 * _wave(seed, name, at_s, 60.0)) if running else 0.0)
        for name in ("PSU1", "PSU2")
    }
    volts = {name: 230.0 + 2.0 * _wave(seed, name + " line", at_s, 300.0) for name in watts}
    rounded = {name: round(celsius, 1) for name, celsius in ({"Inlet": room_c} | cpus).items()}
    return Readings(
        rounded, fans, {k: round(v, 1) for k, v in watts.items()}, {k: round(v, 1) for k, v in volts.items()}
    )


def _wave(seed: str, name: str, at_s: float, period_s: float) -> float:
    """A smooth drift between -1.0 and 1.0 whose phase belongs to this sensor of this machine."""
    phase = zlib.crc32(f"{seed}/{name}".encode()) / 2**32 * math.tau
    turn = math.tau * at_s / period_s
    return 0.7 * math.sin(turn + phase) + 0.3 * math.sin(2.7 * turn + 2.0 * phase)
