"""What the handlers work with, given to each of them; and the cap on those that wait for a BMC.

Guarantees: (1) at most `BMCWaits.limit` requests wait for a BMC at a time; (2) one more is refused at once and waits
for nothing, so that reads of the database always find a free thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Clock
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.transport import Conductors
from ironic_lite.db.engine import Database


class BMCWaits:
    """Turns for requests whose answer waits for a BMC."""

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self._free = threading.Semaphore(limit)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn, given back when the block ends. Raises `Unavailable` at once when all are taken."""
        if not self._free.acquire(blocking=False):
            raise errors.Unavailable(
                reason=f"All {self.limit} requests that may wait for a BMC at a time are doing so."
            )
        try:
            yield
        finally:
            self._free.release()


class Serving(msgspec.Struct, frozen=True):
    """One API process."""

    database: Database
    members: Members
    conductors: Conductors
    clock: Clock
    bmc_waits: BMCWaits
