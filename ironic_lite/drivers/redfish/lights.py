"""Indicators of a Redfish machine: of the System, its chassis and its drives.

IndicatorLED knows more states than LocationIndicatorActive, which newer BMCs have in its place; where both are, the
former counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.domain.indicators import Indicator, Light, Part
from ironic_lite.drivers.redfish.walk import Document, Walk

LED, LOCATION = "IndicatorLED", "LocationIndicatorActive"
LIGHTS: Final = {"Lit": Light.ON, "Off": Light.OFF, "Blinking": Light.BLINKING}
WORDS: Final = {light: word for word, light in LIGHTS.items()}
ACTIVE: Final = {True: Light.ON, False: Light.OFF}


def found(walk: Walk) -> list[Indicator]:
    """Every indicator of the machine."""
    return [
        Indicator(name, part, readonly=False, states=sorted(_states(document)))
        for part in Part
        for name, document in _lit(walk, part)
    ]


def shown(walk: Walk, node: str, name: str, part: Part) -> Light:
    """What one indicator shows. Raises `UnsupportedByDriver` for one that is not there."""
    document = _one(walk, node, name, part)
    return LIGHTS.get(document[LED], Light.UNKNOWN) if LED in document else ACTIVE[document[LOCATION]]


def show(walk: Walk, node: str, name: str, part: Part, light: Light) -> None:
    """Have one indicator show that. Raises `UnsupportedByDriver` for one, or a state, that is not there."""
    document = _one(walk, node, name, part)
    if light not in _states(document):
        raise _unsupported(node, f"state {light} of indicator {name}@{part}", sorted(_states(document)))
    value: Any = WORDS[light] if LED in document else light is Light.ON
    walk.change(document["@odata.id"], {LED if LED in document else LOCATION: value})


def _one(walk: Walk, node: str, name: str, part: Part) -> Document:
    named = dict(_lit(walk, part))
    if name not in named:
        raise _unsupported(node, f"indicator {name}@{part}", [f"{one}@{part}" for one in named])
    return named[name]


def _unsupported(node: str, what: str, supported: list[str]) -> errors.UnsupportedByDriver:
    known = ", ".join(supported) or "none"
    return errors.UnsupportedByDriver(interface="management", node=node, what=what, supported=known)


def _lit(walk: Walk, part: Part) -> Iterator[tuple[str, Document]]:
    """The documents of such parts that have an indicator, each by its name."""
    for name, document in _places(walk, part):
        if document.get(LED) is not None or isinstance(document.get(LOCATION), bool):
            yield name, {key: value for key, value in document.items() if value is not None}


def _places(walk: Walk, part: Part) -> Iterator[tuple[str, Document]]:
    match part:
        case Part.SYSTEM:
            yield str(walk.system["Id"]), walk.system
        case Part.CHASSIS:
            for chassis in walk.each((walk.system.get("Links") or {}).get("Chassis")):
                yield str(chassis["Id"]), chassis
        case Part.DISK:
            for storage in walk.members(walk.system, "Storage"):
                for drive in walk.each(storage.get("Drives")):
                    yield f"{storage['Id']}:{drive['Id']}", drive


def _states(document: Document) -> frozenset[Light]:
    return frozenset(LIGHTS.values() if LED in document else ACTIVE.values())
