"""Whose turn it is at a BMC, and the one loop that all BMCs are spoken to on. Knows no protocol.

*Guarantees.* (1) At each `Contact` one piece of work runs at a time; who waits goes by rank, then by arrival, and at
most `WAITING_LIMIT` wait. (2) A piece of work, its wait included, ends by its deadline, or a look of `TimeLimit` later.
(3) At most `Gate.limit` connections are being made at the same moment, and one that hangs keeps its place for
`Gate.hold_s` only, so that dead BMCs hold up nobody for longer. (4) The loop and its thread begin when `IO` is first
given something to do, and end with `IO.stop`, by its deadline; what comes later begins another one. `Contact` and
`Gate` are used on the loop alone; `IO` by any thread.
Lock order: `IoLoop._lock`, then those of its pool and its `LoopThread`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import enum
import heapq
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Final, TypeVar

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.loops import LoopThread
from ironic_lite.executors.stats import LoopStats
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.executors.timeouts import TimeLimit

T = TypeVar("T")

# Threads that may wait for the loop at a time: more than any pool of ours has. What the loop itself begins is no part
# of it.
SUBMITTED_LIMIT: Final = 4096
WAITING_LIMIT: Final = 16
CONNECTING_LIMIT: Final = 64
CONNECTING_HOLD_S: Final = 0.5
# How much later than its deadline the loop may tell a thread of it.
LATE_S: Final = 1.0


class Rank(enum.IntEnum):
    """Who goes first between two requests."""

    ACTION = 0
    POWER = 1
    SENSORS = 2


class Engaged(Exception):
    """Another piece of work was still under way at the BMC when the deadline passed, or too many wait for it."""


class Contact:
    """One BMC, as far as taking turns goes."""

    __slots__ = ("_busy", "_order", "_waiting")

    def __init__(self) -> None:
        self._busy = False
        self._order = 0
        self._waiting: list[tuple[Rank, int, asyncio.Future[None]]] | None = None  # most BMCs never have any

    @property
    def busy(self) -> bool:
        """Whether some work has its turn."""
        return self._busy

    async def run(self, work: Callable[[], Awaitable[T]], rank: Rank, deadline: Deadline) -> T:
        """Run it when its turn has come. Raises `Engaged`, `TimeoutError`, and what the work raises."""
        began = False
        try:
            with TimeLimit(deadline.left_s()):
                if self._busy:
                    await self._wait(rank)
                self._busy = began = True
                try:
                    return await work()
                finally:
                    self._give()
        except TimeoutError:
            if not began:
                raise Engaged from None
            raise

    async def _wait(self, rank: Rank) -> None:
        """Return when it is our turn: whoever gives it to us leaves `_busy` set."""
        waiting = self._waiting = self._waiting if self._waiting is not None else []
        if len(waiting) >= WAITING_LIMIT:
            raise Engaged
        self._order += 1
        entry = (rank, self._order, asyncio.get_running_loop().create_future())
        heapq.heappush(waiting, entry)
        try:
            await entry[2]
        except asyncio.CancelledError:
            if entry in waiting:
                waiting.remove(entry)
                heapq.heapify(waiting)
            else:  # it was given to us in the moment that we gave up
                self._give()
            raise

    def _give(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting)[2].set_result(None)
        else:
            self._busy, self._waiting = False, None


class Gate:
    """How many connections may be in the making: a thousand TLS handshakes at once would all be late."""

    def __init__(self, limit: int = CONNECTING_LIMIT, hold_s: float = CONNECTING_HOLD_S) -> None:
        self.limit, self.hold_s = limit, hold_s
        self._places = asyncio.Semaphore(limit)

    async def enter(self) -> Place:
        """Wait for a place. It is left at the end of the `with` block, or after `hold_s`."""
        await self._places.acquire()
        return Place(self._places, self.hold_s)


class Place:
    """A place in the gate."""

    def __init__(self, places: asyncio.Semaphore, hold_s: float) -> None:
        self._places: asyncio.Semaphore | None = places
        self._timer = asyncio.get_running_loop().call_later(hold_s, self._leave)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._leave()

    def _leave(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release()


class IoLoop:
    """The process's loop for BMCs. The conductor's end stops it, and only after its pool: sessions end on it.

    So its thread lives in a pool of its own, which has no other work.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[TaskPool, LoopThread] | None = None
        self.gate = Gate()

    def submit(self, coroutine: Coroutine[Any, Any, T], name: str) -> concurrent.futures.Future[T]:
        """Run the coroutine on the loop. Raises `NoFreeWorker`."""
        return self._loop().submit(coroutine, name)

    def call(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Have the function called on the loop, after all that it was told before; False while the loop stops."""
        return self._loop().call(function, *arguments)

    def _loop(self) -> LoopThread:
        with self._lock:
            if self._running is None:
                clock = SystemClock()
                pool = TaskPool("bmc", 1, [Kind("no work", cap=1)], clock)
                self.gate = Gate()
                self._running = pool, LoopThread("bmc loop", SUBMITTED_LIMIT, pool, clock)
            return self._running[1]

    @contextlib.contextmanager
    def turn(self, hold: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]], deadline: Deadline) -> Iterator[T]:
        """A BMC's turn for the thread that runs the block, and what `hold` gives it for that.

        `hold` runs on the loop: it takes the turn, says so by calling its argument, and keeps it until it is cancelled
        or the deadline. Raises what it raises, `TimeoutError` and `NoFreeWorker`.
        """
        told: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
        work = self.submit(hold(lambda given: told.put((given,))), "turn of a thread")
        work.add_done_callback(lambda _work: told.put(None))
        try:
            yield _given(told, work, deadline)
        finally:
            work.cancel()

    def running(self) -> bool:
        """Whether there is a loop."""
        with self._lock:
            return self._running is not None

    def stats(self) -> tuple[LoopStats, ...]:
        """What it is doing; empty while there is none."""
        with self._lock:
            return () if self._running is None else (self._running[1].stats(),)

    def stop(self, deadline: Deadline) -> list[str]:
        """End it, if it ever began. The names of what did not end by the deadline are returned."""
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return []
        pool, loop = running
        return loop.stop(deadline) + pool.drain(deadline)


def _given(told: queue.SimpleQueue[tuple[T] | None], work: concurrent.futures.Future[None], deadline: Deadline) -> T:
    """Not `TaskPool.wait`: see `ended`."""
    try:
        given = told.get(timeout=deadline.left_s() + LATE_S)
    except queue.Empty:
        raise TimeoutError from None
    if given is None:
        work.result(0)
        raise TimeoutError
    return given[0]


IO: Final = IoLoop()


def ended(work: concurrent.futures.Future[Any], timeout_s: float) -> bool:
    """Whether work on the loop has ended within that time.

    Not `TaskPool.wait`: a worker that waits for its BMC is at work, and keeps the place that its kind's cap counts.
    """
    done = threading.Event()
    work.add_done_callback(lambda _work: done.set())
    return done.wait(max(0.0, timeout_s))
