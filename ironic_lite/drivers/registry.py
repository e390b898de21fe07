"""Which drivers there are, and the one shared object behind each interface name.

*Guarantees.* Importing this module imports no BMC library: an implementation is imported at its first use. There is one
instance of each implementation in a process, whichever threads ask first.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from typing import Any, Final, cast

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import INTERFACE_KINDS, Node
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import HardwareType, ManagementInterface, PowerInterface

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
            "power": {"fake": "ironic_lite.drivers.fake:FakePower"},
            "management": {"fake": "ironic_lite.drivers.fake:FakeManagement"},
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


def _implementation(driver: str, kind: str, value: str | None) -> Any:
    name = value if value is not None else default_interfaces(driver)[kind]
    check_interface(driver, kind, name or "")
    target = load(driver).interfaces[kind][name or ""] or ""
    with _LOCK:
        if target not in _LOADED:
            module, _, cls = target.partition(":")
            _LOADED[target] = getattr(importlib.import_module(module), cls)()
        return _LOADED[target]
