"""What a machine is made of, as an inspection found it, and what follows from that for its node. Pure.

The shape is that of ironic-python-agent's inventory, which clients decode by type: `frequency` is a text there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.domain.states import BootMode

GIB: Final = 1024**3
# Smaller disks hold no operating system; and a GiB is left free at the end of the disk (Ironic's rules).
SMALLEST_ROOT_BYTES: Final = 4 * GIB
KEPT_FREE_GIB: Final = 1


class Memory(msgspec.Struct, frozen=True):
    """All memory modules together."""

    physical_mb: int


class Cpu(msgspec.Struct, frozen=True):
    """The processors: `count` is of threads, `frequency` in MHz."""

    count: int
    architecture: str | None = None
    model_name: str | None = None
    frequency: str | None = None


class Disk(msgspec.Struct, frozen=True):
    """One disk; `size` in bytes."""

    name: str
    size: int
    vendor: str | None = None
    model: str | None = None
    serial: str | None = None
    rotational: bool | None = None


class Interface(msgspec.Struct, frozen=True):
    """One network port; its address in lower case with colons."""

    mac_address: str
    name: str
    speed_mbps: int | None = None


class SystemVendor(msgspec.Struct, frozen=True):
    """Who made the machine."""

    product_name: str | None = None
    serial_number: str | None = None
    manufacturer: str | None = None
    system_uuid: str | None = None


class Boot(msgspec.Struct, frozen=True):
    """How the machine boots."""

    current_boot_mode: BootMode | None = None


class Inventory(msgspec.Struct, frozen=True):
    """A machine's parts. What the BMC does not tell is None or missing from its list."""

    memory: Memory | None = None
    cpu: Cpu | None = None
    disks: list[Disk] = []
    interfaces: list[Interface] = []
    system_vendor: SystemVendor = SystemVendor()
    boot: Boot = Boot()

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def properties(node: str, inventory: Inventory, known: Mapping[str, Any]) -> dict[str, Any]:
    """The node's properties after the inspection: those `known`, with what was found in their place.

    Raises `InventoryIncomplete` where memory or architecture is not told: no instance could be scheduled by that.
    """
    architecture = inventory.cpu.architecture if inventory.cpu else None
    essential = {"memory": inventory.memory, "the processors' architecture": architecture}
    missing = [what for what, value in essential.items() if not value]
    if missing or inventory.memory is None:
        raise errors.InventoryIncomplete(node=node, missing=" and ".join(missing))
    found = {"memory_mb": inventory.memory.physical_mb, "cpu_arch": architecture, "local_gb": _local_gb(inventory)}
    return {**known, **found, **_capabilities(inventory, known)}


def plugin_data(inventory: Inventory) -> dict[str, Any]:
    """What Ironic's inspection hooks leave beside the inventory."""
    ports = {
        one.name: {**msgspec.to_builtins(one), "pxe_enabled": False, "ipv6_address": None}
        for one in inventory.interfaces
    }
    return {"all_interfaces": ports, "valid_interfaces": ports, "macs": macs(inventory)}


def macs(inventory: Inventory) -> list[str]:
    """The address of each port that the node should have, once."""
    return list(dict.fromkeys(one.mac_address for one in inventory.interfaces))


def _local_gb(inventory: Inventory) -> int:
    """The smallest disk that can be a root disk; 0 for a machine without one."""
    sizes = [disk.size for disk in inventory.disks if disk.size >= SMALLEST_ROOT_BYTES]
    return min(sizes) // GIB - KEPT_FREE_GIB if sizes else 0


def _capabilities(inventory: Inventory, known: Mapping[str, Any]) -> dict[str, str]:
    """The capabilities with the boot mode among them, the others as they were."""
    mode = inventory.boot.current_boot_mode
    if mode is None:
        return {}
    pairs = [pair for pair in str(known.get("capabilities") or "").split(",") if pair]
    others = [pair for pair in pairs if pair.partition(":")[0].strip() != "boot_mode"]
    return {"capabilities": ",".join([*others, f"boot_mode:{mode}"])}
