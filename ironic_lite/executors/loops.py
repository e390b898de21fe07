"""An asyncio loop on a thread of a pool, for work that is made of coroutines.

Guarantees: (1) at most `limit` coroutines are in flight; one more is refused at once, and a place is free again only
when its coroutine has truly ended, not when it was merely told to; (2) each submitted coroutine's Future is settled
exactly once: with its result, its exception, its cancellation, or `Interrupted` by the stop; (3) a coroutine runs in a
copy of the submitter's context variables; (4) from the moment `stop` is called nothing new is taken, all that runs is
cancelled, and `stop` returns by its deadline with the names of what did not end; (5) after `stop` no coroutine is
resumed, not even by a loop that was blocked and comes back, or by the garbage collector; a call that blocks the loop
runs on in its thread until it returns, for nothing can end it, and its thread ends then; (6) name resolution and the
like, which asyncio gives to threads, has four of them, joined by the stop's deadline too; (7) it belongs to the process
that made it; (8) its thread is a resident of its pool: counted there, without a place of work, and stopped by the
pool's drain once no task is left that may need it, if its owner did not stop it before. The four of (6) are not
counted. Lock order: `_lock` is taken alone; under it the loop is only told to call something.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from ironic_lite import errors
from ironic_lite.clock import Clock, Deadline
from ironic_lite.executors.stats import LoopStats

if TYPE_CHECKING:
    from ironic_lite.executors.taskpool import TaskPool

T = TypeVar("T")

_RESOLVERS: Final = 4

# What was given up, kept for good: a collected task would be closed, and that runs its coroutine once more.
_abandoned: list[object] = []


class _Work:
    """A coroutine in flight."""

    def __init__(self, name: str, coroutine: Coroutine[Any, Any, Any], since: float) -> None:
        self.name, self.coroutine, self.since = name, coroutine, since
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.task: asyncio.Task[Any] | None = None


class LoopThread:
    """A loop that takes coroutines from any thread of its process. Its owner stops it, or the pool's drain does."""

    def __init__(self, name: str, limit: int, pool: TaskPool, clock: Clock, *, lag_interval_s: float = 1.0) -> None:
        """At most `limit` coroutines are in flight. Raises `Stopping` once the pool drains."""
        self.name, self.limit = name, limit
        self._clock, self._lag_interval_s = clock, lag_interval_s
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._works: set[_Work] = set()
        self._full_since: float | None = None
        self._stopping = self._over = False
        self._ender: asyncio.Task[None] | None = None
        self._refused = self._done = 0
        self._lag_s = self._max_lag_s = 0.0
        self._sample_due: float | None = None
        self._resolvers = concurrent.futures.ThreadPoolExecutor(_RESOLVERS, thread_name_prefix=f"{name} resolver")
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(self._resolvers)
        self._loop.set_task_factory(self._gated)
        try:
            self._thread = pool.start_resident(name, self._main, self.stop)
        except BaseException:
            self._loop.close()
            raise

    def submit(self, coroutine: Coroutine[Any, Any, T], name: str | None = None) -> concurrent.futures.Future[T]:
        """Run the coroutine. Cancelling the Future cancels it, at any time until it has ended.

        Raises `NoFreeWorker` when `limit` are in flight, `Stopping` once the loop stops; the coroutine is closed then.
        """
        work = _Work(name or str(getattr(coroutine, "__qualname__", coroutine)), coroutine, self._clock.monotonic())
        future = work.future  # once begun, it is the loop's
        try:
            self._check_process()
            with self._lock:
                self._admit(work)
                self._loop.call_soon_threadsafe(self._begin, work, context=copy_context())
        except BaseException:
            coroutine.close()
            raise
        future.add_done_callback(lambda future: self._cancel(work) if future.cancelled() else None)
        return future

    def call(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Have the function called on the loop, after all that it was told before; False once the loop stops."""
        self._check_process()
        with self._lock:
            if self._stopping:
                return False
            self._loop.call_soon_threadsafe(function, *arguments)
            return True

    def stats(self) -> LoopStats:
        """What the loop is doing now; a loop that is blocked now is late by now."""
        with self._lock:
            now = self._clock.monotonic()
            oldest = min(self._works, key=lambda work: work.since, default=None)
            late_s = now - self._sample_due if self._sample_due is not None else 0.0
            return LoopStats(
                name=self.name,
                limit=self.limit,
                in_flight=len(self._works),
                refused=self._refused,
                done=self._done,
                longest=oldest.name if oldest else None,
                longest_s=now - oldest.since if oldest else 0.0,
                lag_s=max(self._lag_s, late_s),
                max_lag_s=max(self._max_lag_s, late_s),
            )

    def stop(self, deadline: Deadline) -> list[str]:
        """Cancel everything and end the thread. The names of what did not end by the deadline are returned."""
        self._check_process()
        if threading.current_thread() is self._thread:
            raise RuntimeError(f"Loop {self.name} cannot be stopped by a coroutine that it runs.")
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._loop.call_soon_threadsafe(self._wind_down)
        self._thread.join(deadline.left_s())
        abandoned = self._abandon()
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        return sorted(abandoned + self._join_resolvers(deadline))

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(f"Loop {self.name} was made in process {self._pid}: make loops after the fork.")

    def _admit(self, work: _Work) -> None:
        if self._stopping:
            raise errors.Stopping(what=f"Loop {self.name}")
        if len(self._works) >= self.limit:
            self._refused += 1
            raise errors.NoFreeWorker(
                pool=self.name,
                kind="coroutines",
                busy=len(self._works),
                limit=self.limit,
                since_s=work.since - (self._full_since if self._full_since is not None else work.since),
                waiting=0,
                queue=0,
            )
        self._works.add(work)
        if len(self._works) == self.limit:
            self._full_since = work.since

    def _cancel(self, work: _Work) -> None:
        """Tell a coroutine whose Future was cancelled by somebody who waits no more."""
        with self._lock:
            if work in self._works:
                self._loop.call_soon_threadsafe(self._cancel_task, work)

    def _leave(self, work: _Work) -> bool:
        """Free the place; False if it is free already. Who frees it settles the Future."""
        with self._lock:
            if work not in self._works:
                return False
            self._works.discard(work)
            self._full_since = None
            self._done += 1
            return True

    def _abandon(self) -> list[str]:
        """Give up what is still in flight: no step of it begins any more."""
        with self._lock:
            self._over = True
            left = list(self._works)
            self._works.clear()
            if left:
                _abandoned.extend([self._loop, *left])
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._loop.stop)
        for work in left:
            if work.future.set_running_or_notify_cancel():
                work.future.set_exception(errors.Interrupted(what=work.name))
        return [work.name for work in left]

    def _join_resolvers(self, deadline: Deadline) -> list[str]:
        ours = [one for one in threading.enumerate() if one.name.startswith(f"{self.name} resolver")]
        for thread in ours:
            thread.join(deadline.left_s())
        return [thread.name for thread in ours if thread.is_alive()]

    # From here on: in the loop's thread.

    def _main(self) -> None:
        with contextlib.suppress(_Over):
            self._loop.run_forever()
        with self._lock:  # until here it can be told to call something
            _abandoned.extend(asyncio.all_tasks(self._loop))
            self._loop.close()

    def _gated(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T], **more: Any
    ) -> asyncio.Task[T]:
        return asyncio.Task(_Gate(self, coroutine), loop=loop, **more)

    def _begin(self, work: _Work) -> None:
        work.task = self._loop.create_task(work.coroutine)
        work.task.add_done_callback(lambda task: self._settle(work, task))
        if self._sample_due is None:
            self._sample_next()

    def _cancel_task(self, work: _Work) -> None:
        if work.task is not None:
            work.task.cancel()

    def _settle(self, work: _Work, task: asyncio.Task[Any]) -> None:
        exc = None if task.cancelled() else task.exception()
        if not self._leave(work):
            return
        future = work.future
        del work.future  # its callback holds the work: each result would wait for the garbage collector
        if task.cancelled() and not self._stopping:
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        if task.cancelled():
            future.set_exception(errors.Interrupted(what=work.name))
        elif exc is not None:
            future.set_exception(exc)
        else:
            future.set_result(task.result())

    def _sample_next(self) -> None:
        self._sample_due = self._clock.monotonic() + self._lag_interval_s
        self._loop.call_later(self._lag_interval_s, self._sample, self._sample_due)

    def _sample(self, due: float) -> None:
        """Note how late the loop is; while it has nothing to do, it is left asleep."""
        with self._lock:
            self._lag_s = max(0.0, self._clock.monotonic() - due)
            self._max_lag_s = max(self._max_lag_s, self._lag_s)
            self._sample_due = None
            busy = bool(self._works)
        if busy:
            self._sample_next()

    def _wind_down(self) -> None:
        self._ender = self._loop.create_task(self._end())  # held, for a loop holds its tasks weakly

    async def _end(self) -> None:
        """Cancel all tasks, and those that their cleaning up begins; then stop the loop."""
        me = asyncio.current_task()
        while tasks := asyncio.all_tasks() - {me}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self._loop.shutdown_asyncgens()
        self._loop.stop()


class _Over(SystemExit):
    """Raised in a task of a loop that is over: asyncio lets a SystemExit out of the loop at once."""


class _Gate(Coroutine[Any, Any, Any]):
    """A coroutine of the loop: each step asks whether the loop is over, and none gets out of it by SystemExit."""

    __slots__ = ("_coroutine", "_owner")

    def __init__(self, owner: LoopThread, coroutine: Any) -> None:
        self._owner, self._coroutine = owner, coroutine

    def __getattr__(self, name: str) -> Any:
        """Its name and its frame, for those who tell what runs."""
        return getattr(self._coroutine, name)

    def send(self, value: Any) -> Any:
        if self._owner._over:  # noqa: SLF001  # a gate is a part of its loop
            self._stay()
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as exc:
            raise self._kept_in(exc) from exc

    def throw(self, *what: Any) -> Any:
        if self._owner._over:  # noqa: SLF001  # likewise
            self._stay()
        try:
            return self._coroutine.throw(*what)
        except (SystemExit, KeyboardInterrupt) as exc:
            raise self._kept_in(exc) from exc

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("A task awaits its coroutine by its steps.")

    def _stay(self) -> NoReturn:
        _abandoned.extend([self, asyncio.current_task()])
        raise _Over

    def _kept_in(self, exc: BaseException) -> RuntimeError:
        return RuntimeError(f"{self.__qualname__} raised {exc!r}, which only a main thread may do.")
