"""fake-hardware: a machine that is nothing but its row, for tests and demonstrations. It can be made slow."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final

from oslo_config import cfg, types

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock, triangular_s
from ironic_lite.config import Option, Section
from ironic_lite.domain.indicators import Indicator, Light, Part
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, BootMode, Power, PowerTarget
from ironic_lite.drivers.interfaces import Attempt, BootChoice, Collected, Reading
from ironic_lite.drivers.steps import Done, Outcome, Wait

# Those of Ironic's fake machine.
INDICATORS: Final = (
    Indicator("led-0", Part.CHASSIS, readonly=True, states=[Light.OFF, Light.ON]),
    Indicator("led", Part.SYSTEM, readonly=False, states=[Light.BLINKING, Light.OFF, Light.ON]),
)
BOOT_DEVICES: Final = (BootDevice.PXE, BootDevice.DISK, BootDevice.CDROM)

MODE_CHANGE_S: Final = 60

Range = tuple[float, float]


class _Seconds(types.ConfigType):
    """oslo.config's side of a `Delay`: "a" or "a,b"."""

    def __init__(self) -> None:
        super().__init__(type_name="duration")

    def __call__(self, value: object) -> Range:
        try:
            low_s, high_s = [float(part) for part in (str(value).split(",") * 2)[:2]]
        except ValueError:
            raise _not_a_delay(value) from None
        if not 0 <= low_s <= high_s < float("inf") or str(value).count(",") > 1:
            raise _not_a_delay(value)
        return low_s, high_s

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Seconds)

    def __hash__(self) -> int:
        return hash(_Seconds)

    def _formatter(self, value: str) -> str:
        return value


def _not_a_delay(value: object) -> ValueError:
    return ValueError(f'{value!r} is neither "a" nor "a,b" with seconds 0 <= a <= b')


class _DelayOpt(cfg.Opt):
    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(name, type=_Seconds(), **more)


class Delay(Option[Any]):
    """A duration in seconds, "a", or "a,b" for a random one of at least a and at most b, most likely near a."""

    kind: ClassVar[type[cfg.Opt]] = _DelayOpt


class conf(Section, name="fake"):  # a section reads as `conf.option`
    """How slow the fake machine is."""

    power_delay = Delay(
        "0", help='Seconds that a power change and a power reading take: "a", or "a,b" for a random one.'
    )
    management_delay = Delay(
        "0", help='Seconds that a boot device or sensor call takes: "a", or "a,b" for a random one.'
    )


class FakePower:
    """Power of a machine that has none: what its row says is what it is, and off before the row says anything."""

    targets = frozenset(PowerTarget)
    properties: Mapping[str, str] = {}

    def check(self, node: Node) -> None:
        """Nothing in driver_info can be wrong."""

    def read(self, node: Node, deadline: Deadline) -> Reading:
        take(node, conf.power_delay, deadline)
        return Reading(power=node.power_state or Power.OFF)

    def change(self, node: Node, target: PowerTarget, attempt: Attempt) -> Iterator[float]:
        attempt.permit()
        delay_s = triangular_s(*conf.power_delay)
        if delay_s > 0:
            yield min(delay_s, attempt.deadline.left_s())
            if attempt.deadline.passed():
                raise errors.PowerStateUnsettled(
                    node=node.label, target=target, timeout_s=round(attempt.deadline.timeout_s), actual=node.power_state
                )


class FakeManagement:
    """Boot devices, indicators and interrupts that are taken and forgotten, and no sensors."""

    properties: Mapping[str, str] = {}

    def check(self, node: Node) -> None:
        """Nothing in driver_info can be wrong."""

    def boot_devices(self, node: Node, deadline: Deadline) -> list[BootDevice]:
        take(node, conf.management_delay, deadline)
        return list(BOOT_DEVICES)

    def boot_device(self, node: Node, deadline: Deadline) -> BootChoice:
        take(node, conf.management_delay, deadline)
        return BootChoice(boot_device=BootDevice.PXE, persistent=False)

    def set_boot_device(self, node: Node, choice: BootChoice, attempt: Attempt) -> None:
        if choice.boot_device not in BOOT_DEVICES:
            raise errors.UnsupportedByDriver(
                interface="management",
                node=node.label,
                what=f"boot device {choice.boot_device}",
                supported=", ".join(BOOT_DEVICES),
            )
        work(conf.management_delay, attempt)

    @property
    def mode_change_s(self) -> int:
        return MODE_CHANGE_S

    def set_boot_mode(self, node: Node, mode: BootMode, attempt: Attempt) -> Iterator[float]:  # noqa: ARG002
        return _at_length(conf.management_delay, attempt)

    def secure_boot(self, node: Node, deadline: Deadline) -> bool | None:
        take(node, conf.management_delay, deadline)
        return bool(node.secure_boot)

    def set_secure_boot(self, node: Node, on: bool, attempt: Attempt) -> Iterator[float]:  # noqa: ARG002, FBT001
        return _at_length(conf.management_delay, attempt)

    def inject_nmi(self, node: Node, attempt: Attempt) -> None:  # noqa: ARG002  # nothing is there to interrupt
        work(conf.management_delay, attempt)

    def indicators(self, node: Node, deadline: Deadline) -> list[Indicator]:
        take(node, conf.management_delay, deadline)
        return list(INDICATORS)

    def indicator(self, node: Node, name: str, part: Part, deadline: Deadline) -> Light:
        take(node, conf.management_delay, deadline)
        _known(node, name, part)
        return Light.ON

    def set_indicator(self, node: Node, name: str, part: Part, light: Light, attempt: Attempt) -> None:  # noqa: ARG002
        if _known(node, name, part).readonly:
            raise _unsupported(
                node, f"changes of indicator {name}@{part}", [one for one in INDICATORS if not one.readonly]
            )
        work(conf.management_delay, attempt)

    def sensors(self, node: Node, deadline: Deadline) -> Collected:
        take(node, conf.management_delay, deadline)
        return Collected({})


def _known(node: Node, name: str, part: Part) -> Indicator:
    for one in INDICATORS:
        if (one.name, one.component) == (name, part):
            return one
    raise _unsupported(node, f"indicator {name}@{part}", INDICATORS)


def _unsupported(node: Node, what: str, supported: Iterable[Indicator]) -> errors.UnsupportedByDriver:
    known = ", ".join(one.ident for one in supported)
    return errors.UnsupportedByDriver(interface="management", node=node.label, what=what, supported=known)


def take(node: Node, delay: Range, deadline: Deadline) -> None:
    """Answer as late as a slow BMC would; like one, too late is no answer."""
    delay_s = triangular_s(*delay)
    SystemClock().wait(threading.Event(), min(delay_s, deadline.left_s()))
    if delay_s > 0 and deadline.passed():
        raise errors.BMCUnreachable(
            node=node.label, address="fake", reason=f"it did not answer within {deadline.timeout_s:g} s"
        )


def work(delay: Range, attempt: Attempt) -> None:
    """Act as slowly as a slow machine would."""
    attempt.permit()
    attempt.pause(min(triangular_s(*delay), attempt.deadline.left_s()))


def _at_length(delay: Range, attempt: Attempt) -> Iterator[float]:
    """What the row alone keeps: the machine takes its time, and nobody has to wait for it in a thread."""
    attempt.permit()
    if (delay_s := triangular_s(*delay)) > 0:
        yield min(delay_s, attempt.deadline.left_s())


class FakeInterface:
    """What the fake interfaces have in common. Nobody waits in a thread for steps of a machine that does nothing."""

    properties: Mapping[str, str] = {}

    def check(self, node: Node) -> None:
        """Nothing in driver_info can be wrong."""

    def over(self, node: Node, deadline: Deadline) -> Outcome:  # noqa: ARG002  # what every check is given
        """Asked after a step's delay: it is over."""
        return Done()


def begun(delay: Range, attempt: Attempt) -> Outcome:
    """A step that is over at once, or after the delay."""
    attempt.permit()
    delay_s = triangular_s(*delay)
    return Wait("the fake machine to take its time", check_after_s=delay_s) if delay_s else Done()
