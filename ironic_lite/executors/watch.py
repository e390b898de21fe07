"""Who runs longer than it may: each such task is reported once, with the stack that it is in.

Guarantees: (1) the thread sleeps while nothing can become overdue: at most one wake-up per deadline that passes;
(2) it reports only a task that still runs once its stack was taken, so no stack is another task's; (3) it ends, joined,
by the deadline of `stop`.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from ironic_lite.clock import Clock, Deadline
from ironic_lite.executors.task import Task
from ironic_lite.executors.threads import start_thread

LOG = logging.getLogger(__name__)
IDLE_S = 3600.0


class Watch:
    """Watches the tasks that `running` lists, a copy at each call."""

    def __init__(self, name: str, clock: Clock, running: Callable[[], list[Task[Any]]]) -> None:
        self._name, self._clock, self._running = name, clock, running
        self._lock = threading.Lock()
        self._wakes_at = math.inf
        self._changed = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def expect(self, at: float) -> None:
        """Look again at this time, if not before. Called under the pool's lock, with the task listed already."""
        if at >= self._wakes_at:
            return
        with self._lock:
            self._wakes_at = min(at, self._wakes_at)
        self._changed.set()

    def start(self) -> None:
        """Begin."""
        self._thread = start_thread(self._name, self._loop)

    def stop(self, deadline: Deadline) -> None:
        """End."""
        self._stopped = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join(deadline.left_s())

    def _loop(self) -> None:
        while not self._stopped:
            self._clock.wait(self._changed, min(IDLE_S, self._wakes_at - self._clock.monotonic()))
            self._changed.clear()
            if self._clock.monotonic() >= self._wakes_at:
                self._look()

    def _look(self) -> None:
        with self._lock:
            self._wakes_at = math.inf  # before the list is taken: a task that starts meanwhile sets it again
        now = self._clock.monotonic()
        for task in self._running():
            if task.overdue_at is None:
                continue
            if task.overdue_at > now:
                self.expect(task.overdue_at)
            else:
                self._report(task, now)

    def _report(self, task: Task[Any], now: float) -> None:
        frame = sys._current_frames().get(task.thread_id or 0)  # noqa: SLF001  # the documented way to another's stack
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "  (its thread has not begun)\n"
        task.overdue_at = None
        if not task.done():
            LOG.warning(
                "%s runs for %.1f s, longer than work of kind %r should (%s s). It is here:\n%s",
                task.name, now - task.started_at, task.line.kind.name, task.line.kind.deadline_s, stack,
            )  # fmt: skip
