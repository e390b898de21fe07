"""A bounded pool of workers, shared by kinds of work.

Guarantees: (1) admission counts work, never threads: at most `limit` tasks run at a time, of each kind at most its cap,
and a pool that was full takes work again as soon as a task ends; who waits for other work lends its place, and what
that adds is bounded (`admission.py`, `nesting.py`): never more than `limit` and a quarter of it in threads; (2) a task
over its kind's cap waits in its kind's queue and holds no thread; kinds take turns; (3) a slot, once given, is a
promise: `Slot.run` never refuses; (4) refusal is immediate and says which pool and kind, how full, since when; (5) the
reserved share is for critical kinds alone; (6) a worker without work parks without polling, the last to park is the
first to work, and leaves after `idle_s`; (7) a pool belongs to the process that made it; (8) after `drain` begins
nothing is admitted, no lock is held while it waits, and it returns by its deadline with the names of what it gave up;
residents are stopped when no work is left that may need them; (9) the clock is read under `_lock`, so that no time it
tells is negative. Lock order: `_lock`, then the watch's; nothing else is called under it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ironic_lite.clock import Clock, Deadline
from ironic_lite.executors import nesting
from ironic_lite.executors.admission import Admission
from ironic_lite.executors.crew import Crew
from ironic_lite.executors.kinds import Kind, Line
from ironic_lite.executors.residents import Residents, Stop
from ironic_lite.executors.runner import HERE, Runner
from ironic_lite.executors.slot import Slot
from ironic_lite.executors.stats import PoolStats, of_kind, of_pool
from ironic_lite.executors.task import Task
from ironic_lite.executors.watch import Watch

P = ParamSpec("P")
T = TypeVar("T")
LOG = logging.getLogger(__name__)
IDLE_S = 30.0


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
        self._admission = Admission(name, limit, reserved, kinds)
        self._held: set[Slot] = set()
        self._running: set[Task[Any]] = set()
        self._idle: list[Runner] = []
        self._threads = 0
        self._ended = threading.Event()
        self._crew = Crew(limit + self._admission.lendable)
        self._residents = Residents(name)
        self._watch = Watch(f"{name} watch", clock, self.running)
        self._watching = False

    def slot(self, kind: str, name: str) -> Slot:
        """Set a place aside for the work called `name`, before anything is promised to anybody.

        Raises `NoFreeWorker`, or `Stopping` once the pool drains.
        """
        self._check_process()
        with self._lock:
            now, line = self._clock.monotonic(), self._admission.lines[kind]
            slot = Slot(self, line, name, has_place=self._admission.admit(line, now))
            self._held.add(slot)
        return slot

    def submit(self, kind: str, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """Run the function in a worker, in the caller's context; what it returns or raises is the task's result.

        Raises `NoFreeWorker`, or `Stopping` once the pool drains.
        """
        self._check_process()
        line = self._admission.lines[kind]
        task = Task(self, line, name, partial(function, *args, **kwargs))
        with self._lock:
            task.queued_at = now = self._clock.monotonic()
            runner = self._place(task, now, has_place=self._admission.admit(line, now))
        self._hire(runner)
        return task

    def wait(self, futures: Iterable[Future[Any]], deadline: Deadline) -> list[Future[Any]]:
        """Wait until all have ended; those that the deadline finds unfinished are returned. They may be of any pool.

        In a pool's thread it is the only way to wait (`nesting.py` says how). Raises `WouldDeadlock`.
        """
        return nesting.wait(futures, deadline)

    def start_resident(self, name: str, main: Callable[[], None], stop: Stop) -> threading.Thread:
        """Start a thread that takes no tasks and no place; `stop` ends and joins it, by `drain` at the latest.

        Raises `Stopping` once the pool drains.
        """
        self._check_process()
        return self._residents.start(name, main, stop)

    def set_caps(self, kinds: Sequence[Kind]) -> None:
        """Take over the caps, queues and deadlines of `kinds`, which must be kinds of this pool. Running work stays."""
        with self._lock:
            self._admission.change(kinds)
            hired = self._begin_waiting(self._clock.monotonic())
        self._hire_all(hired)

    def cap(self, kind: str) -> int:
        """How many tasks of the kind may run at a time."""
        return self._admission.lines[kind].own.limit

    def running(self) -> list[Task[Any]]:
        """The tasks that run now."""
        with self._lock:
            return list(self._running)

    def stats(self) -> PoolStats:
        """What the pool is doing now, and has done."""
        resident = self._residents.count()
        with self._lock:
            now = self._clock.monotonic()
            kinds = tuple(of_kind(line, self._longest(line, now)) for line in self._admission.lines.values())
            threads, idle = self._threads + resident, len(self._idle)
            busy, lent = self._admission.all.used, self._admission.lent
        return of_pool((self.name, self.limit, self.reserved), (threads, idle, resident, busy, lent), kinds)

    def _longest(self, line: Line, now: float) -> tuple[str | None, float]:
        mine = (task for task in self._running if task.line is line)
        oldest = min(mine, key=lambda task: task.started_at, default=None)
        return (oldest.name, now - oldest.started_at) if oldest else (None, 0.0)

    @property
    def draining(self) -> bool:
        """Whether the pool ends: work that is not waited for leaves alone what others may take over."""
        return self._admission.closed

    def drain(self, deadline: Deadline) -> list[str]:
        """Refuse new work, cancel what waits, wait for what runs. The names of what did not end in time are returned.

        Kinds that only read are not waited for.
        """
        self._residents.close()
        with self._lock:
            self._admission.closed = True
            waiting = self._admission.in_line()
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
        return self._unfinished() or self._residents.stop(deadline)

    def withdraw(self, task: Task[Any]) -> None:
        """Take a cancelled task out of its line; one that a worker was handed meanwhile is the worker's to drop."""
        with self._lock:
            if not self._admission.take_out(task):
                return
            task.line.cancelled += 1
        task.set_running_or_notify_cancel()

    def use(self, slot: Slot, task: Task[Any]) -> None:
        """Begin the work that a place was set aside for."""
        with self._lock:
            task.queued_at = now = self._clock.monotonic()
            self._held.remove(slot)
            runner = self._place(task, now, has_place=slot.has_place)
        self._hire(runner)

    def give_back(self, slot: Slot) -> None:
        """Take back a place that was set aside and not used."""
        with self._lock:
            self._held.remove(slot)
            if slot.has_place:
                self._admission.vacate(slot.line)
            else:
                slot.line.promised -= 1
            hired = self._begin_waiting(self._clock.monotonic())
        self._ended.set()
        self._hire_all(hired)

    def run_here(self, task: Task[Any], runner: Runner) -> None:
        """Run a task that stands in line on the place of the worker that waits for it; any other is left alone."""
        with self._lock:
            if not self._admission.take_out(task):
                return
            self._note_start(task, self._clock.monotonic())
        if not self._watching:
            self._start_watch()
        waiter, runner.task = runner.task, task
        task.thread_id = runner.thread_id
        begun = task.set_running_or_notify_cancel()
        result, error = task.run() if begun else (None, None)
        runner.task = waiter
        now = self._clock.monotonic()
        with self._lock:
            self._running.discard(task)
            task.line.count_end(now - task.started_at, failed=error is not None if begun else None)
        if self.draining:
            self._ended.set()
        if begun:
            task.settle(result, error)

    @contextlib.contextmanager
    def lent(self, line: Line) -> Iterator[None]:
        """Within the block, let others have the place of a worker that waits, if one more may be lent."""
        with self._lock:
            lent = self._admission.lend(line)
            hired = self._begin_waiting(self._clock.monotonic()) if lent else []
        try:
            self._hire_all(hired)
            yield
        finally:
            if lent:
                with self._lock:
                    self._admission.take_back(line, self._clock.monotonic())

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(f"Pool {self.name} was made in process {self._pid}: make pools after the fork.")

    def _unfinished(self) -> list[str]:
        with self._lock:
            live = [(slot.line, slot.name) for slot in self._held]
            live += [(task.line, task.name) for task in self._running]
            live += [(task.line, task.name) for task in self._admission.in_line()]
        return sorted(name for line, name in live if not line.kind.only_reads)

    def _place(self, task: Task[Any], now: float, *, has_place: bool) -> Runner | None:
        """Begin an admitted task, or put it in line. The lock is held."""
        if has_place or self._admission.enter(task, now):
            return self._begin(task, now)
        return None

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
            runner.task, runner.line = task, task.line
            runner.wake.release()
            return None
        self._threads += 1
        return Runner(self, task)

    def _begin_waiting(self, now: float) -> list[Runner | None]:
        """Begin whatever waits and may run. The lock is held."""
        hired = []
        while (task := self._admission.next(now)) is not None:
            hired.append(self._begin(task, now))
        return hired

    def _hire_all(self, runners: Iterable[Runner | None]) -> None:
        for runner in runners:
            self._hire(runner)

    def _hire(self, runner: Runner | None) -> None:
        """Give a thread to a new worker. The lock is not held."""
        if runner is None:
            return
        if not self._watching:
            self._start_watch()
        while (task := runner.task) is not None:
            try:
                self._crew.hire(partial(self._serve, runner))
            except RuntimeError as exc:
                LOG.exception("Pool %s gets no more threads from the system.", self.name)
                self._fail(task, runner, exc)
            else:
                return

    def _start_watch(self) -> None:
        with self._lock:
            wanted = not self._watching and any(
                line.kind.deadline_s is not None for line in self._admission.lines.values()
            )
            self._watching = True
        if wanted:
            self._watch.start()

    def _fail(self, task: Task[Any], runner: Runner, error: RuntimeError) -> None:
        """End a task that gets no thread; what its runner is to do next is the runner's task."""
        begun = task.set_running_or_notify_cancel()
        goes_on = self._finish(task, runner, failed=True)
        if begun:
            task.settle(None, error)
        if not goes_on:
            self._leave(runner)

    def _serve(self, runner: Runner) -> None:
        """One worker's life."""
        HERE.runner, runner.thread_id = runner, threading.get_ident()
        while (task := runner.task) is not None:
            if not self._work(task, runner):
                self._park(runner)
        HERE.runner = None

    def _work(self, task: Task[Any], runner: Runner) -> bool:
        """Run one task; whether the runner has another one."""
        task.thread_id = runner.thread_id
        if not task.set_running_or_notify_cancel():
            return self._finish(task, runner, failed=None)
        result, error = task.run()
        goes_on = self._finish(task, runner, failed=error is not None)
        # Only now: who waits for the task finds its place free.
        task.settle(result, error)
        return goes_on

    def _finish(self, task: Task[Any], runner: Runner, *, failed: bool | None) -> bool:
        """Give the place back and take the next task, in one step; without any (False), the runner counts as parked."""
        line, admission = task.line, self._admission
        with self._lock:
            now = self._clock.monotonic()
            self._running.discard(task)
            line.count_end(now - task.started_at, failed=failed)
            admission.vacate(line)
            following = runner.task = admission.next(now)
            if following is not None:
                runner.line = following.line
                self._note_start(following, now)
            elif admission.closed:
                self._threads -= 1
                runner.wake.release()
            else:
                self._idle.append(runner)
        if admission.closed:
            self._ended.set()
        return following is not None

    def _park(self, runner: Runner) -> None:
        """Wait for a task; none is there when it is time to leave."""
        if not runner.wake.acquire(timeout=self._idle_s) and not self._leave(runner):
            runner.wake.acquire()  # it was handed a task, or told to leave, just now

    def _leave(self, runner: Runner) -> bool:
        """Park no longer. False if somebody took the runner up meanwhile."""
        with self._lock:
            if runner not in self._idle:
                return False
            self._idle.remove(runner)
            self._threads -= 1
            return True
