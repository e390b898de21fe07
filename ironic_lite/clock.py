"""The one door to time and randomness, so that tests can stand at it.

`SystemClock` is the real one. `ManualClock` is a fake that ships: its time moves only when a test says so, and its
waits return at once, moving the time on.
"""

from __future__ import annotations

import datetime
import random  # noqa: TID251  # this is the door
import secrets
import threading
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """What the service asks of time."""

    def now(self) -> datetime.datetime:
        """The time of day, UTC, without a zone: as the database stores it."""

    def monotonic(self) -> float:
        """Seconds that never go back; the origin is arbitrary."""

    def boottime(self) -> float:
        """Seconds since boot, suspended time included: what a promise to hardware is measured with."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for the event, at most `timeout_s`. True if it is set."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)  # noqa: TID251  # this is the door

    monotonic = staticmethod(time.monotonic)  # noqa: TID251  # this is the door; asked ten times for each answer

    def boottime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(max(0.0, timeout_s))


class ManualClock:
    """A clock for tests: time moves by `advance`, and by what is waited."""

    def __init__(self, start: datetime.datetime = datetime.datetime(2026, 1, 1)) -> None:  # noqa: DTZ001  # see now()
        self._start = start
        self._elapsed_s = 0.0

    def now(self) -> datetime.datetime:
        return self._start + datetime.timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    def boottime(self) -> float:
        return self._elapsed_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        if not event.is_set():
            self.advance(timeout_s)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        self._elapsed_s += max(0.0, seconds)


class Deadline:
    """A point in time by which something must have ended."""

    __slots__ = ("_clock", "_end", "timeout_s")

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._end = clock.monotonic() + timeout_s

    def left_s(self) -> float:
        """Seconds left, never less than 0."""
        return max(0.0, self._end - self._clock.monotonic())

    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left_s() <= 0.0


def new_uuid() -> str:
    """A random UUID as Ironic writes it."""
    return str(uuid.uuid4())


def new_secret() -> str:
    """256 bits from the operating system, safe in a URL."""
    return secrets.token_urlsafe(32)


def triangular_s(low_s: float, high_s: float) -> float:
    """A random duration between the two, most likely near `low_s`."""
    return random.triangular(low_s, high_s, low_s)  # noqa: S311  # a simulated delay


def jitter(part: float) -> float:
    """A random factor between 1 - `part` and 1 + `part`, so that what failed together does not come back together."""
    return random.uniform(1 - part, 1 + part)  # noqa: S311  # nothing is guarded by it


def seeded(seed: str) -> random.Random:
    """Numbers that look random and are the same for the same seed: for simulations that can be repeated."""
    return random.Random(seed)  # noqa: S311  # nothing is guarded by them
