"""One visit to each of many things, again and again, as tasks of one kind.

Guarantees: (1) a visit is one task: how many run at a time is the kind's cap, and no more are given to the pool than it
lets run, so the pool's queue stays short whatever the number of things; (2) one thing that takes long holds one place
and nothing else: the next round goes on without it; (3) the same thing is never visited twice at a time, and waits once
at most, until the pool has it as it was last given; (4) after `stop` no round begins, and no visit but those that the
pool has.
Lock order: `_lock` is taken alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from ironic_lite import errors
from ironic_lite.executors.taskpool import TaskPool

T = TypeVar("T")
LOG = logging.getLogger(__name__)


class Rounds(Generic[T]):
    """Repeated rounds of visits of one kind. `key` tells which things are the same."""

    def __init__(self, kind: str, pool: TaskPool, visit: Callable[[T], None], key: Callable[[T], Hashable]) -> None:
        self._kind, self._pool, self._visit, self._key = kind, pool, visit, key
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, T] = {}
        self._under_way: set[Hashable] = set()
        self._stopped = False

    def begin(self, things: Iterable[T]) -> None:
        """Start a round over `things`, but for those that are being visited right now."""
        keyed = {self._key(thing): thing for thing in things}
        with self._lock:
            if self._stopped:
                return
            self._waiting |= {key: thing for key, thing in keyed.items() if key not in self._under_way}
        self._fill()

    def waiting(self) -> int:
        """How many things wait for a visit of their round to begin."""
        with self._lock:
            return len(self._waiting)

    def stop(self) -> None:
        """Forget who waits, and take nobody more."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()

    def _fill(self) -> None:
        """Give the pool as many visits as it may run at a time."""
        cap = self._pool.cap(self._kind)
        while True:
            with self._lock:
                if not self._waiting or len(self._under_way) >= cap:
                    return
                key = next(iter(self._waiting))
                thing = self._waiting.pop(key)
                self._under_way.add(key)
            if not self._give(key, thing):
                return

    def _give(self, key: Hashable, thing: T) -> bool:
        try:
            slot = self._pool.slot(self._kind, f"{self._kind} of {key}")
        except errors.Unavailable as exc:
            LOG.warning("%s leaves out the rest of this round: %s", self._kind, exc)
            with self._lock:
                self._waiting.clear()
            self._ended(key)
            return False
        slot.run(self._run, key, thing)
        return True

    def _run(self, key: Hashable, thing: T) -> None:
        try:
            self._visit(thing)
        finally:
            self._ended(key)
            self._fill()

    def _ended(self, key: Hashable) -> None:
        with self._lock:
            self._under_way.discard(key)
