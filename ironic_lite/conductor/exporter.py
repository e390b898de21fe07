"""Sensors as Prometheus reads them, under the names and labels of ironic-prometheus-exporter.

What dashboards and alerts were written for that exporter finds its series here without it. A metric is named after
the kind of sensor and, for IPMI, after the sensor itself; so these are no families of `ironic_lite.metrics`, and they
have no label `worker`. Where the exporter would stumble over a reading (a word instead of a number) it is left out.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ironic_lite.clock import Clock
from ironic_lite.conductor.reports import Reports, Subject, Told
from ironic_lite.metrics import Sample, escaped, gauge

LEFT_OUT: Final = gauge("ironic_lite_sensors_left_out", "Nodes left out of a scrape for the limit of series.")
HEALTHS: Final = {"OK": 0, "Warning": 1, "Critical": 2}
EPOCH: Final = datetime.datetime(1970, 1, 1)  # noqa: DTZ001  # UTC without a zone, as `Clock.now` tells it
ABOUT: Final = {
    "baremetal_last_payload_timestamp_seconds": "When the node's sensors were last collected, in seconds since 1970.",
    "baremetal_sensors_age_seconds": "How long ago the node's sensors were last collected.",
    "baremetal_sensors_complete": "Whether the last collection told every part: 1, or 0.",
    "baremetal_temperature_status": "Health of a temperature: 0 OK, 1 warning, 2 critical.",
    "baremetal_power_status": "State of a power supply: 0 OK, 1 warning, 2 critical.",
    "baremetal_fan_status": "Health of a fan: 0 OK, 1 warning, 2 critical.",
    "baremetal_drive_status": "Health of a drive: 0 OK, 1 warning, 2 critical.",
}

Labels = dict[str, str]


class Series(NamedTuple):
    """One line of a scrape; `labels` as they stand between the braces."""

    metric: str
    labels: str
    value: float

    def line(self) -> str:
        """As Prometheus reads it."""
        return f"{self.metric}{{{self.labels}}} {float(self.value)!r}"


def _written(labels: Labels) -> str:
    return ",".join([f'{name}="{escaped(value)}"' for name, value in labels.items()])


def _of_node(subject: Subject) -> str:
    """A node without an instance stands for it itself."""
    named = {"node_name": subject.name} if subject.name else {}
    return _written({**named, "node_uuid": subject.uuid, "instance_uuid": subject.instance_uuid or subject.uuid})


def series(told: Told) -> Iterator[Series]:
    """Every series of one node."""
    subject, report = told
    labels, sensors = _of_node(subject), report.sensors
    seconds = int((report.collected_at.replace(tzinfo=None) - EPOCH).total_seconds())
    yield Series("baremetal_last_payload_timestamp_seconds", labels, seconds)
    if subject.driver == "ipmi":
        for kind, entries in sensors.items():
            yield from _of_ipmi(kind.lower(), entries, labels)
    else:
        common = _Common(_extra(sensors.get("Extra", {})), labels)
        for kind, (values, not_labels) in REDFISH.items():
            yield from _of_redfish(sensors.get(kind, {}), values, not_labels, common)


class Exporter:
    """What a scrape is told of all nodes' sensors; used by the thread that serves it alone."""

    def __init__(self, reports: Reports, clock: Clock, limit: Callable[[], int]) -> None:
        """`limit` is how many series there may be."""
        self._reports, self._clock, self._limit = reports, clock, limit
        self._left_out = 0

    def text(self) -> str:
        """The series of as many nodes as there may be; the same ones each time."""
        limit, now = self._limit(), self._clock.now()
        found: list[Series] = []
        everybody = sorted(self._reports.all(), key=lambda told: told[0].uuid) if limit else []
        self._left_out = 0
        for done, told in enumerate(everybody):
            own = [*series(told), *_of_collection(told, now)]
            if len(found) + len(own) > limit:
                self._left_out = len(everybody) - done
                break
            found += own
        return text(found)

    def samples(self) -> Iterator[Sample]:
        """How many nodes the last scrape was not told of."""
        yield LEFT_OUT.at(self._left_out)


def _of_collection(told: Told, now: datetime.datetime) -> Iterator[Series]:
    """What that exporter does not have: how old, and whether whole."""
    subject, report = told
    labels = _of_node(subject)
    yield Series("baremetal_sensors_age_seconds", labels, max(0.0, (now - report.collected_at).total_seconds()))
    yield Series("baremetal_sensors_complete", labels, not report.missing)


def text(found: Iterable[Series]) -> str:
    """Each metric once, with all of its lines."""
    lines: dict[str, list[str]] = {}
    for one in found:
        lines.setdefault(one.metric, []).append(one.line())
    return "".join(
        f"# HELP {metric} {ABOUT.get(metric, 'A reading of a sensor.')}\n# TYPE {metric} gauge\n"
        + "\n".join(own)
        + "\n"
        for metric, own in lines.items()
    )


# Redfish. For each kind: the metrics of a sensor with their values, and which of its fields are no labels.

Values = Callable[[Mapping[str, Any]], Iterator[tuple[str, Any]]]


def _temperature(sensor: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    place = sensor.get("physical_context")
    if place and _is_number(sensor.get("reading_celsius")):
        yield _safe(f"baremetal_temp_{str(place).lower()}_celsius"), sensor["reading_celsius"]
        yield "baremetal_temperature_status", HEALTHS.get(sensor.get("health", ""))


def _health(metric: str) -> Values:
    def values(sensor: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        yield metric, HEALTHS.get(sensor.get("health", ""))

    return values


REDFISH: Final[dict[str, tuple[Values, tuple[str, ...]]]] = {
    "Temperature": (_temperature, ("reading_celsius",)),
    "Power": (_health("baremetal_power_status"), ("last_power_output_watts", "line_input_voltage")),
    "Fan": (_health("baremetal_fan_status"), ("reading", "reading_units")),
    "Drive": (_health("baremetal_drive_status"), ()),
}


def _of_redfish(
    entries: Mapping[str, Any], values: Values, not_labels: tuple[str, ...], common: _Common
) -> Iterator[Series]:
    for ident, sensor in entries.items():
        if str(sensor.get("state")).lower() != "enabled":
            continue
        own = {name: str(value) for name, value in sensor.items() if value is not None and name not in not_labels}
        labels = common.written_with({**own, "sensor_id": ident})
        yield from (Series(metric, labels, value) for metric, value in values(sensor) if value is not None)


class _Common:
    """The labels that all sensors of a machine have: written once, as most of a scrape is made of them."""

    def __init__(self, extra: Labels, labels: str) -> None:
        self._extra, self._labels = extra, labels
        self._written = self._with(extra)

    def _with(self, extra: Labels) -> str:
        return f"{_written(extra)},{self._labels}" if extra else self._labels

    def written_with(self, own: Labels) -> str:
        """Beside a sensor's own, which come before the machine's of the same name, such as a drive's model."""
        common = self._written
        if not own.keys().isdisjoint(self._extra):
            common = self._with({name: value for name, value in self._extra.items() if name not in own})
        return f"{common},{_written(own)}"


def _extra(extra: Mapping[str, Any]) -> Labels:
    named = {_safe(name.lower()): str(value) for name, value in extra.items() if value is not None}
    uuid = named.pop("uuid", None)
    return named if uuid is None else {**named, "redfish_system_uuid": uuid}


# IPMI.


def _plain(ident: str) -> str:
    """The sensor's name without digits: "Inlet Temp (0x05)" is inlet_temp."""
    return "_".join(re.sub(r"\d+", "", ident).lower().split()[:-1]).replace("-", "_")


class Category(NamedTuple):
    """How the sensors of one type are named."""

    prefix: str = "baremetal_"
    suffix: str = ""
    with_unit: bool = False
    numbers_only: bool = False
    label: Callable[[str], str] = _plain


def _fan(ident: str) -> str:
    """All fans are one metric: "Fan4B (0x43)" is fan, "Fan Redundancy (0x78)" fan_redundancy."""
    return "_".join(re.sub(r"\(.*\)", "", re.sub(r"fan\d*[a-z]*", "fan", ident.lower())).split())


def _voltage(ident: str) -> str:
    """Without the voltage that is in the name: "3.3V B PG (0x15)" is b_pg; "Voltage 1 (0x6d)" is nothing more."""
    label = _plain(re.sub(r"\d+(?:\.\d*)?v\b", "", ident.lower()))
    return "" if label == "voltage" else label


def _memory(ident: str) -> str:
    label = _plain(ident)
    return label if "mem" in label else f"memory_{label}"


IPMI: Final = {
    "management": Category(),
    "temperature": Category(suffix="_celsius", numbers_only=True),
    "system": Category("baremetal_system_"),
    "current": Category(numbers_only=True),
    "version": Category(),
    "memory": Category(label=_memory),
    "power": Category("baremetal_power_"),
    "watchdog2": Category(),
    "fan": Category(with_unit=True, label=_fan),
    "voltage": Category("baremetal_voltage_", with_unit=True, label=_voltage),
}
NO_READING: Final = ("", "No Reading", "Disabled")


def _of_ipmi(kind: str, entries: Mapping[str, Any], labels: str) -> Iterator[Series]:
    category = IPMI.get(kind)
    if category is None:
        return
    for ident, sensor in entries.items():
        reading = str(sensor.get("Sensor Reading", ""))
        value = None if reading in NO_READING else _value(reading, category)
        if value is None:
            continue
        own = {
            "entity_id": sensor.get("Entity ID"),
            "sensor_id": sensor.get("Sensor ID"),
            "status": sensor.get("Status"),
        }
        unit = f"_{reading.rsplit(maxsplit=1)[-1].lower()}" if category.with_unit and " " in reading else ""
        metric = re.sub("_+", "_", _safe(f"{category.prefix}{category.label(ident)}{category.suffix}{unit}"))
        told = {name: str(one) for name, one in own.items() if one is not None}
        yield Series(metric.rstrip("_"), f"{labels},{_written(told)}", value)


def _value(reading: str, category: Category) -> float | None:
    """A number is itself; of a state, 0 says that nothing is asserted, and 1 that something is."""
    first = reading.split(maxsplit=1)[0]
    try:
        return float(first)
    except ValueError:
        if category.numbers_only:
            return None
        return 0.0 if first == "0h" else 1.0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _safe(name: str) -> str:
    """A name that Prometheus takes."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
