"""Power: change it on request."""

from __future__ import annotations

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.locks import NodeLock, Result
from ironic_lite.config import Int, Section
from ironic_lite.db import nodes
from ironic_lite.db.nodes import Event
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import NO_POWER_CHANGE, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import PowerInterface


class conf(Section, name="conductor"):
    """Power."""

    power_state_change_timeout = Int(60, min=2, help="Seconds that a machine may take for a power change.")
    soft_power_off_timeout = Int(600, min=1, help="Seconds that a machine may take for a soft power off or reboot.")


@rpc.method
def change_power(conductor: Conductor, node: str, target: PowerTarget, timeout_s: int | None = None) -> None:
    """Check the request while the caller waits; do it in the background."""
    row = nodes.get(conductor.database, node)
    driver = registry.power(row)
    _check_request(row, driver, target)
    kept = {} if row.provision_state.endswith("failed") else {"last_error": None}
    with conductor.pool.slot(Work.ACTIONS, f"power of node {row.label}") as slot:
        lock = NodeLock(conductor, row, target, {"target_power_state": target.settles_as, **kept})
        lock.continue_in(slot, _set_power, failed, driver, target, timeout_s)


def _check_request(node: Node, driver: PowerInterface, target: PowerTarget) -> None:
    if node.reservation is not None:
        raise errors.NodeLocked(node=node.uuid, host=node.reservation, purpose=node.lock_purpose)
    if node.provision_state in NO_POWER_CHANGE:
        raise errors.InvalidState(verb=target, node=node.uuid, state=node.provision_state)
    if node.disable_power_off and target in (PowerTarget.OFF, PowerTarget.SOFT_OFF):
        raise errors.Conflict(reason=f"Node {node.uuid} must not be powered off: its disable_power_off is set.")
    if target not in driver.targets:
        allowed = ", ".join(sorted(driver.targets))
        raise errors.UnsupportedByDriver(interface="power", node=node.uuid, what=f'"{target}"', supported=allowed)
    driver.check(node)


def bring(lock: NodeLock, driver: PowerInterface, target: PowerTarget, timeout_s: int | None = None) -> None:
    """See to it that the machine gets there, within that time or the configured one."""
    default_s = conf.soft_power_off_timeout if target.soft else conf.power_state_change_timeout
    deadline = Deadline(lock.conductor.clock, timeout_s or default_s)
    if target.always_acts or driver.read(lock.node, deadline).power != target.settles_as:
        driver.change(lock.node, target, lock.attempt(deadline))


def _set_power(lock: NodeLock, driver: PowerInterface, target: PowerTarget, timeout_s: int | None) -> Result:
    bring(lock, driver, target, timeout_s)
    return Result(
        {"power_state": target.settles_as, "target_power_state": None},
        Event("power", "INFO", f'Power changed by "{target}": the machine is now "{target.settles_as}".'),
    )


def failed(lock: NodeLock, reason: str) -> Result:
    """What a change of power leaves behind that did not succeed."""
    text = f'Failed to change the power of node {lock.node.uuid} by "{lock.purpose}": {reason}'
    return Result({"target_power_state": None, "last_error": text}, Event("power", "ERROR", text))
