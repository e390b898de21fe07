"""fake-hardware: what a machine that is nothing but its row is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from ironic_lite.clock import Deadline
from ironic_lite.config import Section
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.firmware import BIOS, BMC, Component
from ironic_lite.domain.inventory import GIB, Boot, Cpu, Disk, Interface, Inventory, Memory, SystemVendor
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootMode
from ironic_lite.drivers.fake import Delay, take

SETTINGS: Final = (
    Setting("BootMode", "Uefi", "Enumeration", ["Uefi", "Bios"], reset_required=True, read_only=False),
    Setting("MemTest", "false", "Boolean", [], reset_required=True, read_only=False),
)
COMPONENTS: Final = (Component(BIOS, "1.0"), Component(BMC, "1.0"))


class conf(Section, name="fake"):  # a section reads as `conf.option`
    """How slow the fake machine tells of itself."""

    bios_delay = Delay("0", help='Seconds that reading BIOS settings takes: "a", or "a,b" for a random one.')
    firmware_delay = Delay("0", help='Seconds that reading firmware takes: "a", or "a,b" for a random one.')
    inspect_delay = Delay("0", help='Seconds that an inspection takes: "a", or "a,b" for a random one.')


class _Fake:
    properties: Mapping[str, str] = {}

    def check(self, node: Node) -> None:
        """Nothing in driver_info can be wrong."""


class FakeBIOS(_Fake):
    """Two settings, the same for every machine."""

    def settings(self, node: Node, deadline: Deadline) -> list[Setting]:
        take(node, conf.bios_delay, deadline)
        return list(SETTINGS)


class FakeFirmware(_Fake):
    """Two pieces, the same for every machine."""

    def components(self, node: Node, deadline: Deadline) -> list[Component]:
        take(node, conf.firmware_delay, deadline)
        return list(COMPONENTS)


class FakeInspect(_Fake):
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
