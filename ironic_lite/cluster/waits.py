"""The cap on calls that wait for a BMC, for both ends of JSON-RPC.

Guarantees: (1) at most half of a server's threads wait for BMCs at a time; (2) one more call is refused at once and
waits for nothing, so that every other request finds a free thread however many BMCs are dead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ironic_lite import errors


class BMCWaits:
    """Turns for calls whose answer waits for a BMC."""

    def __init__(self, place: str, threads: int) -> None:
        """`place` opens the sentence of a refusal; `threads` are those of the server whose requests they are."""
        self.limit: Final = max(1, threads // 2)
        self._place = place
        self._free = threading.Semaphore(self.limit)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn, given back when the block ends. Raises `Unavailable` at once when all are taken."""
        if not self._free.acquire(blocking=False):
            raise errors.Unavailable(
                reason=f"{self._place} lets {self.limit} requests wait for a BMC at a time, and all of them do."
            )
        try:
            yield
        finally:
            self._free.release()
