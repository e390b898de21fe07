"""What a Redfish machine is made of, read from its BMC while the machine itself does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain import names
from ironic_lite.domain.inventory import Boot, Cpu, Disk, Interface, Inventory, Memory, SystemVendor
from ironic_lite.domain.node import Node
from ironic_lite.drivers.redfish import client
from ironic_lite.drivers.redfish.account import PROPERTIES, account
from ironic_lite.drivers.redfish.poll import BOOT_MODES
from ironic_lite.drivers.redfish.walk import Document, Walk, integer, text

MIB_PER_GIB: Final = 1024
# Redfish's instruction sets and architectures, as Linux calls them.
ARCHITECTURES: Final[Mapping[str, str]] = {
    "x86-64": "x86_64", "x86": "x86_64", "ARM-A64": "aarch64", "ARM": "aarch64", "ARM-A32": "arm", "IA-64": "ia64",
    "PowerISA": "ppc64le", "Power": "ppc64le", "MIPS64": "mips64", "RV64": "riscv64", "RISC-V": "riscv64",
    "LoongArch64": "loongarch64",
}  # fmt: skip


class RedfishInspect:
    """The inspect interface of the hardware type `redfish`."""

    properties = PROPERTIES

    def check(self, node: Node) -> None:
        account(node)

    def inspect(self, node: Node, deadline: Deadline) -> Inventory:
        with client.visit(node, deadline) as system:
            return inventory(Walk(system))


def inventory(walk: Walk) -> Inventory:
    """Everything, in some twenty requests for a machine of two processors and two drives."""
    system = walk.system
    mode = (system.get("Boot") or {}).get("BootSourceOverrideMode")
    return Inventory(
        memory=_memory(walk),
        cpu=_cpu(walk),
        disks=_disks(walk),
        interfaces=_interfaces(walk),
        system_vendor=SystemVendor(
            product_name=text(system.get("Model")),
            serial_number=text(system.get("SerialNumber")),
            manufacturer=text(system.get("Manufacturer")),
            system_uuid=text(system.get("UUID")),
        ),
        boot=Boot(BOOT_MODES.get(mode) if mode else None),
    )


def _memory(walk: Walk) -> Memory | None:
    """The sum that the System tells, or else that of its modules."""
    told = (walk.system.get("MemorySummary") or {}).get("TotalSystemMemoryGiB")
    if told:
        return Memory(int(told * MIB_PER_GIB))
    modules = sum(module.get("CapacityMiB") or 0 for module in walk.members(walk.system, "Memory"))
    return Memory(modules) if modules else None


def _cpu(walk: Walk) -> Cpu | None:
    """The processors, but not graphics and other accelerators, which are listed among them."""
    every = walk.members(walk.system, "Processors")
    found = [one for one in every if one.get("ProcessorType") in {None, "CPU"} and _present(one)]
    if not found:
        return None
    first = found[0]
    kinds = [text(first.get(name)) or "" for name in ("InstructionSet", "ProcessorArchitecture")]
    return Cpu(
        count=sum(one.get("TotalThreads") or one.get("TotalCores") or 1 for one in found),
        architecture=next((ARCHITECTURES[kind] for kind in kinds if kind in ARCHITECTURES), None),
        model_name=text(first.get("Model")),
        frequency=text(first.get("MaxSpeedMHz")),
    )


def _disks(walk: Walk) -> list[Disk]:
    """Drives that are resources of their own, or else those that a simple controller lists."""
    drives = [drive for one in walk.members(walk.system, "Storage") for drive in walk.each(one.get("Drives"))]
    if not drives:
        drives = [device for one in walk.members(walk.system, "SimpleStorage") for device in one.get("Devices") or ()]
    return [_disk(drive) for drive in drives if integer(drive.get("CapacityBytes")) and _present(drive)]


def _disk(drive: Document) -> Disk:
    return Disk(
        name=text(drive.get("Name")) or "",
        size=drive["CapacityBytes"],
        vendor=text(drive.get("Manufacturer")),
        model=text(drive.get("Model")),
        serial=text(drive.get("SerialNumber")),
        rotational=drive["MediaType"] == "HDD" if drive.get("MediaType") else None,
    )


def _interfaces(walk: Walk) -> list[Interface]:
    """The network ports that have an address and are not broken."""
    interfaces = []
    for port in walk.members(walk.system, "EthernetInterfaces"):
        mac = _mac(port.get("MACAddress") or port.get("PermanentMACAddress"))
        if mac is not None and _present(port) and (port.get("Status") or {}).get("Health") in {None, "OK"}:
            interfaces.append(Interface(mac, text(port.get("Id")) or mac, integer(port.get("SpeedMbps"))))
    return interfaces


def _mac(text: Any) -> str | None:
    try:
        return names.mac("MACAddress", text) if isinstance(text, str) else None
    except errors.Invalid:  # addresses of InfiniBand are longer
        return None


def _present(part: Document) -> bool:
    return (part.get("Status") or {}).get("State") != "Absent"
