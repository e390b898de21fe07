"""The threads that serve requests: as many as there were requests at a time lately, and at least one.

*Guarantees.* (1) While `n` requests are given and not done, there are at least `min(n, limit)` threads, and never more
than `limit`: no request waits for a thread that could be there. (2) A thread that had nothing to do for `idle_s` ends,
but for the last one. (3) `stop` takes no request away from who has it, and joins the threads by its deadline.
Lock order: `_lock` is taken alone.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ironic_lite.clock import Deadline
from ironic_lite.executors.threads import start_thread

T = TypeVar("T")
LOG = logging.getLogger(__name__)
IDLE_S: Final = 30.0


class Workers(Generic[T]):
    """Threads that call `serve` for each request, in the order in which they were given."""

    def __init__(self, name: str, limit: int, serve: Callable[[T], None], *, idle_s: float = IDLE_S) -> None:
        """What `serve` raises ends its request, and is logged.

        How many requests are given at a time is for the caller to bound. With a `limit` of 0 there is no thread: who
        gives the requests calls `serve_here`.
        """
        self.limit: Final = limit
        self._name, self._serve, self._idle_s = name, serve, idle_s
        self._requests: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []  # noqa: TID251  # a type; `start_thread` makes them
        self._undone = 0
        self._stopping = False

    def start(self) -> None:
        """Begin. Raises `RuntimeError` when the system gives no thread at all."""
        with self._lock:
            if self.limit:
                self._hire()

    def count(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    def queued(self) -> int:
        """How many requests wait for a thread."""
        return self._requests.qsize()

    def give(self, request: T) -> None:
        """Have the request served."""
        with self._lock:
            self._undone += 1
            if len(self._threads) < min(self._undone, self.limit) and not self._stopping:
                try:
                    self._hire()
                except RuntimeError:  # those that are there serve it later
                    LOG.exception("%s gets no more threads from the system.", self._name)
        self._requests.put(request)

    def serve_here(self) -> None:
        """Serve all that were given, in the calling thread."""
        while not self._requests.empty() and (request := self._requests.get()) is not None:
            self._do(request)

    def stop(self, deadline: Deadline) -> bool:
        """Have the threads end when they have served what was given; whether all have by the deadline."""
        with self._lock:
            self._stopping = True
            threads = list(self._threads)
        for _ in threads:
            self._requests.put(None)
        for thread in threads:
            thread.join(deadline.left_s())
        return not any(thread.is_alive() for thread in threads)

    def _hire(self) -> None:
        self._threads.append(start_thread(f"{self._name}-{next(self._numbers)}", self._work))

    def _work(self) -> None:
        while True:
            try:
                request = self._requests.get(timeout=self._idle_s)
            except queue.Empty:
                if self._leave():
                    return
                continue
            if request is None:
                return
            self._do(request)

    def _do(self, request: T) -> None:
        try:
            self._serve(request)
        except Exception:
            LOG.exception("%s could not serve a request.", self._name)
        with self._lock:
            self._undone -= 1

    def _leave(self) -> bool:
        """Be counted no longer, unless that were one thread too few."""
        with self._lock:
            if self._stopping or len(self._threads) <= max(1, self._undone):
                return False
            self._threads.remove(threading.current_thread())
            return True
