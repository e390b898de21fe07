"""Which drivers there are, and the one shared object behind each interface name.

*Guarantees.* Importing this module imports no BMC library: an implementation is imported at its first use. There is one
instance of each implementation in a process, whichever threads ask first.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import INTERFACE_KINDS, Node
from ironic_lite.domain.steps import INTERFACE_ORDER
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import (
    BIOSInterface,
    DeployInterface,
    FirmwareInterface,
    HardwareType,
    InspectInterface,
    ManagementInterface,
    PowerInterface,
    RescueInterface,
)
from ironic_lite.drivers.steps import Offer, offered

# What redfish and ipmi have of every other kind: a name that clients know, and nothing behind it.
_NAMES_ONLY: Final[Mapping[str, Mapping[str, None]]] = {
    "bios": {"no-bios": None},
    "boot": {},
    "console": {"no-console": None},
    "deploy": {"noop": None},
    "firmware": {"no-firmware": None},
    "inspect": {"no-inspect": None},
    "network": {"noop": None},
    "raid": {"no-raid": None},
    "rescue": {"no-rescue": None},
    "storage": {"noop": None},
    "vendor": {"no-vendor": None},
}

HARDWARE_TYPES: Final = (
    HardwareType(
        name="redfish",
        interfaces={
            **_NAMES_ONLY,
            "power": {"redfish": "ironic_lite.drivers.redfish.power:RedfishPower"},
            "management": {"redfish": "ironic_lite.drivers.redfish.management:RedfishManagement"},
            "bios": {"redfish": "ironic_lite.drivers.redfish.bios:RedfishBIOS", "no-bios": None},
            "firmware": {"redfish": "ironic_lite.drivers.redfish.firmware:RedfishFirmware", "no-firmware": None},
            "inspect": {"redfish": "ironic_lite.drivers.redfish.inspect:RedfishInspect", "no-inspect": None},
        },
    ),
    HardwareType(
        # The names are Ironic's, which clients send. Behind them is pyghmi; the program ipmitool only stands in.
        name="ipmi",
        interfaces={
            **_NAMES_ONLY,
            "power": {"ipmitool": "ironic_lite.drivers.ipmi.power:IPMIPower"},
            "management": {"ipmitool": "ironic_lite.drivers.ipmi.management:IPMIManagement"},
        },
    ),
    HardwareType(
        name="fake-hardware",
        interfaces={
            **{kind: {"fake": None} for kind in INTERFACE_KINDS},
            "network": {"noop": None},
            "storage": {"noop": None, "fake": None},
            "deploy": {"fake": "ironic_lite.drivers.fake_life:FakeDeploy"},
            "power": {"fake": "ironic_lite.drivers.fake:FakePower"},
            "raid": {"fake": "ironic_lite.drivers.fake_life:FakeRaid"},
            "rescue": {"fake": "ironic_lite.drivers.fake_life:FakeRescue"},
            "vendor": {"fake": "ironic_lite.drivers.fake_life:FakeVendor"},
            "management": {"fake": "ironic_lite.drivers.fake:FakeManagement"},
            "bios": {"fake": "ironic_lite.drivers.fake_parts:FakeBIOS", "no-bios": None},
            "firmware": {"fake": "ironic_lite.drivers.fake_parts:FakeFirmware", "no-firmware": None},
            "inspect": {"fake": "ironic_lite.drivers.fake_parts:FakeInspect", "no-inspect": None},
        },
    ),
)

_LOCK: Final = threading.Lock()
_LOADED: Final[dict[str, Any]] = {}


def load(name: str) -> HardwareType:
    """The hardware type of that name. Raises `DriverNotFound`."""
    for hardware_type in HARDWARE_TYPES:
        if hardware_type.name == name:
            return hardware_type
    raise errors.DriverNotFound(driver=name)


def power(node: Node) -> PowerInterface:
    """The node's power interface. Raises `DriverNotFound`, `Invalid`."""
    return cast("PowerInterface", _implementation(node.driver, "power", node.power_interface))


def management(node: Node) -> ManagementInterface:
    """The node's management interface. Raises `DriverNotFound`, `Invalid`."""
    return cast("ManagementInterface", _implementation(node.driver, "management", node.management_interface))


def deploy(node: Node) -> DeployInterface:
    """The node's deploy interface. Raises `UnsupportedByDriver` where only its name is there."""
    return cast("DeployInterface", _demanded(node, "deploy"))


def deploy_or_none(node: Node) -> DeployInterface | None:
    """The node's deploy interface, or None where only its name is there."""
    return cast("DeployInterface | None", _of(node, "deploy"))


def rescue(node: Node) -> RescueInterface:
    """The node's rescue interface. Raises `UnsupportedByDriver` where only its name is there."""
    return cast("RescueInterface", _demanded(node, "rescue"))


def steps(node: Node) -> dict[tuple[str, str], Offer]:
    """Every step of the node's interfaces, by interface and name."""
    return _steps(node.driver, tuple((kind, getattr(node, f"{kind}_interface")) for kind in INTERFACE_ORDER))


@lru_cache(maxsize=256)
def _steps(driver: str, interfaces: tuple[tuple[str, str | None], ...]) -> dict[tuple[str, str], Offer]:
    found = ((kind, _there(driver, kind, value)) for kind, value in interfaces)
    every = (offer for kind, one in found if one is not None for offer in offered(kind, one))
    return {(offer.interface, offer.name): offer for offer in every}


def bios(node: Node) -> BIOSInterface:
    """The node's BIOS interface. Raises `UnsupportedByDriver` where only its name is there."""
    return cast("BIOSInterface", _demanded(node, "bios"))


def firmware(node: Node) -> FirmwareInterface:
    """The node's firmware interface. Raises `UnsupportedByDriver` where only its name is there."""
    return cast("FirmwareInterface", _demanded(node, "firmware"))


def inspect(node: Node) -> InspectInterface:
    """The node's inspect interface. Raises `UnsupportedByDriver` where only its name is there."""
    return cast("InspectInterface", _demanded(node, "inspect"))


def has(node: Node, kind: str) -> bool:
    """Whether more than a name is behind the node's interface of that kind. Raises `DriverNotFound`, `Invalid`."""
    value = getattr(node, f"{kind}_interface")
    if value is not None:
        check_interface(node.driver, kind, value)
    return _of(node, kind) is not None


def properties(name: str) -> dict[str, str]:
    """Each driver_info key of a driver and its meaning. Raises `DriverNotFound`."""
    merged: dict[str, str] = {}
    for kind in ("power", "management"):
        merged |= _implementation(name, kind, None).properties
    return dict(sorted(merged.items()))


def default_interfaces(name: str) -> dict[str, str | None]:
    """For each kind the interface that a node of this driver gets when nobody names one. Raises `DriverNotFound`."""
    interfaces = load(name).interfaces
    return {kind: next(iter(interfaces[kind]), None) for kind in INTERFACE_KINDS}


def check_interface(name: str, kind: str, value: str) -> None:
    """Raise `Invalid` when the driver has no interface `value` of this kind; `DriverNotFound` for the driver itself."""
    allowed = load(name).interfaces[kind]
    if value not in allowed:
        raise errors.Invalid(
            reason=f"The {kind}_interface {value!r} is not one of driver {name!r}; "
            f"allowed are: {', '.join(allowed) or 'none'}."
        )


def close_all(deadline: Deadline) -> None:
    """Log out of the BMCs that hold a session of ours, and end the I/O loop; for the orderly end of a process."""
    with _LOCK:
        closers = [loaded.close_all for loaded in _LOADED.values() if hasattr(loaded, "close_all")]
    for close in closers:
        close(deadline)
    IO.stop(deadline)


def _demanded(node: Node, kind: str) -> Any:
    found = _of(node, kind)
    if found is None:
        having = [name for name, target in load(node.driver).interfaces[kind].items() if target is not None]
        name = getattr(node, f"{kind}_interface") or "none"
        raise errors.UnsupportedByDriver(
            interface=kind, node=node.label, what=f"this as {name!r}", supported=", ".join(having) or "none"
        )
    return found


def _of(node: Node, kind: str) -> Any | None:
    """The node's implementation of that kind, or None where it has no more than a name, or not even that."""
    return _there(node.driver, kind, getattr(node, f"{kind}_interface"))


def _there(driver: str, kind: str, value: str | None) -> Any | None:
    name = value if value is not None else default_interfaces(driver)[kind]
    if name is None or load(driver).interfaces[kind].get(name) is None:
        return None
    return _implementation(driver, kind, name)


def _implementation(driver: str, kind: str, value: str | None) -> Any:
    name = value if value is not None else default_interfaces(driver)[kind]
    check_interface(driver, kind, name or "")
    target = load(driver).interfaces[kind][name or ""] or ""
    with _LOCK:
        if target not in _LOADED:
            module, _, cls = target.partition(":")
            _LOADED[target] = getattr(importlib.import_module(module), cls)()
        return _LOADED[target]
