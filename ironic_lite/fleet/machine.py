"""One simulated machine: power that takes time, the boot override and the heat that follow from it. Pure: no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from ironic_lite.clock import Clock

GRACEFUL_FACTOR: Final = 2.0  # an operating system takes longer to stop than a power rail
HEAT_TIME_S: Final = 90.0  # the time constant with which a machine warms up and cools down
LEDGER_MAX: Final = 1000  # power actions that a machine remembers
FRONT_PANEL: Final = "front-panel"
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Power(StrEnum):
    """Redfish's PowerState."""

    ON = "On"
    OFF = "Off"
    POWERING_ON = "PoweringOn"
    POWERING_OFF = "PoweringOff"


class Reset(StrEnum):
    """The ResetTypes that a machine takes (`ComputerSystem.Reset`)."""

    ON = "On"
    FORCE_ON = "ForceOn"
    FORCE_OFF = "ForceOff"
    GRACEFUL_SHUTDOWN = "GracefulShutdown"
    GRACEFUL_RESTART = "GracefulRestart"
    FORCE_RESTART = "ForceRestart"
    POWER_CYCLE = "PowerCycle"
    NMI = "Nmi"
    PUSH_POWER_BUTTON = "PushPowerButton"


class BootSource(StrEnum):
    """The BootSourceOverrideTargets that a machine takes."""

    NONE = "None"
    PXE = "Pxe"
    CD = "Cd"
    USB = "Usb"
    HDD = "Hdd"
    BIOS_SETUP = "BiosSetup"
    UEFI_HTTP = "UefiHttp"


class BootEnabled(StrEnum):
    """For how long a boot override holds."""

    DISABLED = "Disabled"
    ONCE = "Once"
    CONTINUOUS = "Continuous"


class BootMode(StrEnum):
    """How the firmware boots."""

    UEFI = "UEFI"
    LEGACY = "Legacy"


class Health(StrEnum):
    """Redfish's Status.Health."""

    OK = "OK"
    WARNING = "Warning"
    CRITICAL = "Critical"


class Action(NamedTuple):
    """One power action that a machine took: when (seconds of its clock), by which way in, what, and power before it."""

    at_s: float
    by: str
    kind: Reset
    before: Power


class Watcher(Protocol):
    """Who is told of a machine's power."""

    def planned(self) -> None:
        """A change of power has begun or was planned anew: `Machine.changes_in_s` says when to look."""

    def reached(self, power: Power) -> None:
        """The machine has reached this power state."""


class StandbyError(Exception):
    """A reset that means nothing to a machine without power."""


_UP: Final = frozenset({Power.ON, Power.POWERING_ON})
_RESTARTS: Final = frozenset({Reset.GRACEFUL_RESTART, Reset.FORCE_RESTART, Reset.POWER_CYCLE, Reset.NMI})


class Machine:
    """A machine whose power moves with the clock that it is given.

    A change of power is a plan of `(when, state)`; the plan is caught up with whenever somebody looks, each step at
    its own time. A later command replaces what is left of the plan, as on a real front panel. `ledger` has the last
    `LEDGER_MAX` actions that were taken, `acted` counts them all.
    """

    def __init__(self, clock: Clock, *, power_delay_s: float = 0.0, power: Power = Power.OFF) -> None:
        self.power_delay_s = power_delay_s
        self.health = Health.OK
        self.boot_source = BootSource.NONE
        self.boot_enabled = BootEnabled.DISABLED
        self.boot_mode = BootMode.UEFI
        self.http_boot_uri: str | None = None
        self.secure_boot = False
        self.booted_securely = False
        self.lights = NOTHING
        self.at_boot: Mapping[str, Any] = NOTHING
        self.boots = 0
        self.acted = 0
        self.ledger: list[Action] = []
        self.watcher: Watcher | None = None
        self._clock = clock
        self._power = power
        self._plan: list[tuple[float, Power]] = []
        self._heat = self._heat_goal = 1.0 if power in _UP else 0.0
        self._heat_at_s = clock.monotonic()

    @property
    def power(self) -> Power:
        """What the power is now."""
        if self._plan:
            now_s = self._clock.monotonic()
            while self._plan and self._plan[0][0] <= now_s:
                self._enter(*self._plan.pop(0))
        return self._power

    @property
    def changes_in_s(self) -> float | None:
        """Seconds until the power changes next; None when nothing is under way."""
        return max(0.0, self._plan[0][0] - self._clock.monotonic()) if self._plan else None

    @property
    def heat(self) -> float:
        """How warm the machine is: 0.0 is the room, 1.0 is a machine that has run for long."""
        _ = self.power  # the plan first: a step may have changed what the heat goes to
        return self._heat_by(self._clock.monotonic())

    def reset(self, kind: Reset, by: str = FRONT_PANEL) -> None:
        """Carry out a reset; on and off return at once and take their time.

        Raises `StandbyError` for a restart or an NMI of a machine that is off or on its way there.
        """
        power = self.power
        if kind in _RESTARTS and power not in _UP:
            raise StandbyError
        self._note(Action(self._clock.monotonic(), by, kind, power))
        self._carry_out(kind, power)
        if self.watcher is not None:
            self.watcher.planned()

    def _carry_out(self, kind: Reset, power: Power) -> None:
        if kind is Reset.PUSH_POWER_BUTTON:
            kind = Reset.GRACEFUL_SHUTDOWN if power in _UP else Reset.ON
        if kind in {Reset.ON, Reset.FORCE_ON} and power not in _UP:
            self._plan.clear()
            self._start(self._clock.monotonic())
        elif kind is Reset.FORCE_OFF and power is not Power.OFF:
            self._stop(self.power_delay_s)
        elif kind is Reset.GRACEFUL_SHUTDOWN and power in _UP:
            self._stop(self.power_delay_s * GRACEFUL_FACTOR)
        elif kind is Reset.POWER_CYCLE:
            self._start(self._stop(self.power_delay_s))
        elif kind in {Reset.FORCE_RESTART, Reset.GRACEFUL_RESTART}:
            self._boot()  # the power rail stays up, and PowerState with it

    def _note(self, action: Action) -> None:
        self.acted += 1
        self.ledger.append(action)
        del self.ledger[:-LEDGER_MAX]

    def _start(self, at_s: float) -> None:
        self._plan += [(at_s, Power.POWERING_ON), (at_s + self.power_delay_s, Power.ON)]

    def _stop(self, takes_s: float) -> float:
        now_s = self._clock.monotonic()
        self._plan.clear()
        self._plan += [(now_s, Power.POWERING_OFF), (now_s + takes_s, Power.OFF)]
        return now_s + takes_s

    def _enter(self, at_s: float, power: Power) -> None:
        self._power = power
        if power is Power.POWERING_ON:
            self._boot()
        if power in {Power.POWERING_ON, Power.OFF}:
            self._heat, self._heat_at_s = self._heat_by(at_s), at_s
            self._heat_goal = 1.0 if power is Power.POWERING_ON else 0.0
        if self.watcher is not None:
            self.watcher.reached(power)

    def shine(self, path: str, state: str) -> None:
        """Put the indicator at that path into Redfish's state Lit, Blinking or Off."""
        others = {where: lit for where, lit in self.lights.items() if where != path}
        self.lights = others if state == "Off" else {**others, path: state}

    def _boot(self) -> None:
        self.boots += 1
        for name, value in self.at_boot.items():
            setattr(self, name, value)
        self.at_boot = NOTHING
        self.booted_securely = self.secure_boot and self.boot_mode is BootMode.UEFI
        if self.boot_enabled is BootEnabled.ONCE:
            self.boot_enabled, self.boot_source = BootEnabled.DISABLED, BootSource.NONE

    def _heat_by(self, at_s: float) -> float:
        left = math.exp(-(at_s - self._heat_at_s) / HEAT_TIME_S)
        return self._heat_goal + (self._heat - self._heat_goal) * left
