"""Power: change it on request, and keep the picture of it true."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.locks import NodeLock, Result
from ironic_lite.config import Bool, Int, Section
from ironic_lite.db import nodes
from ironic_lite.db.nodes import Event
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import NO_POWER_CHANGE, Fault, Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import PowerInterface, Reading

LOG = logging.getLogger(__name__)


class conf(Section, name="conductor"):
    """Power."""

    power_state_change_timeout = Int(60, min=2, help="Seconds that a machine may take for a power change.")
    soft_power_off_timeout = Int(600, min=1, help="Seconds that a machine may take for a soft power off or reboot.")
    power_state_sync_max_retries = Int(
        3, min=0, help="Failed visits in a row that the power sync forgives before it sets maintenance mode."
    )
    power_state_sync_debounce = Int(
        5,
        min=0,
        help="Seconds after which the power sync looks again at a machine whose power differs from its record, before "
        "it acts on what is then true; 0: it acts at once.",
    )
    force_power_state_during_sync = Bool(
        True,
        help="Whether a machine whose power differs is brought back to the recorded state, or the record corrected.",
    )


@rpc.method
def change_power(conductor: Conductor, node: str, target: PowerTarget, timeout_s: int | None = None) -> None:
    """Check the request while the caller waits; do it in the background."""
    row = nodes.get(conductor.database, node)
    driver = registry.power(row)
    _check_request(row, driver, target)
    kept = {} if row.provision_state.endswith("failed") else {"last_error": None}
    with conductor.pool.slot(Work.ACTIONS, f"power of node {row.label}") as slot:
        lock = NodeLock(conductor, row, target, {"target_power_state": target.settles_as, **kept})
        lock.continue_in(slot, _set_power, _power_failed, driver, target, timeout_s)


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


def _set_power(lock: NodeLock, driver: PowerInterface, target: PowerTarget, timeout_s: int | None) -> Result:
    default_s = conf.soft_power_off_timeout if target.soft else conf.power_state_change_timeout
    deadline = Deadline(lock.conductor.clock, timeout_s or default_s)
    if target.always_acts or driver.read(lock.node, deadline).power != target.settles_as:
        driver.change(lock.node, target, lock.attempt(deadline))
    return Result(
        {"power_state": target.settles_as, "target_power_state": None},
        Event("power", "INFO", f'Power changed by "{target}": the machine is now "{target.settles_as}".'),
    )


def _power_failed(lock: NodeLock, reason: str) -> Result:
    text = f'Failed to change the power of node {lock.node.uuid} by "{lock.purpose}": {reason}'
    return Result({"target_power_state": None, "last_error": text}, Event("power", "ERROR", text))


def sync_power(conductor: Conductor, node: Node) -> None:
    """Visit one node: compare without a lock. A difference of power is looked at again before it is acted upon."""
    _visit(conductor, node, _look_again_later if conf.power_state_sync_debounce else _settle)


def _visit(
    conductor: Conductor, node: Node, differs: Callable[[Conductor, Node, PowerInterface, dict[str, Any]], None]
) -> None:
    try:
        driver = registry.power(node)
        reading = driver.read(node, conductor.poll_deadline())
    except (errors.BMCError, errors.Invalid, errors.DriverNotFound) as exc:
        _note_failure(conductor, node, exc)
        return
    conductor.failed_visits.pop(node.uuid, None)
    news = _news(node, reading)
    if not news or conductor.pool.draining:
        return  # the end does not wait for visits, so none begins to write any more
    if "power_state" in news:
        differs(conductor, node, driver, news)
    else:
        _record(conductor, node, news)


def _look_again_later(conductor: Conductor, node: Node, _driver: PowerInterface, news: dict[str, Any]) -> None:
    """Do nothing yet: it may be a moment's state, of a machine that somebody restarts."""
    try:
        conductor.agenda.after(
            conf.power_state_sync_debounce,
            Work.POWER_SYNC,
            f"second look at node {node.label}",
            partial(_look_again, conductor, node.uuid),
            key=("power", node.uuid),
        )
    except errors.Unavailable as exc:
        LOG.warning(
            'Node %s is "%s" by itself, and the next visit sees to it: %s', node.label, news["power_state"], exc
        )


def _look_again(conductor: Conductor, uuid: str) -> None:
    """Settle what still differs, unless somebody took the node up meanwhile."""
    node = nodes.to_sync_again(conductor.database, uuid)
    if node is not None and conductor.owns(node.uuid, node.driver, node.conductor_group):
        _visit(conductor, node, _settle)


def _settle(conductor: Conductor, node: Node, driver: PowerInterface, news: dict[str, Any]) -> None:
    if _forces(node):
        _bring_back(conductor, node, driver, news)
    else:
        _record(conductor, node, news)


def _news(node: Node, reading: Reading) -> dict[str, Any]:
    """What the reading says that the row does not. What the BMC did not say is no news."""
    told = {"power_state": reading.power, "boot_mode": reading.boot_mode, "health": reading.health}
    return {name: value for name, value in told.items() if value is not None and value != getattr(node, name)}


def _record(conductor: Conductor, node: Node, news: dict[str, Any]) -> None:
    """Write what the machine says, if the node still is as it was compared."""
    try:
        nodes.change(conductor.database, node.uuid, node.revision, news)
    except (errors.Conflict, errors.NodeNotFound):
        return  # somebody is at work on it, or it is gone: the next visit looks again
    if "power_state" in news:
        LOG.info('Node %s: the power state was "%s" and is "%s".', node.label, node.power_state, news["power_state"])


def _bring_back(conductor: Conductor, node: Node, driver: PowerInterface, news: dict[str, Any]) -> None:
    """Give the change of the machine to a worker of its own: it takes long, and the end waits for it."""
    try:
        with conductor.pool.slot(Work.ACTIONS, f"power of node {node.label}") as slot:
            lock = NodeLock(conductor, node, "power sync")
            lock.continue_in(slot, _force, _power_failed, driver, news)
    except (errors.Conflict, errors.NodeNotFound):
        return  # as in `_record`
    except errors.Unavailable as exc:
        LOG.warning('Node %s is "%s" by itself and stays so for now: %s', node.label, news["power_state"], exc)


def _forces(node: Node) -> bool:
    return (
        conf.force_power_state_during_sync and node.power_state in (Power.ON, Power.OFF) and not node.disable_power_off
    )


def _force(lock: NodeLock, driver: PowerInterface, news: dict[str, Any]) -> Result:
    wanted = PowerTarget(lock.node.power_state or "")
    LOG.warning('Node %s is "%s" by itself; bringing it back to "%s".', lock.node.label, news["power_state"], wanted)
    lock.write(target_power_state=wanted.settles_as)
    driver.change(lock.node, wanted, lock.attempt(Deadline(lock.conductor.clock, conf.power_state_change_timeout)))
    return Result(news | {"power_state": wanted.settles_as, "target_power_state": None})


def _note_failure(conductor: Conductor, node: Node, exc: errors.Error) -> None:
    failures = conductor.failed_visits[node.uuid] = conductor.failed_visits.get(node.uuid, 0) + 1
    forgiven = conf.power_state_sync_max_retries
    LOG.warning("Power sync: visit %d of node %s failed: %s", failures, node.label, exc)
    if failures <= forgiven or conductor.pool.draining:
        return
    text = f"The power state could not be read {failures} times in a row, so the node was put into maintenance: {exc}"
    changes = {
        "power_state": None, "maintenance": True, "maintenance_reason": text, "fault": Fault.POWER, "last_error": text,
    }  # fmt: skip
    try:
        with NodeLock(conductor, node, "power sync") as lock:
            lock.finish(Result(changes, Event("power", "ERROR", text)))
    except (errors.Conflict, errors.NodeNotFound):
        return  # somebody is at work on it, or it is gone: the next visit looks again
    conductor.failed_visits.pop(node.uuid, None)


def recover_power(conductor: Conductor, node: Node) -> None:
    """Visit a node that is in maintenance because its BMC failed; when it answers again, maintenance ends."""
    try:
        reading = registry.power(node).read(node, conductor.poll_deadline())
    except (errors.BMCError, errors.Invalid, errors.DriverNotFound) as exc:
        LOG.info("Power recovery: node %s still fails: %s", node.label, exc)
        return
    if reading.power is None or conductor.pool.draining:
        return
    text = f'The BMC answers again: the machine is "{reading.power}", and maintenance ends.'
    changes = {
        "power_state": reading.power, "maintenance": False, "maintenance_reason": None, "fault": None,
        "last_error": None,
    }  # fmt: skip
    try:
        with NodeLock(conductor, node, "power recovery") as lock:
            lock.finish(Result(changes, Event("power", "INFO", text)))
    except (errors.Conflict, errors.NodeNotFound):
        return  # somebody is at work on it, or it is gone: the next visit looks again
