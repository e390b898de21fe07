"""Who is to blame for a failure: the BMC, or ourselves. Used on the I/O loop alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ironic_lite import errors
from ironic_lite.clock import Clock
from ironic_lite.conductor.fate import AT_LEAST, WINDOW_S, SharedFate
from ironic_lite.conductor.picture import Seen

Convict = Callable[[Seen, errors.Error], None]


class Verdicts:
    """Failures that wait until it is sure whose they are. `convict` gets those that are put down to a BMC.

    In a fleet too small for a shared fate to be seen, that is at once.
    """

    def __init__(self, clock: Clock, convict: Convict, nodes: Callable[[], int]) -> None:
        self._clock, self._convict, self._nodes = clock, convict, nodes
        self._fate = SharedFate()
        self._accused: deque[tuple[float, Seen, errors.Error]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def late(self, lag_s: float) -> None:
        """The loop was so late."""
        self._fate.late(self._clock.monotonic(), lag_s)

    def answered(self, seen: Seen, now: float) -> None:
        """To be told before the BMC's own record is."""
        if seen.bmc.answers:
            self._fate.visited(now, failed=False)

    def failed(self, seen: Seen, problem: errors.Error) -> None:
        """Judge it in time."""
        now = self._clock.monotonic()
        if seen.bmc.answers:
            self._fate.visited(now, failed=True)
        self._accused.append((now, seen, problem))
        if self._timer is None:
            self._judge()

    def stop(self) -> None:
        """Judge nobody any more."""
        self._accused.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _judge(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        wait_s = WINDOW_S if self._nodes() >= AT_LEAST else 0.0
        while self._accused and self._accused[0][0] + wait_s <= now:
            at, seen, problem = self._accused.popleft()
            if not self._fate.is_ours(at, now):
                self._convict(seen, problem)
        if self._accused:
            self._timer = asyncio.get_running_loop().call_at(self._accused[0][0] + wait_s, self._judge)
