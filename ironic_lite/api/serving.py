"""What the handlers work with, given to each of them; and the cap on those that wait for a BMC.

Guarantees: (1) at most `BMCWaits.limit` requests wait for a BMC, or for a conductor's memory, at a time; (2) one more
is refused at once and waits for nothing, so that reads of the database always find a free thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from ironic_lite import errors
from ironic_lite.api.workers import Workers
from ironic_lite.clock import Clock
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.transport import Conductors
from ironic_lite.db.engine import Database
from ironic_lite.metrics import Sample, counter, gauge

_LIMIT: Final = gauge("ironic_lite_api_bmc_waits_limit", "Requests that may wait for a BMC or a conductor at a time.")
_BUSY: Final = gauge("ironic_lite_api_bmc_waits_busy", "Requests that wait for a BMC or a conductor.")
_REFUSED: Final = counter(
    "ironic_lite_api_bmc_waits_refused_total", "Requests refused because all such waits were taken."
)


class BMCWaits:
    """Turns for requests whose answer waits for a BMC."""

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self._lock = threading.Lock()
        self._busy = self._refused = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn, given back when the block ends. Raises `Unavailable` at once when all are taken."""
        if not self._admit():
            raise errors.Unavailable(
                reason=f"All {self.limit} requests that may wait for a BMC or a conductor at a time are doing so."
            )
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _admit(self) -> bool:
        with self._lock:
            free = self._busy < self.limit
            self._busy += free
            self._refused += not free
        return free

    def samples(self) -> Iterator[Sample]:
        """How many there are, for Prometheus."""
        yield _LIMIT.at(self.limit)
        yield _BUSY.at(self._busy)
        yield _REFUSED.at(self._refused)


class Serving(msgspec.Struct, frozen=True):
    """One API process."""

    database: Database
    members: Members
    conductors: Conductors
    clock: Clock
    bmc_waits: BMCWaits
    workers: Workers
