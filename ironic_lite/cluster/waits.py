"""The cap on calls that wait for a BMC, for both ends of JSON-RPC.

Guarantees: (1) at most half of a server's threads wait for BMCs, or for a conductor's memory, at a time; (2) one more
call is refused at once and waits for nothing, so that every other request finds a free thread however many BMCs are
dead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ironic_lite import errors
from ironic_lite.metrics import Sample, counter, gauge

_LIMIT: Final = gauge("ironic_lite_bmc_waits_limit", "Requests that may wait for a BMC at a time.")
_BUSY: Final = gauge("ironic_lite_bmc_waits_busy", "Requests that wait for a BMC.")
_REFUSED: Final = counter("ironic_lite_bmc_waits_refused_total", "Requests refused because all such waits were taken.")


class BMCWaits:
    """Turns for calls whose answer waits for a BMC."""

    def __init__(self, place: str, threads: int) -> None:
        """`place` opens the sentence of a refusal; `threads` are those of the server whose requests they are."""
        self.limit: Final = max(1, threads // 2)
        self._place = place
        self._lock = threading.Lock()
        self._busy = self._refused = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn, given back when the block ends. Raises `Unavailable` at once when all are taken."""
        if not self._admit():
            raise errors.Unavailable(
                reason=f"{self._place} lets {self.limit} requests wait for a BMC at a time, and all of them do."
            )
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def samples(self) -> Iterator[Sample]:
        """How many there are, for Prometheus."""
        yield _LIMIT.at(self.limit)
        yield _BUSY.at(self._busy)
        yield _REFUSED.at(self._refused)

    def _admit(self) -> bool:
        with self._lock:
            free = self._busy < self.limit
            self._busy += free
            self._refused += not free
        return free
