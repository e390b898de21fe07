"""One simulated BMC, whatever it speaks: its machine, its account, what is wrong with it, what it has counted."""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from dataclasses import dataclass
from enum import Enum
from random import Random  # noqa: TID251  # the type; the numbers come from clock.seeded
from typing import Any, Final, Protocol

from ironic_lite.clock import Clock
from ironic_lite.fleet import sensors
from ironic_lite.fleet.faults import Faults, Kind
from ironic_lite.fleet.latency import NONE, Latency
from ironic_lite.fleet.machine import Machine, Power, Reset
from ironic_lite.fleet.outbox import Outbox
from ironic_lite.fleet.quirks import Quirk
from ironic_lite.fleet.tally import Tally

NO_QUIRKS: Final[frozenset[Quirk]] = frozenset()


class Reach(Enum):
    """How a BMC meets who wants to connect to it."""

    OPEN = "open"
    REFUSING = "refusing"
    DEAF = "deaf"


@dataclass(frozen=True, slots=True)
class Identity:
    """What is written on a machine's label."""

    serial: str
    manufacturer: str = "Fleet"
    model: str = "Simulated Server 1U"

    @property
    def uuid(self) -> str:
        """The UUID that belongs to the serial number."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.serial))

    def label(self) -> dict[str, Any]:
        """Its part of a Redfish document."""
        return {"Manufacturer": self.manufacturer, "Model": self.model, "SerialNumber": self.serial}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one account of a BMC."""

    username: str
    password: str

    def match(self, username: object, password: object) -> bool:
        """Whether these are the account's own."""
        if not isinstance(username, str) or not isinstance(password, str):
            return False
        same_name = hmac.compare_digest(self.username.encode(), username.encode())
        return hmac.compare_digest(self.password.encode(), password.encode()) and same_name

    def match_basic(self, header: str) -> bool:
        """Whether an Authorization header carries them (RFC 7617)."""
        scheme, _, coded = header.partition(" ")
        try:
            username, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme.lower() == "basic" and self.match(username, password)


@dataclass(frozen=True, slots=True)
class Site:
    """What all BMCs share: the clock and what it showed at the start, the account, chance, the way of events out."""

    clock: Clock
    started_s: float
    account: Credentials
    chance: Random
    outbox: Outbox


class Slots(Protocol):
    """The sessions of a BMC, of whatever protocol: few slots, and their counters."""

    opened: int
    refused: int
    open_max: int

    def ids(self) -> list[str]:
        """Those that are open, oldest first."""

    def forget(self) -> None:
        """End all, as a BMC that restarts does."""


class Device:
    """One BMC over its machine. `PROTOCOL` is what it speaks."""

    PROTOCOL = ""

    def __init__(self, site: Site, address: str, identity: Identity, machine: Machine, slots: Slots) -> None:
        self.slots = slots
        self.site = site
        self.address = address
        self.identity = identity
        self.machine = machine
        self.faults = Faults()
        self.quirks: frozenset[Quirk] = NO_QUIRKS
        self.latency: Latency = NONE
        self.sensor_latency: Latency = NONE  # on top, for what reads sensors
        self.tally = Tally()
        self._shown_until: tuple[Power, float] | None = None
        self._down_until_s = 0.0
        self._second, self._asked = 0, 0

    @property
    def reach(self) -> Reach:
        """How it meets who wants to connect to it now."""
        if self._down_until_s and self.site.clock.monotonic() < self._down_until_s:
            return Reach.REFUSING
        kind = self.faults.kind
        return Reach.OPEN if kind is None else _REACHES.get(kind, Reach.OPEN)

    @property
    def shown_power(self) -> Power:
        """The power state that the BMC tells: the machine's own, unless a fault makes it lie."""
        if self._shown_until is not None and self.site.clock.monotonic() < self._shown_until[1]:
            return self._shown_until[0]
        return self.machine.power

    def delay_s(self) -> float:
        """Seconds that the next answer takes."""
        return 0.0 if self.latency is NONE else self.latency.sample(self.site.chance)

    def sensor_delay_s(self) -> float:
        """Seconds that the next answer with readings takes longer than others."""
        return 0.0 if self.sensor_latency is NONE else self.sensor_latency.sample(self.site.chance)

    def set_latency(self, latency: Latency) -> None:
        """Answer so from now on."""
        self.latency = latency.of_one_bmc(self.site.chance)

    def set_sensor_latency(self, latency: Latency) -> None:
        """Tell readings so much later from now on."""
        self.sensor_latency = latency.of_one_bmc(self.site.chance)

    def readings(self) -> sensors.Readings:
        """What the sensors read now."""
        running = self.machine.power is not Power.OFF
        at_s = self.site.clock.monotonic()
        return sensors.read(self.identity.serial, at_s=at_s, heat=self.machine.heat, running=running)

    def crashes_s(self) -> float | None:
        """Count a request against the fault `crash`: for how many seconds the BMC is gone now, or None."""
        current = self.faults.current
        if current is None or current.fault is not Kind.CRASH or current.per_second is None:
            return None
        now_s = self.site.clock.monotonic()
        self._asked = self._asked + 1 if int(now_s) == self._second else 1
        self._second = int(now_s)
        if self._asked <= current.per_second:
            return None
        self.faults.meet(Kind.CRASH)
        self._down_until_s = now_s + current.seconds
        self._asked = 0
        self.slots.forget()
        return current.seconds

    def change_power(self, kind: Reset) -> None:
        """Carry out a reset that came over the network. Raises `StandbyError`."""
        before = self.shown_power
        self.machine.reset(kind, self.PROTOCOL)
        lie = self.faults.meet(Kind.WRONG_STATE)
        self._shown_until = (before, self.site.clock.monotonic() + lie.seconds) if lie is not None else None


_REACHES: Final = {Kind.REFUSE: Reach.REFUSING, Kind.BLACKHOLE: Reach.DEAF}
