"""An inspection without the machine's help: what its BMC tells of it, kept, with a port for each network port."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from ironic_lite.clock import Deadline
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.db import parts, ports
from ironic_lite.domain import inventory as rules
from ironic_lite.drivers import registry

LOG = logging.getLogger(__name__)
# Tens of documents, of which a slow BMC makes one in seconds.
TELLING_S: Final = 300.0


def inspect(lock: NodeLock) -> Mapping[str, Any]:
    """Inspect the node's machine: keep its inventory, add the ports that are missing.

    Returns what is to be written of the node itself with the end of the work: its properties. Nothing is written
    before the BMC has told everything. Raises the `BMC...` errors, `InventoryIncomplete`, `UnsupportedByDriver` and
    `LockLost`.
    """
    node = lock.node
    found = registry.inspect(node).inspect(node, Deadline(lock.conductor.clock, TELLING_S))
    properties = rules.properties(node.label, found, node.properties)
    taken: list[str] = []

    def keep(connection: sa.Connection) -> None:
        parts.store_inventory(connection, node.uuid, found)
        taken.extend(ports.add_missing(connection, node.uuid, rules.macs(found)))

    lock.store(keep)
    if taken:
        LOG.warning("Node %s: its network ports %s belong to other nodes already.", node.label, ", ".join(taken))
    return {"properties": properties}
