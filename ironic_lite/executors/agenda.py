"""Recurring work: a table of rows, and one thread that starts what is due.

Guarantees: (1) the same row never runs twice at a time, and missed turns are not made up; (2) a row that fails is
logged and keeps its turn; (3) the thread sleeps while nothing is due, holds no lock while it runs or starts work, and
ends, joined, by the deadline of `stop`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Clock, Deadline
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.executors.threads import start_thread

LOG = logging.getLogger(__name__)
IDLE_S = 60.0


class Recurring(msgspec.Struct, frozen=True):
    """Work to repeat. `interval_s` is asked before each turn; 0 means "not now", and is asked again in a minute."""

    name: str
    interval_s: Callable[[], float]
    work: Callable[[], None]
    first_after_s: float = 0.0


class Agenda:
    """Starts each row when it is due: as work of `kind` in `pool`, or, without one, in its own thread."""

    def __init__(
        self, name: str, rows: Sequence[Recurring], clock: Clock, pool: TaskPool | None = None, kind: str = ""
    ) -> None:
        self._name, self._rows, self._clock, self._pool, self._kind = name, rows, clock, pool, kind
        self._stop = threading.Event()
        self._running: set[str] = set()
        self._due: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; each row's first turn comes after its `first_after_s`."""
        now = self._clock.monotonic()
        self._due = {row.name: now + row.first_after_s for row in self._rows}
        self._thread = start_thread(self._name, self._loop)

    def stop(self, deadline: Deadline) -> None:
        """Start nothing more. Work that runs in the pool is the pool's to wait for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(deadline.left_s())

    def _loop(self) -> None:
        while not self._stop.is_set():
            for row in self._rows:
                if self._due[row.name] <= self._clock.monotonic() and not self._stop.is_set():
                    self._turn(row)
            self._clock.wait(self._stop, min(self._due.values()) - self._clock.monotonic())

    def _turn(self, row: Recurring) -> None:
        interval_s = row.interval_s()
        self._due[row.name] = self._clock.monotonic() + (interval_s or IDLE_S)
        if interval_s <= 0 or row.name in self._running:
            return
        try:
            self._begin(row)
        except errors.Unavailable as exc:
            LOG.warning("%s misses a turn: %s", row.name, exc)

    def _begin(self, row: Recurring) -> None:
        if self._pool is None:
            self._run(row)
            return
        with self._pool.slot(self._kind, row.name) as slot:
            self._running.add(row.name)
            slot.run(self._run, row)

    def _run(self, row: Recurring) -> None:
        try:
            row.work()
        except errors.Error as exc:
            LOG.warning("%s failed and will be tried at its next turn: %s", row.name, exc)
        except Exception:
            LOG.exception("%s failed unexpectedly and will be tried at its next turn.", row.name)
        finally:
            self._running.discard(row.name)
