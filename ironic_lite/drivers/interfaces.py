"""What a driver is: plain objects that get a frozen `Node`, talk to its BMC, and return values.

A driver never sees the database, the lock or the conductor. Interface objects are shared by all threads and keep no
state of a node. Each method of an interface ends by the deadline it is given, and raises one of the `BMC...` errors
of `errors.py` (or `UnsupportedByDriver`, `InvalidDriverInfo`) when it cannot do what it was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from ironic_lite.clock import Deadline
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.events import Subscriber
from ironic_lite.domain.firmware import Component
from ironic_lite.domain.indicators import Indicator, Light, Part
from ironic_lite.domain.inventory import Inventory
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, BootMode, Power, PowerTarget

# One collection of sensors, in Ironic's shape: type -> sensor id -> field -> value, such as
# {"Temperature": {"CPU 1@1": {"reading_celsius": 41, "health": "OK"}}}; but of the type "Extra", which tells about the
# machine, the values come at once: {"Extra": {"Model": "R1"}}.
Sensors = dict[str, dict[str, Any]]


class Collected(msgspec.Struct, frozen=True):
    """What one collection of sensors told. `missing` names each part that it could not tell, with the reason."""

    sensors: Sensors
    missing: dict[str, str] = {}


class Reading(msgspec.Struct, frozen=True):
    """What one visit to a BMC told. None means that the BMC did not say."""

    power: Power | None
    boot_mode: BootMode | None = None
    secure_boot: bool | None = None
    health: str | None = None
    vendor: str | None = None


class BootChoice(msgspec.Struct, frozen=True):
    """What a machine boots from next; None where the BMC does not say."""

    boot_device: BootDevice | None
    persistent: bool | None


class Attempt(msgspec.Struct, frozen=True):
    """The conductor's side of one piece of work on hardware.

    `permit` is called right before each request that changes hardware. It raises `LockLost` when the node is no
    longer ours, and the request must then not be sent. `pause` waits, and raises `Interrupted` when the conductor
    stops; it is the only way to wait. `report` takes a short sentence of progress.
    """

    deadline: Deadline
    permit: Callable[[], None]
    pause: Callable[[float], None]
    report: Callable[[str], None]


class PowerInterface(Protocol):
    """Power and what the same visit tells."""

    targets: frozenset[PowerTarget]
    properties: Mapping[str, str]  # driver_info key -> its meaning, for GET /v1/drivers/{name}/properties

    def check(self, node: Node) -> None:
        """Raise `InvalidDriverInfo` with every problem of driver_info. Never talks to the BMC."""

    def read(self, node: Node, deadline: Deadline) -> Reading:
        """Ask the BMC once."""

    def change(self, node: Node, target: PowerTarget, attempt: Attempt) -> Iterator[float]:
        """Bring the machine to `target`, and end when the BMC says that it is there.

        What is yielded are the seconds until it wants to go on; no thread has to wait for them.
        A command that may have reached the BMC is never sent again: a power cycle sent twice is an outage.
        Raises `PowerStateUnsettled` when the deadline passes first.
        """


class NeedsThread(Exception):
    """What `PowerPoller.poll` raises for a BMC that it does not understand, and leaves to `PowerInterface.read`.

    It says nothing of the machine. The BMC is remembered: for a day its polls raise this at once.
    """


class PollTarget(Protocol):
    """What a poll needs to know of a node; made once for each driver_info."""

    @property
    def address(self) -> str:
        """Which BMC it is, as a sentence names it: nodes that have it in common share the BMC."""


class PowerPoller(Protocol):
    """What a power interface offers besides, if it can be read by the thousand: coroutines for the I/O loop.

    It tells what `PowerInterface.read` tells, and shares the BMC's connection, session and turns with it.
    """

    def target(self, node: Node) -> PollTarget:
        """What `poll` needs to know of the node. Raises `InvalidDriverInfo`."""

    async def poll(self, target: Any, deadline: Deadline) -> Reading:
        """Ask the BMC once, on `contact.IO` alone, by the deadline. Raises the `BMC...` errors and `NeedsThread`."""


class Subscribed(StrEnum):
    """How a BMC and we stand, as to its events."""

    ALREADY = "already"
    ANEW = "anew"
    REFUSED = "refused"
    NOT = "not"


class EventSource(Protocol):
    """What a power interface offers besides, if its BMC can tell of what happens to the machine."""

    def target(self, node: Node) -> PollTarget:
        """As for a `PowerPoller`."""

    async def keep_subscription(self, target: Any, subscriber: Subscriber, deadline: Deadline) -> Subscribed:
        """See to it that the subscription is as the subscriber wants it, on `contact.IO` alone.

        `REFUSED` if the BMC cannot do that for us, all its slots taken or whatever else; `NOT` if there is to be none.
        Raises the `BMC...` errors, by the deadline.
        """


class ManagementInterface(Protocol):
    """How a machine boots, its sensors, its indicators.

    Whatever a kind of BMC has no word for raises `UnsupportedByDriver`.
    """

    properties: Mapping[str, str]

    @property
    def mode_change_s(self) -> int:
        """Seconds that a change of boot mode or of secure boot may take."""

    def check(self, node: Node) -> None:
        """Raise `InvalidDriverInfo` with every problem of driver_info. Never talks to the BMC."""

    def boot_devices(self, node: Node, deadline: Deadline) -> list[BootDevice]:
        """The devices that this machine can be told to boot from."""

    def boot_device(self, node: Node, deadline: Deadline) -> BootChoice:
        """What the machine is set to boot from."""

    def set_boot_device(self, node: Node, choice: BootChoice, attempt: Attempt) -> None:
        """Set what the machine boots from. Raises `UnsupportedByDriver` for a device that it does not know."""

    def set_boot_mode(self, node: Node, mode: BootMode, attempt: Attempt) -> Iterator[float]:
        """Have the machine boot so, and end when the BMC says that it does; the machine may be restarted for that.

        What is yielded is as with `PowerInterface.change`. Raises `SettingUnsettled` when the deadline passes first.
        """

    def secure_boot(self, node: Node, deadline: Deadline) -> bool | None:
        """Whether secure boot is on; None where the BMC does not say."""

    def set_secure_boot(self, node: Node, on: bool, attempt: Attempt) -> Iterator[float]:  # noqa: FBT001  # the setting's value
        """Switch secure boot, as `set_boot_mode` does with the boot mode."""

    def inject_nmi(self, node: Node, attempt: Attempt) -> None:
        """Send a non-maskable interrupt, once: most operating systems dump their memory and stop."""

    def indicators(self, node: Node, deadline: Deadline) -> list[Indicator]:
        """Every indicator of the machine."""

    def indicator(self, node: Node, name: str, part: Part, deadline: Deadline) -> Light:
        """What one of them shows."""

    def set_indicator(self, node: Node, name: str, part: Part, light: Light, attempt: Attempt) -> None:
        """Have one of them show that."""

    def sensors(self, node: Node, deadline: Deadline) -> Collected:
        """Every sensor that the BMC reports now. Raises the `BMC...` errors only when it told not one."""


class DeployInterface(Protocol):
    """How an instance comes onto a machine, by steps (`drivers.steps`), and how it goes; pauses are yielded."""

    properties: Mapping[str, str]

    def check(self, node: Node) -> None:
        """Raise `Invalid` with what a deployment lacks. Never talks to the BMC."""

    def tear_down(self, node: Node, attempt: Attempt) -> Iterator[float]:
        """End what runs on the machine: it has no instance afterwards. May be repeated."""


class RescueInterface(Protocol):
    """A ramdisk into which the owner of a broken instance can log in; pauses are yielded."""

    properties: Mapping[str, str]

    def check(self, node: Node) -> None:
        """Raise `Invalid` with what a rescue lacks. Never talks to the BMC."""

    def rescue(self, node: Node, attempt: Attempt) -> Iterator[float]:
        """Boot it. May be repeated."""

    def unrescue(self, node: Node, attempt: Attempt) -> Iterator[float]:
        """Boot the instance again. May be repeated."""


class SensorsPoller(Protocol):
    """What a management interface offers besides, if its sensors can be collected by the thousand.

    It tells what `ManagementInterface.sensors` tells, and shares the BMC's connection, session and turns with power,
    which goes ahead of it between any two requests.
    """

    def target(self, node: Node) -> Any:
        """What `collect` needs to know of the node; made once for each driver_info. Raises `InvalidDriverInfo`."""

    async def collect(self, target: Any, deadline: Deadline) -> Collected:
        """Collect once, on `contact.IO` alone. Ends by the deadline, with what was told by then."""


class BIOSInterface(Protocol):
    """The settings of a machine's firmware."""

    properties: Mapping[str, str]

    def check(self, node: Node) -> None:
        """Raise `InvalidDriverInfo` with every problem of driver_info. Never talks to the BMC."""

    def settings(self, node: Node, deadline: Deadline) -> list[Setting]:
        """Every setting that the BMC tells, by name; none where it does not have them."""


class FirmwareInterface(Protocol):
    """The pieces of firmware of a machine."""

    properties: Mapping[str, str]

    def check(self, node: Node) -> None:
        """Raise `InvalidDriverInfo` with every problem of driver_info. Never talks to the BMC."""

    def components(self, node: Node, deadline: Deadline) -> list[Component]:
        """Every piece that the BMC tells a version of."""


class InspectInterface(Protocol):
    """What a machine is made of, found without its help."""

    properties: Mapping[str, str]

    def check(self, node: Node) -> None:
        """Raise `InvalidDriverInfo` with every problem of driver_info. Never talks to the BMC."""

    def inspect(self, node: Node, deadline: Deadline) -> Inventory:
        """Read it from the BMC. A part that the BMC does not have is left out."""


class HardwareType(msgspec.Struct, frozen=True):
    """A driver by name: for each kind of interface its implementations, the default first.

    An implementation is named as in Ironic and stands for "module:Class", or None where the name exists only so
    that clients find what they know ("no-bios", "noop") and nothing is behind it.
    """

    name: str
    interfaces: Mapping[str, Mapping[str, str | None]]
