"""Orders to a fleet: which of its BMCs, and what with them. Scripts and the control API speak this one language.

    {"bmcs": {"kind": "redfish", "share": 0.05}, "faults": [{"fault": "hang"}]}

`bmcs` is "all" (the default), one address, a list of addresses, or an object of `kind` (redfish, ipmi), `share` (a
share of them, drawn by the fleet's seed) and `first` (so many of them from the lowest address on). In a script `at` is
when, in seconds from the fleet's start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ironic_lite.clock import seeded
from ironic_lite.fleet.device import Device
from ironic_lite.fleet.faults import STEPS_MAX, Fault, ScriptError
from ironic_lite.fleet.latency import Latency, LatencyError
from ironic_lite.fleet.machine import Health, Reset, StandbyError
from ironic_lite.fleet.quirks import Quirk

ORDERS_MAX: Final = 10000
AT_MAX_S: Final = 7 * 24 * 3600.0
KINDS: Final = ("redfish", "ipmi")
_WHICH: Final = ("kind", "share", "first")
_WHAT: Final = ("faults", "quirks", "latency", "sensor_latency", "health", "reset")
_FIELDS: Final = ("bmcs", "at", *_WHAT)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which BMCs: those of these addresses, or so many of a kind."""

    addresses: tuple[str, ...] = ()
    kind: str = ""
    share: float = 1.0
    first: int | None = None

    @classmethod
    def parse(cls, value: object) -> Choice:
        """Raises `ScriptError`."""
        if value == "all":
            return cls()
        if isinstance(value, str):
            return cls((value,))
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return cls(tuple(value))
        if not isinstance(value, Mapping) or not set(value) <= set(_WHICH):
            raise ScriptError(
                f'The field bmcs is "all", an address, a list of them, or an object of {", ".join(_WHICH)}.'
            )
        kind, share, first = value.get("kind", ""), value.get("share", 1.0), value.get("first")
        if kind not in {"", *KINDS}:
            raise ScriptError(f"The field kind is one of {', '.join(KINDS)}.")
        if not _number(share) or not 0 <= share <= 1:
            raise ScriptError("The field share is a number from 0 to 1.")
        if first is not None and (not isinstance(first, int) or isinstance(first, bool) or first < 0):
            raise ScriptError("The field first is a whole number from 0.")
        return cls((), kind, float(share), first)

    def among(self, devices: Mapping[str, Device], seed: int) -> list[Device]:
        """The BMCs that are meant. Raises `ScriptError` for an address that is none of them."""
        for address in self.addresses:
            if address not in devices:
                raise ScriptError(f"{address} is not the address of a BMC of this fleet.")
        if self.addresses:
            return [devices[address] for address in self.addresses]
        meant = [one for one in devices.values() if self.kind in {"", one.PROTOCOL}][: self.first]
        if self.share == 1.0:
            return meant
        drawn = set(seeded(f"choice {seed}").sample(range(len(meant)), round(len(meant) * self.share)))
        return [one for index, one in enumerate(meant) if index in drawn]


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with the BMCs that `choice` means, at `at_s` seconds from the start. What is None stays as it is."""

    choice: Choice = field(default_factory=Choice)
    at_s: float = 0.0
    faults: tuple[Fault, ...] | None = None
    quirks: frozenset[Quirk] | None = None
    latency: Latency | None = None
    sensor_latency: Latency | None = None
    health: Health | None = None
    reset: Reset | None = None

    @classmethod
    def parse(cls, value: object) -> Order:
        """Raises `ScriptError`, which names what is allowed."""
        if not isinstance(value, Mapping) or not set(value) <= set(_FIELDS) or not set(value) & set(_WHAT):
            raise ScriptError(f"An order is an object of bmcs, at and one or more of {', '.join(_WHAT)}.")
        at_s = value.get("at", 0.0)
        if not _number(at_s) or not 0 <= at_s <= AT_MAX_S:
            raise ScriptError(f"The field at is seconds from the start, from 0 to {AT_MAX_S:.0f}.")
        return cls(
            Choice.parse(value.get("bmcs", "all")),
            float(at_s),
            _faults(value["faults"]) if "faults" in value else None,
            parse_quirks(value["quirks"]) if "quirks" in value else None,
            parse_latency(value["latency"]) if "latency" in value else None,
            parse_latency(value["sensor_latency"]) if "sensor_latency" in value else None,
            parse_health(value["health"]) if "health" in value else None,
            parse_reset(value["reset"]) if "reset" in value else None,
        )

    def carry_out(self, devices: Iterable[Device]) -> None:
        """Do it. A reset that a machine without power does not take is left out."""
        for device in devices:
            self._change_manners(device)
            if self.health is not None:
                device.machine.health = self.health
            if self.reset is not None:
                _press(device, self.reset)

    def _change_manners(self, device: Device) -> None:
        if self.faults is not None:
            device.faults.set(self.faults)
        if self.quirks is not None:
            device.quirks = self.quirks
        if self.latency is not None:
            device.set_latency(self.latency)
        if self.sensor_latency is not None:
            device.set_sensor_latency(self.sensor_latency)


def read_script(path: Path) -> list[Order]:
    """The orders of a script, earliest first. Raises `ScriptError`, and `OSError` when it cannot be read."""
    try:
        document = json.loads(path.read_bytes())
    except ValueError as exc:
        raise ScriptError(f"{path} is not JSON: {exc}.") from exc
    orders = document.get("orders") if isinstance(document, Mapping) and set(document) == {"orders"} else None
    if not isinstance(orders, list) or len(orders) > ORDERS_MAX:
        raise ScriptError(f'{path} is not an object of "orders", a list of at most {ORDERS_MAX}.')
    parsed = []
    for number, order in enumerate(orders, start=1):
        try:
            parsed.append(Order.parse(order))
        except ScriptError as exc:
            raise ScriptError(f"Order {number} of {path}: {exc}") from exc
    return sorted(parsed, key=lambda order: order.at_s)


def parse_quirks(value: object) -> frozenset[Quirk]:
    """Raises `ScriptError`."""
    if not isinstance(value, list) or any(not isinstance(name, str) or name not in set(Quirk) for name in value):
        raise ScriptError(f"The field quirks is a list of any of {', '.join(Quirk)}.")
    return frozenset(Quirk(name) for name in value)


def parse_health(value: object) -> Health:
    """Raises `ScriptError`."""
    if not isinstance(value, str) or value not in set(Health):
        raise ScriptError(f"The field health is one of {', '.join(Health)}.")
    return Health(value)


def _faults(value: object) -> tuple[Fault, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > STEPS_MAX:
        raise ScriptError(f"The field faults is a list of at most {STEPS_MAX} faults.")
    return tuple(Fault.parse(step) for step in value)


def parse_latency(value: object) -> Latency:
    """Raises `ScriptError`."""
    try:
        return Latency.parse(str(value))
    except LatencyError as exc:
        raise ScriptError(f"In a latency, {exc}") from exc


def parse_reset(value: object) -> Reset:
    """Raises `ScriptError`."""
    if not isinstance(value, str) or value not in set(Reset):
        raise ScriptError(f"The field reset is one of {', '.join(Reset)}.")
    return Reset(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _press(device: Device, kind: Reset) -> None:
    try:
        device.machine.reset(kind)
    except StandbyError:
        return
