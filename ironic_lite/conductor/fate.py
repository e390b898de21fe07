"""Whether it is us: when many BMCs that answered a moment ago fail at once, our own network or processor is at fault.

Then no breaker opens and no node goes to maintenance for it. A fifth of the fleet that dies at once does not look so:
more than half of those asked must fail.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

LOG = logging.getLogger(__name__)

WINDOW_S: Final = 10.0
AT_LEAST: Final = 50
LATE_S: Final = 0.5  # a loop that is so late has itself missed the answers


class SharedFate:
    """The last `WINDOW_S` of visits to BMCs that had answered the visit before. Times in seconds of one clock."""

    def __init__(self) -> None:
        self._visits: deque[tuple[float, bool]] = deque()
        self._failed = 0
        self._ours_until = float("-inf")
        self._told = False

    def visited(self, now: float, *, failed: bool) -> None:
        """A BMC that had answered was asked again."""
        self._visits.append((now, failed))
        self._failed += failed
        self._forget(now)
        if self._failed >= AT_LEAST and 2 * self._failed > len(self._visits):
            self._begin(now, f"{self._failed} of {len(self._visits)} BMCs that had answered before failed")

    def late(self, now: float, lag_s: float) -> None:
        """The loop was so late."""
        self._forget(now)
        if lag_s > LATE_S:
            self._begin(now, f"our own loop was {lag_s:.1f} s late")

    def is_ours(self, began: float, now: float) -> bool:
        """Whether what failed at `began` is put down to us. Known for sure once `WINDOW_S` have passed since."""
        self._forget(now)
        return began < self._ours_until

    def _begin(self, now: float, what: str) -> None:
        """What fails within the window, before or after, is ours."""
        self._ours_until = now + WINDOW_S
        if not self._told:
            self._told = True
            LOG.error(
                "Within %d s %s: the network or the processor of this conductor is at fault, not the BMCs. No node "
                "goes to maintenance for it.",
                WINDOW_S,
                what,
            )

    def _forget(self, now: float) -> None:
        """What was, is over after its window."""
        if self._told and now >= self._ours_until:
            self._told = False
            LOG.warning("The BMCs answer again as they did.")
        while self._visits and self._visits[0][0] <= now - WINDOW_S:
            self._failed -= self._visits.popleft()[1]
