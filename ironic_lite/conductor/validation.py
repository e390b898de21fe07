"""Whether a node's interfaces can work with what its driver_info says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor
from ironic_lite.db import nodes
from ironic_lite.domain.node import INTERFACE_KINDS, Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import (
    BIOSInterface,
    FirmwareInterface,
    InspectInterface,
    ManagementInterface,
    PowerInterface,
)

Checked = PowerInterface | ManagementInterface | BIOSInterface | FirmwareInterface | InspectInterface

# What Ironic answers for; vendor has no validation of its own there.
KINDS: Final = tuple(kind for kind in INTERFACE_KINDS if kind != "vendor")
_CHECKS: Final[dict[str, Callable[[Node], Checked]]] = {
    "power": registry.power,
    "management": registry.management,
    "bios": registry.bios,
    "firmware": registry.firmware,
    "inspect": registry.inspect,
}


class Validation(msgspec.Struct, frozen=True):
    """True, False with a reason, or None where there is nothing to validate."""

    result: bool | None
    reason: str | None = None


@rpc.method
def validate_interfaces(conductor: Conductor, node: str) -> dict[str, Validation]:
    """One answer for each kind of interface. Asks no BMC."""
    row = nodes.get(conductor.database, node)
    return {kind: _validate(row, kind) for kind in KINDS}


def _validate(node: Node, kind: str) -> Validation:
    if kind not in _CHECKS:
        return _named_only(node, kind)
    try:
        if not registry.has(node, kind):
            return _named_only(node, kind)
        _CHECKS[kind](node).check(node)
    except errors.Error as exc:
        return Validation(result=False, reason=str(exc))
    return Validation(result=True)


def _named_only(node: Node, kind: str) -> Validation:
    """Interfaces behind which nothing is: "no-..." says so itself, "noop" and "fake" are always right."""
    names = registry.load(node.driver).interfaces.get(kind, {})
    if not names:
        return Validation(result=False, reason=f"Driver {node.driver} has no {kind} interface yet.")
    if (getattr(node, f"{kind}_interface", None) or next(iter(names))).startswith("no-"):
        return Validation(result=None, reason="not supported")
    return Validation(result=True)
