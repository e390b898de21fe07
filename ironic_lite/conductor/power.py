"""Power: change it on request."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.locks import NodeLock, Pausing, Result
from ironic_lite.config import Bool, Int, Section
from ironic_lite.db import nodes
from ironic_lite.db.history import Event
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import NO_POWER_CHANGE, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Attempt, PowerInterface


class conf(Section, name="conductor"):
    """Power."""

    power_state_change_timeout = Int(60, min=2, help="Seconds that a machine may take for a power change.")
    soft_power_off_timeout = Int(600, min=1, help="Seconds that a machine may take for a soft power off or reboot.")
    soft_power_off_fallback = Bool(
        False, mutable=True, help="Whether a machine that does not shut down in that time is powered off all the same."
    )


# What is done to a machine whose operating system does not do as it is asked.
HARD: Final = {PowerTarget.SOFT_OFF: PowerTarget.OFF, PowerTarget.SOFT_REBOOT: PowerTarget.REBOOT}
LOG = logging.getLogger(__name__)


@rpc.method
def change_power(conductor: Conductor, node: str, target: PowerTarget, timeout_s: int | None = None) -> None:
    """Check the request while the caller waits; do it in the background."""
    row = nodes.get(conductor.database, node)
    driver = registry.power(row)
    _check_request(row, driver, target)
    kept = {} if row.provision_state.endswith("failed") else {"last_error": None}
    with conductor.pool.slot(Work.ACTIONS, f"power of node {row.label}") as slot:
        lock = NodeLock(conductor, row, target, {"target_power_state": target.settles_as, **kept})
        lock.continue_in(slot, _set_power, failed, target, timeout_s)


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


def bring(lock: NodeLock, target: PowerTarget, timeout_s: int | None = None) -> Generator[float, None, None]:
    """See to it that the machine gets there, within that time or the configured one; yields its pauses."""
    driver, attempt = registry.power(lock.node), lock.attempt(_deadline(lock, target, timeout_s))
    if target.always_acts or driver.read(lock.node, attempt.deadline).power != target.settles_as:
        yield from _change(lock, driver, target, attempt)


def bring_here(lock: NodeLock, target: PowerTarget) -> None:
    """The same, waiting for it in this thread."""
    for pause_s in bring(lock, target):
        lock.conductor.pause(pause_s)


def _set_power(lock: NodeLock, target: PowerTarget, timeout_s: int | None) -> Pausing:
    yield from bring(lock, target, timeout_s)
    text = f'Power changed by "{target}": the machine is now "{target.settles_as}".'
    return Result({"power_state": target.settles_as, "target_power_state": None}, Event("power", "INFO", text))


def _change(lock: NodeLock, driver: PowerInterface, target: PowerTarget, attempt: Attempt) -> Iterator[float]:
    """The change, and if an operating system does not do as it is asked, the power itself."""
    try:
        yield from driver.change(lock.node, target, attempt)
    except errors.PowerStateUnsettled as exc:
        hard = HARD.get(target)
        if hard is None or not conf.soft_power_off_fallback or hard not in driver.targets:
            raise
        LOG.warning('Node %s: %s Going on by "%s".', lock.node.label, exc, hard)
        yield from driver.change(lock.node, hard, lock.attempt(_deadline(lock, hard)))


def _deadline(lock: NodeLock, target: PowerTarget, timeout_s: int | None = None) -> Deadline:
    default_s = conf.soft_power_off_timeout if target.soft else conf.power_state_change_timeout
    return Deadline(lock.conductor.clock, timeout_s or default_s)


def failed(lock: NodeLock, reason: str) -> Result:
    """What a change of power leaves behind that did not succeed."""
    text = f'Failed to change the power of node {lock.node.uuid} by "{lock.purpose}": {reason}'
    return Result({"target_power_state": None, "last_error": text}, Event("power", "ERROR", text))
