"""The lights by which a machine or one of its parts is found in a rack. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Light(StrEnum):
    """What an indicator shows."""

    ON = "on"
    OFF = "off"
    BLINKING = "blinking"
    UNKNOWN = "unknown"


class Part(StrEnum):
    """What an indicator is on, in Ironic's words."""

    SYSTEM = "system"
    CHASSIS = "chassis"
    DISK = "disk"


class Indicator(msgspec.Struct, frozen=True):
    """One indicator: its name is unique among those of its component."""

    name: str
    component: Part
    readonly: bool
    states: list[Light]

    @property
    def ident(self) -> str:
        """How a client names it."""
        return f"{self.name}@{self.component}"
