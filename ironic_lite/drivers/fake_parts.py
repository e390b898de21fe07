"""fake-hardware: what a machine that is nothing but its row is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ironic_lite.clock import Deadline
from ironic_lite.config import Section
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.firmware import BIOS, BMC, Component
from ironic_lite.domain.inventory import GIB, Boot, Cpu, Disk, Interface, Inventory, Memory, SystemVendor
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootMode
from ironic_lite.drivers.fake import Delay, FakeInterface, begun, take
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.steps import Outcome, step

SETTINGS: Final = (
    Setting("BootMode", "Uefi", "Enumeration", ["Uefi", "Bios"], reset_required=True, read_only=False),
    Setting("MemTest", "false", "Boolean", [], reset_required=True, read_only=False),
)
COMPONENTS: Final = (Component(BIOS, "1.0"), Component(BMC, "1.0"))


class conf(Section, name="fake"):  # a section reads as `conf.option`
    """How slow the fake machine tells of itself."""

    bios_delay = Delay("0", help='Seconds that reading BIOS settings, or a step of them, takes: "a", or "a,b", random.')
    firmware_delay = Delay("0", help='Seconds that reading firmware, or an update, takes: "a", or "a,b", random.')
    inspect_delay = Delay("0", help='Seconds that an inspection takes: "a", or "a,b" for a random one.')


class NamedValue(msgspec.Struct, forbid_unknown_fields=True):
    """One setting of a request."""

    name: str
    value: Any


class Update(msgspec.Struct):
    """One piece of firmware of a request."""

    component: str
    url: str


class FakeBIOS(FakeInterface):
    """Two settings, the same for every machine."""

    def settings(self, node: Node, deadline: Deadline) -> list[Setting]:
        take(node, conf.bios_delay, deadline)
        return list(SETTINGS)

    @step(clean=0, deploy=0, service=0, repeatable=True, check="over")
    def apply_configuration(self, node: Node, attempt: Attempt, *, settings: list[NamedValue]) -> Outcome:
        """As if they had been set: a machine that is nothing but its row has nowhere to keep them."""
        return begun(conf.bios_delay, attempt)

    @step(clean=0, deploy=0, service=0, repeatable=True, check="over")
    def factory_reset(self, node: Node, attempt: Attempt) -> Outcome:
        """As if they had been changed before."""
        return begun(conf.bios_delay, attempt)


class FakeFirmware(FakeInterface):
    """Two pieces, the same for every machine."""

    def components(self, node: Node, deadline: Deadline) -> list[Component]:
        take(node, conf.firmware_delay, deadline)
        return list(COMPONENTS)

    @step(clean=0, service=0, repeatable=True, check="over")
    def update(self, node: Node, attempt: Attempt, *, settings: list[Update]) -> Outcome:
        """As if it had been written."""
        return begun(conf.firmware_delay, attempt)


class FakeInspect(FakeInterface):
    """What the row's properties say is what is found, and a small machine before they say anything."""

    def inspect(self, node: Node, deadline: Deadline) -> Inventory:
        take(node, conf.inspect_delay, deadline)
        known = node.properties
        return Inventory(
            memory=Memory(_number(known, "memory_mb", 4096)),
            cpu=Cpu(count=_number(known, "cpus", 4), architecture=str(known.get("cpu_arch") or "x86_64")),
            disks=[Disk("disk-0", (_number(known, "local_gb", 39) + 1) * GIB)],
            interfaces=[Interface(_mac(node.uuid), "eth0")],
            system_vendor=SystemVendor(manufacturer="fake"),
            boot=Boot(node.boot_mode or BootMode.UEFI),
        )


def _number(known: Mapping[str, Any], name: str, otherwise: int) -> int:
    try:
        return max(0, int(known[name]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return otherwise


def _mac(uuid: str) -> str:
    """An address that is the node's alone: locally administered, 40 bits drawn from its UUID."""
    return ":".join(f"{one:02x}" for one in (0x02, *hashlib.blake2b(uuid.encode(), digest_size=5).digest()))
