"""What the power sync does about what BMCs told: in the pool, each time from the row as it is now.

Nothing here acts on an unknown state, or on a node that somebody else took up since its BMC was asked: what writes many
rows compares revisions, and what acts takes the lock.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.conductor import power
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.locks import NodeLock, Pausing, Result
from ironic_lite.conductor.picture import Mode, View, mode, news
from ironic_lite.config import Bool, Int, Section
from ironic_lite.db import nodes
from ironic_lite.db.history import Event
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Fault, Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Reading

LOG = logging.getLogger(__name__)


class conf(Section, name="conductor"):
    """What is done about a difference, and about silence."""

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


def look_again_later(conductor: Conductor, view: View, delay_s: float) -> bool:
    """Do nothing yet: it may be a moment's state, of a machine that somebody restarts. False if nobody will look."""
    try:
        conductor.agenda.after(
            delay_s,
            Work.POWER_SYNC,
            f"second look at node {view.label}",
            partial(_look_again, conductor, view.uuid),
            key=("power", view.uuid),
        )
    except errors.Unavailable as exc:
        LOG.warning("Node %s changed its power by itself, and the next visit sees to it: %s", view.label, exc)
        return False
    return True


def _look_again(conductor: Conductor, uuid: str) -> None:
    """Have the BMC asked once more, unless somebody took the node up meanwhile."""
    node = _to_compare(conductor, uuid, Mode.SYNC)
    conductor.freshness.second_look(node, uuid)


def settle(conductor: Conductor, told: Mapping[str, tuple[int, Reading]]) -> None:
    """Write what is new about many nodes in one transaction; bring machines back whose power is to be forced.

    With each reading comes the revision of the row for which the BMC was asked.
    """
    changes = []
    for node in nodes.some(conductor.database, list(told)):
        revision, reading = told[node.uuid]
        found = news(node, reading)
        if not _is_as_asked(conductor, node, revision, Mode.SYNC) or not found:
            continue
        if "power_state" in found and _forces(node):
            _bring_back(conductor, node, found)
        else:
            changes.append((node, found))
    if changes and not conductor.pool.draining:
        _record(conductor, changes)


def _record(conductor: Conductor, changes: list[tuple[Node, dict[str, Any]]]) -> None:
    """Who is at work on a node, or has removed it, is left alone: the next visit looks again."""
    done = nodes.change_each(conductor.database, [(node.uuid, node.revision, found) for node, found in changes])
    for node, found in changes:
        if node.uuid not in done:
            continue
        conductor.wrote(node, found)
        if "power_state" in found:
            was, now = node.power_state, found["power_state"]
            LOG.info('Node %s: the power state was "%s" and is "%s".', node.label, was, now)


def _bring_back(conductor: Conductor, node: Node, found: dict[str, Any]) -> None:
    """Give the change of the machine to a worker of its own: it takes long, and the end waits for it."""
    if conductor.pool.draining:
        return
    try:
        with conductor.pool.slot(Work.ACTIONS, f"power of node {node.label}") as slot:
            lock = NodeLock(conductor, node, "power sync")
            lock.continue_in(slot, _force, power.failed, found)
    except (errors.Conflict, errors.NodeNotFound):
        return  # as in `_record`
    except errors.Unavailable as exc:
        LOG.warning('Node %s is "%s" by itself and stays so for now: %s', node.label, found["power_state"], exc)


def _forces(node: Node) -> bool:
    return (
        conf.force_power_state_during_sync and node.power_state in (Power.ON, Power.OFF) and not node.disable_power_off
    )


def _force(lock: NodeLock, found: dict[str, Any]) -> Pausing:
    """Under the lock. The driver looks once more before it presses anything."""
    wanted = PowerTarget(lock.node.power_state or "")
    LOG.warning('Node %s is "%s" by itself; bringing it back to "%s".', lock.node.label, found["power_state"], wanted)
    lock.write(target_power_state=wanted.settles_as)
    deadline = Deadline(lock.conductor.clock, power.conf.power_state_change_timeout)
    yield from registry.power(lock.node).change(lock.node, wanted, lock.attempt(deadline))
    return Result(found | {"power_state": wanted.settles_as, "target_power_state": None})


def give_up(conductor: Conductor, uuid: str, revision: int, failures: int, problem: errors.Error) -> None:
    """Put a node into maintenance whose BMC can't be asked; not for failures that are of another row, since mended."""
    node = _as_asked(conductor, uuid, revision, Mode.SYNC)
    if node is None or conductor.pool.draining:
        return
    text = (
        f"The power state could not be read {failures} times in a row, so the node was put into maintenance: {problem}"
    )
    changes = {
        "power_state": None, "maintenance": True, "maintenance_reason": text, "fault": Fault.POWER, "last_error": text,
    }  # fmt: skip
    _write_locked(conductor, node, "power sync", Result(changes, Event("power", "ERROR", text)))


def recover(conductor: Conductor, uuid: str, revision: int, reading: Reading) -> None:
    """End the maintenance of a node whose BMC answers again."""
    node = _as_asked(conductor, uuid, revision, Mode.RECOVERY)
    if node is None or conductor.pool.draining:
        return
    text = f'The BMC answers again: the machine is "{reading.power}", and maintenance ends.'
    changes = {
        "power_state": reading.power, "maintenance": False, "maintenance_reason": None, "fault": None,
        "last_error": None,
    }  # fmt: skip
    _write_locked(conductor, node, "power recovery", Result(changes, Event("power", "INFO", text)))


def _write_locked(conductor: Conductor, node: Node, purpose: str, result: Result) -> None:
    try:
        with NodeLock(conductor, node, purpose) as lock:
            lock.finish(result)
    except (errors.Conflict, errors.NodeNotFound):
        return  # somebody is at work on it, or it is gone: the next visit looks again


def _to_compare(conductor: Conductor, uuid: str, wanted: Mode) -> Node | None:
    """The node as it is now, if it still is in that mode and ours."""
    found = nodes.some(conductor.database, [uuid])
    return found[0] if found and mode(found[0]) is wanted and _is_ours(conductor, found[0]) else None


def _as_asked(conductor: Conductor, uuid: str, revision: int, wanted: Mode) -> Node | None:
    """The same, if the row is the one for which the BMC was asked."""
    node = _to_compare(conductor, uuid, wanted)
    return node if node is not None and _is_as_asked(conductor, node, revision, wanted) else None


def _is_as_asked(conductor: Conductor, node: Node, revision: int, wanted: Mode) -> bool:
    """Whether the answer still tells of the node; if its row is another one by now, its BMC is asked anew."""
    if mode(node) is not wanted or not _is_ours(conductor, node):
        return False
    if node.revision != revision:
        conductor.freshness.place([node])
        conductor.freshness.hint(node.uuid)
    return node.revision == revision


def _is_ours(conductor: Conductor, node: Node) -> bool:
    return conductor.owns(node.uuid, node.driver, node.conductor_group)
