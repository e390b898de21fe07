"""A clock for tests of threads that sleep: its time stands still until a test moves it."""

from __future__ import annotations

import threading

from ironic_lite.clock import ManualClock
from tests.waiting import until


class HeldClock(ManualClock):
    """Who waits on it really sleeps, until the event is set or `advance` has brought the time. For one such thread."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0
        self.longest_s = 0.0
        self._sleeper: tuple[threading.Event, float] | None = None

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.longest_s = max(self.longest_s, timeout_s)
        end = self.monotonic() + timeout_s
        self._sleeper = (event, end)
        while not event.is_set() and self.monotonic() < end:
            event.wait(0.002)
        self._sleeper = None
        self.wakes += 1
        return event.is_set()

    def asleep(self) -> bool:
        """Whether the thread sleeps, and neither the event nor the time is there to wake it."""
        sleeper = self._sleeper
        return sleeper is not None and not sleeper[0].is_set() and self.monotonic() < sleeper[1]

    def pass_s(self, seconds: float) -> None:
        """Move the time on, and return when the thread has seen to all that fell due."""
        until(self.asleep)
        self.advance(seconds)
        until(self.asleep)
