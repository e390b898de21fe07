"""A bounded pool of workers, shared by kinds of work.

Guarantees: (1) admission counts work, never threads: at most `limit` tasks run at a time, of each kind at most its cap,
and a pool that was full takes work again as soon as a task ends; (2) a task over its kind's cap waits in its kind's
queue and holds no thread; kinds take turns; (3) a slot, once given, is a promise: `Slot.run` never refuses; (4) refusal
is immediate and says which pool and kind, how full, since when; (5) the reserved share is for critical kinds alone;
(6) a worker without work parks without polling, the last to park is the first to work, and leaves after `idle_s`;
(7) a pool belongs to the process that made it; (8) after `drain` begins nothing is admitted, no lock is held while it
waits, and it returns by its deadline with the names of what it gave up. Lock order: `_lock`, then the watch's;
nothing else is called under it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from ironic_lite import errors
from ironic_lite.clock import Clock, Deadline
from ironic_lite.executors.crew import Crew
from ironic_lite.executors.kinds import Kind, Line, Places
from ironic_lite.executors.stats import PoolStats, of_kind, of_pool
from ironic_lite.executors.task import Task
from ironic_lite.executors.watch import Watch

P = ParamSpec("P")
T = TypeVar("T")
LOG = logging.getLogger(__name__)
IDLE_S = 30.0


class Runner:
    """One worker: the task that it is handed, and what wakes it."""

    __slots__ = ("task", "thread_id", "wake")

    def __init__(self, task: Task[Any]) -> None:
        self.task: Task[Any] | None = task
        self.thread_id = 0
        self.wake = threading.Lock()
        self.wake.acquire()


class TaskPool:
    """Workers for tasks of several kinds."""

    def __init__(
        self, name: str, limit: int, kinds: Sequence[Kind], clock: Clock, *, reserved: int = 0, idle_s: float = IDLE_S
    ) -> None:
        """At most `limit` tasks run at a time; `reserved` of these places are for critical kinds alone."""
        self.name, self.limit, self.reserved = name, limit, reserved
        self._clock, self._idle_s = clock, idle_s
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._all, self._ordinary = Places(limit), Places(limit - reserved)
        self._lines = {kind.name: Line(kind, self._shared(kind)) for kind in kinds}
        self._turns: deque[Line] = deque()  # the lines that have a queue, in turn
        self._held: set[Slot] = set()
        self._running: set[Task[Any]] = set()
        self._idle: list[Runner] = []
        self._threads = 0
        self._stopping = False
        self._ended = threading.Event()
        self._crew = Crew(limit)
        self._watch = Watch(f"{name} watch", clock, self.running)
        self._watching = False

    def _shared(self, kind: Kind) -> tuple[Places, ...]:
        return (self._all,) if kind.critical else (self._all, self._ordinary)

    def slot(self, kind: str, name: str) -> Slot:
        """Set a place aside for the work called `name`, before anything is promised to anybody.

        Raises `NoFreeWorker`, or `Stopping` once the pool drains.
        """
        self._check_process()
        now = self._clock.monotonic()
        with self._lock:
            line = self._lines[kind]
            slot = Slot(self, line, name, has_place=self._admit(line, now))
            self._held.add(slot)
        return slot

    def submit(self, kind: str, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """Run the function in a worker, in the caller's context; what it returns or raises is the task's result.

        Raises `NoFreeWorker`, or `Stopping` once the pool drains.
        """
        self._check_process()
        line = self._lines[kind]
        task = Task(self, line, name, partial(function, *args, **kwargs))
        task.queued_at = now = self._clock.monotonic()
        with self._lock:
            runner = self._place(task, now, has_place=self._admit(line, now))
        self._hire(runner)
        return task

    def set_caps(self, kinds: Sequence[Kind]) -> None:
        """Take over the caps, queues and deadlines of `kinds`, which must be kinds of this pool. Running work stays."""
        with self._lock:
            for kind in kinds:
                line = self._lines[kind.name]
                line.kind, line.own.limit = kind, kind.cap
            hired = self._begin_waiting(self._clock.monotonic())
        for runner in hired:
            self._hire(runner)

    def cap(self, kind: str) -> int:
        """How many tasks of the kind may run at a time."""
        return self._lines[kind].own.limit

    def running(self) -> list[Task[Any]]:
        """The tasks that run now."""
        with self._lock:
            return list(self._running)

    def stats(self) -> PoolStats:
        """What the pool is doing now, and has done."""
        now = self._clock.monotonic()
        with self._lock:
            kinds = tuple(of_kind(line, self._longest(line, now)) for line in self._lines.values())
            threads, idle, busy = self._threads, len(self._idle), self._all.used
        return of_pool((self.name, self.limit, self.reserved), (threads, idle, busy), kinds)

    def _longest(self, line: Line, now: float) -> tuple[str | None, float]:
        mine = (task for task in self._running if task.line is line)
        oldest = min(mine, key=lambda task: task.started_at, default=None)
        return (oldest.name, now - oldest.started_at) if oldest else (None, 0.0)

    @property
    def draining(self) -> bool:
        """Whether the pool ends: work that is not waited for leaves alone what others may take over."""
        return self._stopping

    def drain(self, deadline: Deadline) -> list[str]:
        """Refuse new work, cancel what waits, wait for what runs. The names of what did not end in time are returned.

        Kinds that only read are not waited for.
        """
        with self._lock:
            self._stopping = True
            waiting = [task for line in self._lines.values() for task in line.queue]
            idle, self._idle = self._idle, []
            self._threads -= len(idle)
        for task in waiting:
            task.cancel()
        for runner in idle:
            runner.wake.release()
        while self._unfinished() and not deadline.passed():
            self._ended.wait(deadline.left_s())
            self._ended.clear()
        self._watch.stop(deadline)
        readers = [task.name for task in self.running() if task.line.kind.only_reads]
        if readers:
            LOG.info("Pool %s does not wait for work that only reads: %s.", self.name, ", ".join(sorted(readers)))
        return self._unfinished()

    def withdraw(self, task: Task[Any]) -> None:
        """Take a cancelled task out of its line; one that a worker was handed meanwhile is the worker's to drop."""
        line = task.line
        with self._lock:
            if task not in line.queue:
                return
            line.queue.remove(task)
            line.cancelled += 1
            if not line.queue:
                self._turns.remove(line)
        task.set_running_or_notify_cancel()

    def use(self, slot: Slot, task: Task[Any]) -> None:
        """Begin the work that a place was set aside for."""
        task.queued_at = now = self._clock.monotonic()
        with self._lock:
            self._held.remove(slot)
            runner = self._place(task, now, has_place=slot.has_place)
        self._hire(runner)

    def give_back(self, slot: Slot) -> None:
        """Take back a place that was set aside and not used."""
        with self._lock:
            self._held.remove(slot)
            if slot.has_place:
                slot.line.vacate()
            else:
                slot.line.promised -= 1
            hired = self._begin_waiting(self._clock.monotonic())
        self._ended.set()
        for runner in hired:
            self._hire(runner)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(f"Pool {self.name} was made in process {self._pid}: make pools after the fork.")

    def _unfinished(self) -> list[str]:
        with self._lock:
            live = [(slot.line, slot.name) for slot in self._held]
            live += [(task.line, task.name) for task in self._running]
            live += [(line, task.name) for line in self._turns for task in line.queue]
        return sorted(name for line, name in live if not line.kind.only_reads)

    def _admit(self, line: Line, now: float) -> bool:
        """Set a place aside to run in (True), or one in the queue. The lock is held."""
        if self._stopping:
            raise errors.Stopping(what=f"The {self.name}")
        full = line.full()
        if full is None:
            line.occupy(now)
            return True
        if line.waiting() >= line.kind.queue:
            line.refused += 1
            raise errors.NoFreeWorker(
                pool=self.name, kind=line.kind.name, busy=full.used, limit=full.limit,
                waiting=line.waiting(), queue=line.kind.queue, since_s=now - full.full_since,
            )  # fmt: skip
        line.promised += 1
        return False

    def _place(self, task: Task[Any], now: float, *, has_place: bool) -> Runner | None:
        """Begin an admitted task, or put it in line. The lock is held."""
        line = task.line
        if not has_place:
            line.promised -= 1
            if line.full():
                if not line.queue:
                    self._turns.append(line)
                line.queue.append(task)
                return None
            line.occupy(now)
        return self._begin(task, now)

    def _note_start(self, task: Task[Any], now: float) -> None:
        """A task that has its place starts. The lock is held."""
        line = task.line
        task.started_at = now
        self._running.add(task)
        line.count_start(now - task.queued_at)
        if line.kind.deadline_s is not None:
            task.overdue_at = now + line.kind.deadline_s
            self._watch.expect(task.overdue_at)

    def _begin(self, task: Task[Any], now: float) -> Runner | None:
        """Give a task that has its place to who parked last, or to a new worker, to be hired without the lock."""
        self._note_start(task, now)
        if self._idle:
            runner = self._idle.pop()
            runner.task = task
            runner.wake.release()
            return None
        self._threads += 1
        return Runner(task)

    def _next(self, now: float) -> Task[Any] | None:
        """The next task that may run, the kinds in turn; its place is taken. The lock is held."""
        for _ in range(len(self._turns)):
            line = self._turns.popleft()
            if line.full():
                self._turns.append(line)
                continue
            task = line.queue.popleft()
            if line.queue:
                self._turns.append(line)
            line.occupy(now)
            return task
        return None

    def _begin_waiting(self, now: float) -> list[Runner | None]:
        """Begin whatever waits and may run. The lock is held."""
        hired = []
        while (task := self._next(now)) is not None:
            hired.append(self._begin(task, now))
        return hired

    def _hire(self, runner: Runner | None) -> None:
        if runner is None:
            return
        if not self._watching:
            self._start_watch()
        while runner.task is not None:
            try:
                self._crew.hire(partial(self._serve, runner))
            except RuntimeError as exc:
                LOG.exception("Pool %s gets no more threads from the system.", self.name)
                runner.task = self._fail(runner.task, runner, exc)
            else:
                return

    def _start_watch(self) -> None:
        with self._lock:
            wanted = not self._watching and any(line.kind.deadline_s is not None for line in self._lines.values())
            self._watching = True
        if wanted:
            self._watch.start()

    def _fail(self, task: Task[Any], runner: Runner, error: RuntimeError) -> Task[Any] | None:
        """End a task that gets no thread; returns what its runner was to do next."""
        begun = task.set_running_or_notify_cancel()
        runner.task = None
        following = self._finish(task, runner, failed=True)
        if begun:
            task.settle(None, error)
        return following or (None if self._leave(runner) else runner.task)

    def _serve(self, runner: Runner) -> None:
        """One worker's life."""
        runner.thread_id = threading.get_ident()
        task = runner.task
        while task is not None:
            runner.task = None
            task = self._work(task, runner) or self._park(runner)

    def _work(self, task: Task[Any], runner: Runner) -> Task[Any] | None:
        """Run one task; returns the next one."""
        task.thread_id = runner.thread_id
        if not task.set_running_or_notify_cancel():
            return self._finish(task, runner, failed=None)
        result, error = task.run()
        following = self._finish(task, runner, failed=error is not None)
        # Only now: who waits for the task finds its place free.
        task.settle(result, error)
        return following

    def _finish(self, task: Task[Any], runner: Runner, *, failed: bool | None) -> Task[Any] | None:
        """Give the place back and take the next task, in one step; without any, the runner counts as parked."""
        now = self._clock.monotonic()
        line = task.line
        with self._lock:
            self._running.discard(task)
            line.vacate()
            if failed is None:
                line.cancelled += 1
            else:
                line.count_end(now - task.started_at, failed=failed)
            following = self._next(now)
            if following is not None:
                self._note_start(following, now)
            elif self._stopping:
                self._threads -= 1
                runner.wake.release()
            else:
                self._idle.append(runner)
            stopping = self._stopping
        if stopping:
            self._ended.set()
        return following

    def _park(self, runner: Runner) -> Task[Any] | None:
        """Wait for a task; None when it is time to leave."""
        if not runner.wake.acquire(timeout=self._idle_s):
            if self._leave(runner):
                return None
            runner.wake.acquire()  # it was handed a task, or told to leave, just now
        return runner.task

    def _leave(self, runner: Runner) -> bool:
        """Park no longer. False if somebody took the runner up meanwhile."""
        with self._lock:
            if runner not in self._idle:
                return False
            self._idle.remove(runner)
            self._threads -= 1
            return True


class Slot:
    """A place set aside: used once by `run`, or given back when the block ends."""

    def __init__(self, pool: TaskPool, line: Line, name: str, *, has_place: bool) -> None:
        self.line, self.name, self.has_place = line, name, has_place
        self._pool = pool
        self._used = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._used:
            self._used = True
            self._pool.give_back(self)

    def run(self, function: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run the function on the place that was set aside; a failure is logged."""
        if self._used:
            raise RuntimeError("A slot runs one piece of work.")
        self._used = True
        task = Task(self._pool, self.line, self.name, partial(function, *args, **kwargs))
        task.logs_failure = True
        self._pool.use(self, task)
