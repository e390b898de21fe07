"""Threads that live as long as their pool: they are its threads, and hold none of its places.

Guarantees: (1) a thread is counted from its start to its end, whoever ends it; (2) after `close` none is started;
(3) `stop` stops the youngest first, each by its own means, and returns by its deadline. Lock order: `_lock` is taken
alone, and not while anything is stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.executors.threads import start_thread

Stop = Callable[[Deadline], list[str]]


class _Resident(NamedTuple):
    thread: threading.Thread
    stop: Stop


class Residents:
    """The residents of one pool."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._all: list[_Resident] = []
        self._closed = False

    def start(self, name: str, main: Callable[[], None], stop: Stop) -> threading.Thread:
        """Start one. `stop` ends and joins it; it may be called more than once. Raises `Stopping` once closed."""
        with self._lock:
            if self._closed:
                raise errors.Stopping(what=f"The {self._pool}")
            self._all = [one for one in self._all if one.thread.is_alive()]
            thread = start_thread(name, main)
            self._all.append(_Resident(thread, stop))
            return thread

    def count(self) -> int:
        """How many live."""
        with self._lock:
            return sum(one.thread.is_alive() for one in self._all)

    def close(self) -> None:
        """Start no more."""
        with self._lock:
            self._closed = True

    def stop(self, deadline: Deadline) -> list[str]:
        """End all; the names of what did not end are returned."""
        with self._lock:
            all_of_them = list(self._all)
        return [name for one in reversed(all_of_them) for name in one.stop(deadline)]
