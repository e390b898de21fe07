"""Kinds of work: what each may use of a pool, and what the pool knows of it at the moment."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ironic_lite.executors.task import Task


class Kind(msgspec.Struct, frozen=True):
    """One kind of work.

    At most `cap` tasks of it run at a time, `queue` more wait for a place without holding a thread. Critical kinds may
    also use the pool's reserved share. A drain waits for no kind that `only_reads`. A task that runs longer than
    `deadline_s` seconds is reported once; None: never.
    """

    name: str
    cap: int
    queue: int = 0
    critical: bool = False
    only_reads: bool = False
    deadline_s: float | None = None


class Places:
    """How many tasks may run at a time, how many do, and since when that is all of them (on the monotonic clock)."""

    __slots__ = ("full_since", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self.full_since = 0.0


class Line:
    """One kind in one pool: its tasks in line, and its counts. Everything is guarded by the pool's lock."""

    def __init__(self, kind: Kind, shared: tuple[Places, ...]) -> None:
        """Each task takes a place of the kind's own, and one in each of `shared`."""
        self.kind = kind
        self.own = Places(kind.cap)
        self.places = (self.own, *shared)
        self.queue: deque[Task[Any]] = deque()
        self.promised = 0  # places in the queue set aside for slots that have not begun
        self.refused = self.executed = self.failed = self.cancelled = 0
        self.wait_s = self.max_wait_s = self.run_s = self.max_run_s = 0.0

    def full(self) -> Places | None:
        """Which places are all taken; None if a task may run."""
        for places in self.places:
            if places.used >= places.limit:
                return places
        return None

    def occupy(self, now: float) -> None:
        """Take a place."""
        for places in self.places:
            places.used += 1
            if places.used == places.limit:
                places.full_since = now

    def vacate(self) -> None:
        """Give a place back."""
        for places in self.places:
            places.used -= 1

    def waiting(self) -> int:
        """How many places of the queue are taken."""
        return len(self.queue) + self.promised

    def count_start(self, waited_s: float) -> None:
        """Note that a task left the line."""
        self.wait_s += waited_s
        self.max_wait_s = max(self.max_wait_s, waited_s)

    def count_end(self, ran_s: float, *, failed: bool | None) -> None:
        """Note that a task ended; `failed` is None for one that was cancelled before it began."""
        if failed is None:
            self.cancelled += 1
            return
        self.executed += 1
        self.failed += failed
        self.run_s += ran_s
        self.max_run_s = max(self.max_run_s, ran_s)
