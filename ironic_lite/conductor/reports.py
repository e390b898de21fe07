"""What the sensors of each node last told, and, if wanted, before that.

*Guarantees.* A report holds at most `SENSORS_LIMIT` sensors with fields of at most `FIELDS_LIMIT` and texts of at most
`TEXT_LIMIT` characters, whatever a BMC says; what is left out is named in `missing`. Any thread may use `Reports`; its
lock is taken alone, for a few assignments or a copy of a list.
"""

from __future__ import annotations

import datetime
import threading
from typing import Any, Final

import msgspec

from ironic_lite.domain.node import labelled
from ironic_lite.drivers.interfaces import Collected, Sensors

SENSORS_LIMIT: Final = 1000
FIELDS_LIMIT: Final = 32
TEXT_LIMIT: Final = 255
MISSING_LIMIT: Final = 16


class SensorReport(msgspec.Struct, frozen=True):
    """The sensors of one node as collected, and what was not told, with the reason; the time is UTC without a zone."""

    collected_at: datetime.datetime
    sensors: Sensors
    missing: dict[str, str] = {}


class Subject(msgspec.Struct, frozen=True):
    """Whose sensors they are."""

    uuid: str
    name: str | None
    instance_uuid: str | None
    driver: str

    @property
    def label(self) -> str:
        """How a sentence names the node."""
        return labelled(self.name, self.uuid)


Told = tuple[Subject, SensorReport]


class Reports:
    """Those of every node, by its UUID."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, Told] = {}
        self._earlier: dict[str, tuple[SensorReport, ...]] = {}

    def keep(self, subject: Subject, report: SensorReport, history: int) -> None:
        """Put a report before those that are there, of which the latest `history` stay."""
        with self._lock:
            before = self._latest.get(subject.uuid)
            self._latest[subject.uuid] = subject, report
            if not history:
                self._earlier.pop(subject.uuid, None)
            elif before is not None:
                self._earlier[subject.uuid] = (before[1], *self._earlier.get(subject.uuid, ()))[:history]

    def latest(self, uuid: str) -> SensorReport | None:
        """What was collected last from the node."""
        with self._lock:
            told = self._latest.get(uuid)
        return told[1] if told else None

    def earlier(self, uuid: str) -> list[SensorReport]:
        """What was collected before that, the latest first."""
        with self._lock:
            return list(self._earlier.get(uuid, ()))

    def all(self) -> list[Told]:
        """The latest of every node."""
        with self._lock:
            return list(self._latest.values())

    def forget_all_but(self, known: set[str]) -> None:
        """Drop what is remembered of every other node."""
        with self._lock:
            for memory in (self._latest, self._earlier):
                for uuid in memory.keys() - known:
                    del memory[uuid]


def bounded(told: Collected, kinds: set[str]) -> tuple[Sensors, dict[str, str]]:
    """What is kept of a collection: these kinds of sensors, in lower case ("all" is every one), within the limits."""
    left, sensors = SENSORS_LIMIT, Sensors()
    missing = {_text(name): _text(why) for name, why in list(told.missing.items())[:MISSING_LIMIT]}
    for kind, entries in told.sensors.items():
        if "all" not in kinds and kind.lower() not in kinds:
            continue
        if kind == "Extra":
            sensors[kind] = _entry(entries)
            continue
        kept = list(entries.items())[:left]
        if len(kept) < len(entries):
            missing[kind] = f"only the first {SENSORS_LIMIT} sensors are kept"
        left -= len(kept)
        sensors[kind] = {_text(ident): _entry(entry) for ident, entry in kept}
    return sensors, missing


def _entry(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in list(fields.items())[:FIELDS_LIMIT]}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    return _text(value)


def _text(value: object) -> str:
    """A text that any encoding of Unicode can hold: JSON can name half characters, and BMCs cut texts in two."""
    text = str(value)[:TEXT_LIMIT]
    return text if text.isascii() else text.encode(errors="replace").decode()
