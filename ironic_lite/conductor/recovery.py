"""What an earlier life of this conductor left behind: its locks, and work that nobody carries on."""

from __future__ import annotations

import logging
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.conductor import provision
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database
from ironic_lite.db.nodes import Event, Hold
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import WORKING

LOG = logging.getLogger(__name__)
AT_START: Final = "the conductor that worked on it ended in the middle and was started again"
AT_STOP: Final = "the conductor that worked on it was stopped before the work was done"


def free_locks(database: Database, host: str, reason: str) -> int:
    """Release every lock of this host and fail the work behind it; returns how many.

    At start it runs before the JSON-RPC listens, so that it can meet no lock of this life. Each release carries the
    lock's own id: a lock that somebody else broke or took meanwhile is left alone.
    """
    left = nodes.locked_by(database, host)
    for node in left:
        _free(database, node, reason)
    return len(left)


def fail_stranded(database: Database, owned: list[Node]) -> int:
    """Fail the work of nodes that are in a working state and that nobody holds; returns how many."""
    for node in owned:
        changes, event = _interrupted(node, AT_START)
        try:
            nodes.change(database, node.uuid, node.revision, changes)
        except errors.Conflict:
            continue  # somebody took it up meanwhile
        LOG.warning("Node %s: %s", node.label, event.event if event else "")
    return len(owned)


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
    changes: dict[str, Any] = {"target_power_state": None}
    if node.provision_state in WORKING:
        result = provision.failure(node, f'Node {node.uuid} failed in state "{node.provision_state}": {reason}.')
        return changes | dict(result.changes), result.event
    if node.target_power_state is None:
        return {}, None
    text = f'Changing the power of node {node.uuid} to "{node.target_power_state}" was interrupted: {reason}.'
    return changes | {"last_error": text}, Event("power", "ERROR", text)
