"""Threads for a pool's runners: futurist supplies and sheds them, and this is the one place that knows it.

Guarantees: (1) a hired runner begins: nothing is ever queued behind a thread that ends; (2) no thread polls for longer
than a second or so: an executor of futurist's takes runners until the first one leaves, is then shut down without
waiting, which ends its idle threads and lets the busy ones finish, and the next hire makes a new one; (3) nothing waits
for a thread here; (4) what a burst of runners has used of memory is given back when they leave. Lock order: `_lock` is
taken alone, but for futurist's own under it.

`DynamicThreadPoolExecutor.maintain` is not what sheds: it keeps a fifth of the threads idle (each wakes every second),
starts one more when all are busy, and joins threads that may have taken up work meanwhile.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import futurist

from ironic_lite.executors.memory import trim

_MANY = 32  # runners: to give memory back takes milliseconds, and a few threads leave little behind


class Crew:
    """At most `size` runners at a time, which is the pool's to see to."""

    def __init__(self, size: int) -> None:
        self._size = max(2, size)
        self._lock = threading.Lock()
        self._executor: futurist.DynamicThreadPoolExecutor | None = None
        self._expected = 0  # runners that the executor was given and that have not begun
        self._serving = self._gone = 0  # runners that have begun; that have left since the last trim
        self._most = 0  # that served at a time since nobody did

    def hire(self, runner: Callable[[], None]) -> None:
        """Run it in a thread. Raises `RuntimeError` when the system gives no more threads."""
        with self._lock:
            if self._executor is None:
                self._executor = futurist.DynamicThreadPoolExecutor(max_workers=self._size)
                self._expected = 0
            self._expected += 1
            try:
                self._executor.submit(self._serve, self._executor, runner)
            except RuntimeError:
                self._expected -= 1
                raise

    def _serve(self, executor: futurist.DynamicThreadPoolExecutor, runner: Callable[[], None]) -> None:
        with self._lock:
            self._serving += 1
            self._most = max(self._most, self._serving)
            if self._executor is executor:
                self._expected -= 1
        try:
            runner()
        finally:
            self._leave(executor)
            self._give_back()

    def _leave(self, executor: futurist.DynamicThreadPoolExecutor) -> None:
        with self._lock:
            # A shutdown now would lose a runner that has not begun; the next who leaves does it.
            if self._executor is not executor or self._expected:
                return
            self._executor = None
        executor.shutdown(wait=False)

    def _give_back(self) -> None:
        """Count one who leaves; give memory back when the last one does, or many have."""
        with self._lock:
            self._serving -= 1
            self._gone += 1
            last, burst = self._serving == 0, self._most >= _MANY
            if not last and self._gone < _MANY:
                return
            self._gone = 0
            if last:
                self._most = 0
        if last and burst:
            gc.collect()  # futurist's workers are cycles, and grow old before they go: nothing else finds them soon
        trim()
