"""The Redfish documents of what a machine is made of: processors, memory, networks, storage, BIOS, firmware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ironic_lite.fleet import hardware
from ironic_lite.fleet.device import Identity
from ironic_lite.fleet.documents import (
    CONTROLLER,
    DRIVES,
    ENCLOSURE,
    MANAGER,
    ROOT,
    STORAGE,
    SYSTEM,
    Document,
    described,
    links,
    status,
)  # fmt: skip
from ironic_lite.fleet.hardware import Hardware
from ironic_lite.fleet.machine import BootMode, Health, Machine

PROCESSORS, MEMORY, NETWORK = f"{SYSTEM}/Processors", f"{SYSTEM}/Memory", f"{SYSTEM}/EthernetInterfaces"
ADAPTERS, ADAPTER = f"{ENCLOSURE}/NetworkAdapters", f"{ENCLOSURE}/NetworkAdapters/NIC1"
BIOS: Final = f"{SYSTEM}/Bios"
REGISTRY: Final = "BiosAttributeRegistry.v1_0_0"
REGISTRIES, REGISTRY_FILE = f"{ROOT}/Registries", f"{ROOT}/Registries/{REGISTRY}"
REGISTRY_DOCUMENT: Final = f"{REGISTRY_FILE}/registry"
UPDATE_SERVICE, FIRMWARE = f"{ROOT}/UpdateService", f"{ROOT}/UpdateService/FirmwareInventory"


def processors(identity: Identity) -> list[Document]:
    """Each processor."""
    made = Hardware(identity.serial)
    return [
        described(
            f"{PROCESSORS}/CPU{number}",
            "Processor.v1_11_0.Processor",
            f"Processor {number}",
            Socket=f"CPU{number}",
            ProcessorType="CPU",
            ProcessorArchitecture="x86",
            InstructionSet="x86-64",
            Manufacturer="Fleet",
            Model="Simulated CPU",
            MaxSpeedMHz=3200,
            TotalCores=made.cores,
            TotalThreads=2 * made.cores,
            Status=status(Health.OK),
        )
        for number in range(1, made.sockets + 1)
    ]


def memory(identity: Identity) -> list[Document]:
    """Each memory module."""
    return [
        described(
            f"{MEMORY}/DIMM{number}",
            "Memory.v1_9_0.Memory",
            f"Module {number}",
            MemoryDeviceType="DDR4",
            CapacityMiB=gib * 1024,
            OperatingSpeedMhz=3200,
            Status=status(Health.OK),
        )
        for number, gib in enumerate(Hardware(identity.serial).modules_gib, start=1)
    ]


def network(identity: Identity, machine: Machine) -> list[Document]:
    """Each network port."""
    return [
        described(
            f"{NETWORK}/NIC1-{number}",
            "EthernetInterface.v1_6_0.EthernetInterface",
            f"Network port {number}",
            MACAddress=mac.upper(),
            PermanentMACAddress=mac.upper(),
            SpeedMbps=25000,
            LinkStatus="LinkUp",
            InterfaceEnabled=True,
            Status=status(machine.health),
        )
        for number, mac in enumerate(Hardware(identity.serial).macs, start=1)
    ]


def drives(identity: Identity, machine: Machine) -> list[Document]:
    """Each drive; its health is the machine's."""
    return [
        described(
            f"{DRIVES}/{number}",
            "Drive.v1_11_0.Drive",
            f"Drive {number}",
            Manufacturer=identity.manufacturer,
            Model="Simulated Drive",
            SerialNumber=f"{identity.serial}-D{number}",
            CapacityBytes=size,
            MediaType="SSD",
            Protocol="NVMe",
            LocationIndicatorActive=f"{DRIVES}/{number}" in machine.lights,
            Status=status(machine.health),
        )
        for number, size in enumerate(Hardware(identity.serial).drives_bytes, start=1)
    ]


def storage(_identity: Identity, _machine: Machine) -> Document:
    """The one storage controller."""
    paths = (f"{DRIVES}/{number}" for number in range(1, hardware.DRIVES + 1))
    return described(CONTROLLER, "Storage.v1_10_0.Storage", "Storage", Status=status(Health.OK), Drives=links(*paths))


def adapter(identity: Identity, _machine: Machine) -> Document:
    """The one network adapter, with the version of its firmware."""
    controller = {"FirmwarePackageVersion": hardware.NIC_VERSION, "ControllerCapabilities": {"NetworkPortCount": 2}}
    return described(
        ADAPTER,
        "NetworkAdapter.v1_5_0.NetworkAdapter",
        "Network adapter",
        Manufacturer=identity.manufacturer,
        Model="Simulated NIC",
        SerialNumber=f"{identity.serial}-N1",
        Controllers=[controller],
        Status=status(Health.OK),
    )


def attributes(identity: Identity, machine: Machine) -> dict[str, object]:
    """The BIOS settings: of every type that Redfish has."""
    return {
        "AdminPassword": None,
        "AssetTag": identity.serial,
        "BootMode": "Uefi" if machine.boot_mode is BootMode.UEFI else "Bios",
        "BootTimeoutSeconds": 5,
        "MemTest": False,
        "ProcHyperthreading": "Enabled",
        "SystemBiosVersion": hardware.BIOS_VERSION,
    }


def bios(identity: Identity, machine: Machine) -> Document:
    """The BIOS, with its settings."""
    return described(
        BIOS,
        "Bios.v1_1_0.Bios",
        "BIOS",
        AttributeRegistry=REGISTRY,
        Attributes=attributes(identity, machine),
    )


# What the registry says of each attribute beside its name (DSP0268, AttributeRegistry).
_REGISTERED: Final[dict[str, dict[str, object]]] = {
    "AdminPassword": {"Type": "Password", "MinLength": 8, "MaxLength": 32},
    "AssetTag": {"Type": "String", "MinLength": 0, "MaxLength": 63, "IsSystemUniqueProperty": True},
    "BootMode": {"Type": "Enumeration", "Value": [{"ValueName": "Uefi"}, {"ValueName": "Bios"}], "ResetRequired": True},
    "BootTimeoutSeconds": {"Type": "Integer", "LowerBound": 0, "UpperBound": 3600, "ResetRequired": True},
    "MemTest": {"Type": "Boolean", "ResetRequired": True},
    "ProcHyperthreading": {"Type": "Enumeration", "Value": [{"ValueName": "Enabled"}, {"ValueName": "Disabled"}]},
    "SystemBiosVersion": {"Type": "String", "ReadOnly": True, "MinLength": 0, "MaxLength": 32},
}


def registry(_identity: Identity, _machine: Machine) -> Document:
    """What each BIOS setting may be."""
    entries = [{"AttributeName": name, "ReadOnly": False, **told} for name, told in _REGISTERED.items()]
    return described(
        REGISTRY_DOCUMENT,
        "AttributeRegistry.v1_3_0.AttributeRegistry",
        "BIOS attribute registry",
        Language="en",
        OwningEntity="Fleet",
        RegistryVersion="1.0.0",
        RegistryEntries={"Attributes": entries},
    ) | {"Id": REGISTRY}


def registry_file(_identity: Identity, _machine: Machine) -> Document:
    """Where the registry is."""
    return described(
        REGISTRY_FILE,
        "MessageRegistryFile.v1_1_0.MessageRegistryFile",
        "BIOS attribute registry file",
        Languages=["en"],
        Registry=REGISTRY,
        Location=[{"Language": "en", "Uri": REGISTRY_DOCUMENT}],
    )


def update_service(_identity: Identity, _machine: Machine) -> Document:
    """The UpdateService, which lists firmware and updates none."""
    return described(
        UPDATE_SERVICE,
        "UpdateService.v1_8_0.UpdateService",
        "Update service",
        ServiceEnabled=False,
        Actions={},
        FirmwareInventory={"@odata.id": FIRMWARE},
    )


def firmware(_identity: Identity, _machine: Machine) -> list[Document]:
    """Each piece of firmware, with what it runs on."""
    versions = {"BIOS": (hardware.BIOS_VERSION, BIOS), "BMC": (hardware.BMC_VERSION, MANAGER)}
    versions["NIC1"] = (hardware.NIC_VERSION, ADAPTER)
    return [
        described(
            f"{FIRMWARE}/{name}",
            "SoftwareInventory.v1_4_0.SoftwareInventory",
            f"{name} firmware",
            Version=version,
            Updateable=False,
            RelatedItem=links(path),
            Status=status(Health.OK),
        )
        for name, (version, path) in versions.items()
    ]


class Listed(NamedTuple):
    """A collection: what its members are counted as, their kind in Redfish, and what makes them."""

    counted: str
    kind: str
    members: Callable[[Identity, Machine], list[Document]]


LISTS: Final[dict[str, Listed]] = {
    PROCESSORS: Listed("processor", "Processor", lambda identity, _: processors(identity)),
    MEMORY: Listed("memory-module", "Memory", lambda identity, _: memory(identity)),
    NETWORK: Listed("network-port", "EthernetInterface", network),
    STORAGE: Listed("storage", "Storage", lambda identity, machine: [storage(identity, machine)]),
    ADAPTERS: Listed("network-adapter", "NetworkAdapter", lambda identity, machine: [adapter(identity, machine)]),
    REGISTRIES: Listed("registry-file", "MessageRegistryFile", lambda one, machine: [registry_file(one, machine)]),
    FIRMWARE: Listed("firmware", "SoftwareInventory", firmware),
}
# What is no member of a collection: what it is counted as, and what makes it.
SINGLE: Final[dict[str, tuple[str, Callable[[Identity, Machine], Document]]]] = {
    BIOS: ("bios", bios),
    REGISTRY_DOCUMENT: ("registry", registry),
    UPDATE_SERVICE: ("update-service", update_service),
}
