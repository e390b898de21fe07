"""A worker of a pool, and which one the present thread is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ironic_lite.executors.kinds import Line
    from ironic_lite.executors.task import Task
    from ironic_lite.executors.taskpool import TaskPool


class Runner:
    """One worker: the task that it is handed and runs, whose line's place it holds, and what wakes it."""

    __slots__ = ("line", "pool", "task", "thread_id", "wake")

    def __init__(self, pool: TaskPool, task: Task[Any]) -> None:
        self.pool = pool
        self.task: Task[Any] | None = task
        self.line: Line = task.line
        self.thread_id = 0
        self.wake = threading.Lock()
        self.wake.acquire()


class _Here(threading.local):
    """What is known of the present thread: the worker that it is, of whichever pool; None in any other thread."""

    runner: Runner | None = None


HERE: Final = _Here()
