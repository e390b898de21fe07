"""What BMCs told that is new, on its way to workers of the pool. Used on the I/O loop alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ironic_lite import errors
from ironic_lite.conductor import powersync
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.drivers.interfaces import Reading

LOG = logging.getLogger(__name__)

FLUSH_S: Final = 0.25
FLUSH_ROWS: Final = 500


class Findings:
    """What is to be written waits a moment for what is found meanwhile: many rows cost one transaction."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._new: dict[str, tuple[int, Reading]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def settle(self, uuid: str, revision: int, reading: Reading) -> None:
        """Have what is new in it written, or acted upon, if the row still is in that revision."""
        self._new[uuid] = revision, reading
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def hand_over(self, kind: Work, work: Callable[..., None], *arguments: object) -> None:
        """Have something done at once. Refused, it is left to the node's next turn."""
        try:
            with self._conductor.pool.slot(kind, f"{kind}: {work.__name__}") as slot:
                slot.run(work, self._conductor, *arguments)
        except errors.Unavailable as exc:
            LOG.warning("What the power sync found is left to the next visit: %s", exc)

    def waiting(self) -> int:
        """Nodes of which something is to be written. May be asked by any thread."""
        return len(self._new)

    def stop(self) -> None:
        """Write nothing any more."""
        self._new.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        """Give some hundred nodes to one worker."""
        self._timer = None
        batch = {uuid: self._new.pop(uuid) for uuid in list(self._new)[:FLUSH_ROWS]}
        if self._new:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)
        if batch:
            self.hand_over(Work.POWER_SYNC, powersync.settle, batch)
