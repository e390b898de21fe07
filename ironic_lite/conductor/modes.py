"""Boot mode and secure boot: change them on request. The machine may be restarted for that."""

from __future__ import annotations

from typing import Any

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.locks import NodeLock, Pausing, Result
from ironic_lite.db import nodes
from ironic_lite.db.history import Event
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import UNSTABLE, BootMode
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import ManagementInterface


@rpc.method
def change_boot_mode(conductor: Conductor, node: str, target: BootMode) -> None:
    """Check the request while the caller waits; do it in the background."""
    row = nodes.get(conductor.database, node)
    driver = _checked(row, "boot mode")
    with conductor.pool.slot(Work.ACTIONS, f"boot mode of node {row.label}") as slot:
        lock = NodeLock(conductor, row, "boot mode", _coming(row))
        lock.continue_in(slot, _set_boot_mode, _failed, driver, target)


@rpc.method
def change_secure_boot(conductor: Conductor, node: str, target: bool) -> None:  # noqa: FBT001  # the wire names it
    """Check the request while the caller waits; do it in the background."""
    row = nodes.get(conductor.database, node)
    driver = _checked(row, "secure boot")
    with conductor.pool.slot(Work.ACTIONS, f"secure boot of node {row.label}") as slot:
        lock = NodeLock(conductor, row, "secure boot", _coming(row))
        lock.continue_in(slot, _set_secure_boot, _failed, driver, target)


def _checked(node: Node, what: str) -> ManagementInterface:
    if node.reservation is not None:
        raise errors.NodeLocked(node=node.uuid, host=node.reservation, purpose=node.lock_purpose)
    if node.provision_state in UNSTABLE:
        raise errors.Conflict(
            reason=f'The {what} of node {node.uuid} can not be changed while it is in state "{node.provision_state}".'
        )
    driver = registry.management(node)
    driver.check(node)
    return driver


def _coming(node: Node) -> dict[str, Any]:
    """Why a node failed stays there to be read."""
    return {} if node.provision_state.endswith("failed") else {"last_error": None}


def _set_boot_mode(lock: NodeLock, driver: ManagementInterface, mode: BootMode) -> Pausing:
    deadline = Deadline(lock.conductor.clock, driver.mode_change_s)
    done = Result({"boot_mode": mode}, Event(lock.purpose, "INFO", f'The boot mode is now "{mode}".'))
    if registry.power(lock.node).read(lock.node, deadline).boot_mode != mode:
        yield from driver.set_boot_mode(lock.node, mode, lock.attempt(deadline))
    return done


def _set_secure_boot(lock: NodeLock, driver: ManagementInterface, on: bool) -> Pausing:  # noqa: FBT001  # the value
    deadline = Deadline(lock.conductor.clock, driver.mode_change_s)
    done = Result({"secure_boot": on}, Event(lock.purpose, "INFO", f"Secure boot is now {'on' if on else 'off'}."))
    if driver.secure_boot(lock.node, deadline) is not on:
        yield from driver.set_secure_boot(lock.node, on, lock.attempt(deadline))
    return done


def _failed(lock: NodeLock, reason: str) -> Result:
    text = f"Failed to change the {lock.purpose} of node {lock.node.uuid}: {reason}"
    return Result({"last_error": text}, Event(lock.purpose, "ERROR", text))
