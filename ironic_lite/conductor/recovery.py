"""What an earlier life of this conductor left behind: its locks, and work that nobody carries on."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.conductor import provision
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database
from ironic_lite.db.history import Event
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import WORKING

LOG = logging.getLogger(__name__)
AT_START: Final = "the conductor that worked on it ended in the middle and was started again"
FORGOTTEN: Final = "the work that took it has ended without being able to say so"
AT_STOP: Final = "the conductor that worked on it was stopped before the work was done"


def free_locks(database: Database, host: str, reason: str) -> int:
    """Release every lock of this host and end the power change behind it; returns how many.

    At start it runs before the JSON-RPC listens, so that it can meet no lock of this life. Each release carries the
    lock's own id: a lock that somebody else broke or took meanwhile is left alone. A node in a working state stays in
    it, and is taken up (`take_up_stranded`).
    """
    left = nodes.locked_by(database, host)
    for node in left:
        _free(database, node, reason)
    return len(left)


def free_forgotten(conductor: Conductor) -> int:
    """Release the locks of this host that no work of it has any more; returns how many.

    The answer to a statement was lost, or the database was away for longer than its work could wait.
    """
    left = [node for node in nodes.held_by(conductor.database, conductor.host) if node.lock_id not in conductor.holds]
    for node in left:
        _free(conductor.database, node, FORGOTTEN)
    return len(left)


def take_up_stranded(conductor: Conductor) -> int:
    """Have every node of ours taken up that is in a working state and that nobody holds; returns how many."""
    stranded = nodes.stranded(conductor.database)
    ours = [one for one in stranded if conductor.owns(one.uuid, one.driver, one.conductor_group)]
    for node in ours:
        work = partial(_take_up, conductor, node.uuid)
        conductor.agenda.after(0, Work.PROVISIONING, f"taking up node {node.label}", work, key=("take up", node.uuid))
    return len(ours)


def _take_up(conductor: Conductor, uuid: str) -> None:
    try:
        provision.take_up(conductor, uuid)
    except (errors.Conflict, errors.NodeNotFound):
        return  # somebody was quicker


def _free(database: Database, node: Node, reason: str) -> None:
    purpose = node.lock_purpose or "unknown work"
    changes, event = _interrupted(node, reason)
    hold = Hold(node.reservation or "", node.lock_id or "")
    try:
        nodes.release(database, node.uuid, hold, purpose, changes, event)
    except errors.LockLost:
        return
    LOG.warning("Node %s: its lock, taken for %s, was released: %s.", node.label, purpose, reason)


def _interrupted(node: Node, reason: str) -> tuple[dict[str, Any], Event | None]:
    """What the row must say. The power state stays: the next visit tells what the machine really is."""
    if node.provision_state in WORKING:
        text = f'The work in state "{node.provision_state}" was interrupted: {reason}.'
        return {"target_power_state": None}, Event("provisioning", "WARNING", text)
    if node.target_power_state is None:
        return {}, None
    text = f'Changing the power of node {node.uuid} to "{node.target_power_state}" was interrupted: {reason}.'
    return {"target_power_state": None, "last_error": text}, Event("power", "ERROR", text)
