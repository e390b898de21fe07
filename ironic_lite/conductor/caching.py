"""What a machine is made of, read from its BMC and kept in the database: for flows that hold its lock.

Reading comes first and takes what the BMC takes; writing is one SELECT, and one transaction if anything differs. A
driver that cannot tell is not asked.
"""

from __future__ import annotations

from typing import Final

from ironic_lite.clock import Deadline
from ironic_lite.conductor.locks import NodeLock
from ironic_lite.db import parts
from ironic_lite.drivers import registry

# A BIOS has hundreds of settings, and its registry can have megabytes.
TELLING_S: Final = 120.0


def cache_bios(lock: NodeLock) -> None:
    """Keep the node's BIOS settings as they are now. Raises the `BMC...` errors and `LockLost`."""
    if registry.has(lock.node, "bios"):
        told = registry.bios(lock.node).settings(lock.node, Deadline(lock.conductor.clock, TELLING_S))
        difference = parts.bios_difference(lock.conductor.database, lock.node.uuid, told)
        if difference:
            lock.store(difference.write)


def cache_firmware(lock: NodeLock) -> None:
    """Keep the versions of the node's firmware as they are now. Raises the `BMC...` errors and `LockLost`."""
    if registry.has(lock.node, "firmware"):
        told = registry.firmware(lock.node).components(lock.node, Deadline(lock.conductor.clock, TELLING_S))
        difference = parts.firmware_difference(lock.conductor.database, lock.node.uuid, told)
        if difference:
            lock.store(difference.write)
