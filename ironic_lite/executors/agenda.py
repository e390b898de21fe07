"""The agenda: all that a process means to do later, once or again and again, on one heap and one thread.

Guarantees: (1) the thread sleeps until something is due, an hour at most; only what is due before all else wakes it
earlier; (2) what is due is done in the pool, as work of its kind; the thread itself carries out nothing but rows
without a kind; (3) an entry can be cancelled until its function begins, in the pool's queue too, and either runs or is
cancelled, never both: it begins under the lock, and only if nobody cancelled it; (4) one entry per key waits: who asks
again gets that one, moved forward if it was to come later, and once it has begun a new one; (5) nothing is lost unsaid:
an entry that the pool refuses is tried again after `RETRIES_S`, and then fails with the refusal; a failure is logged,
for as a rule nobody waits for it; (6) a row never overlaps itself, missed turns are not made up, and a row that fails
keeps its turn; (7) after `close` no entry and no row with a kind begins, and every entry that had not begun is
cancelled; `stop` joins the thread by its deadline; (8) an agenda belongs to the process that made it. Lock order:
`_lock`, then a future's own; the pool, and whatever is to be told of a future's end, are called without it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import os
import threading
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, TypeVar, cast

from ironic_lite import errors
from ironic_lite.clock import Clock, Deadline
from ironic_lite.executors.entry import TAKEN, Entry
from ironic_lite.executors.recurring import Recurring, Row
from ironic_lite.executors.task import Task
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.executors.threads import start_thread

T = TypeVar("T")
LOG = logging.getLogger(__name__)
LIMIT: Final = 20_000
RETRIES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
IDLE_S: Final = 3600.0
SLACK: Final = 64  # items of the heap that may be dead, beyond as many as are alive


class Agenda:
    """What is to be done later in `pool`. At most `limit` entries wait; `at` shifts the turns of its rows."""

    def __init__(self, name: str, pool: TaskPool, clock: Clock, *, at: str = "", limit: int = LIMIT) -> None:
        self.name, self.limit = name, limit
        self._pool, self._clock, self._at = pool, clock, at
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, Entry[Any] | Row]] = []  # an item is alive if its `due` is still the same
        self._numbers = itertools.count()
        self._rows = 0
        self._waiting: set[Entry[Any]] = set()  # not begun: on the heap, or in the pool's queue
        self._keys: dict[Hashable, Entry[Any]] = {}
        self._wakes_at = math.inf
        self._changed = threading.Event()
        self._closed = self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; what was put on the agenda before is begun too."""
        self._thread = start_thread(self.name, self._loop)

    def after(
        self, delay_s: float, kind: str, name: str, function: Callable[[], T], *, key: Hashable | None = None
    ) -> Entry[T]:
        """Call the function in the pool after that many seconds, in the caller's context.

        Equal keys mean equal work: while one waits, it is what is returned, and comes at the earlier of the two times.
        Raises `AgendaFull`, or `Stopping` once the agenda is closed.
        """
        self._check_process()
        self._pool.cap(kind)  # a kind that the pool does not know is the caller's error, not the thread's
        if not 0 <= delay_s < math.inf:
            raise ValueError(f"{name} cannot be done after {delay_s} s.")
        due = self._clock.monotonic() + delay_s
        with self._lock:
            entry = self._keys.get(key) if key is not None else None
            if entry is None or entry.cancelled():
                entry = self._admit(Entry(self, kind, name, function, key))
            if due < entry.due:
                self._push(entry, due)
        return cast("Entry[T]", entry)

    def repeat(self, what: Recurring) -> None:
        """Do that work again and again, from its next turn on."""
        self._check_process()
        if what.kind is not None:
            self._pool.cap(what.kind)
        row = Row(what, self._at)
        due = row.next_turn(self._clock.monotonic(), self._interval_s(row))
        with self._lock:
            self._rows += 1
            self._push(row, due)

    def close(self) -> None:
        """Take nothing more and cancel what waits. Rows without a kind go on until `stop`; what has begun goes on."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
        for entry in waiting:
            entry.cancel()

    def stop(self, deadline: Deadline) -> None:
        """Close, and end the thread. Work that has begun is the pool's to wait for."""
        self.close()
        self._stopped = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join(deadline.left_s())

    def forget(self, entry: Entry[Any]) -> None:
        """Let go of an entry that was cancelled."""
        with self._lock:
            self._take_off(entry)
            self._tidy()
            task = entry.task
        if task is not None:
            task.cancel()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(f"Agenda {self.name} was made in process {self._pid}: make agendas after the fork.")

    # The lock is held in these.

    def _admit(self, entry: Entry[Any]) -> Entry[Any]:
        if self._closed:
            raise errors.Stopping(what=f"The {self.name}")
        if len(self._waiting) >= self.limit:
            raise errors.AgendaFull(agenda=self.name, limit=self.limit, name=entry.name)
        self._waiting.add(entry)
        if entry.key is not None:
            self._keys[entry.key] = entry
        return entry

    def _push(self, item: Entry[Any] | Row, due: float) -> None:
        item.due = due
        heapq.heappush(self._heap, (due, next(self._numbers), item))
        self._tidy()
        if due < self._wakes_at:
            self._wakes_at = due
            self._changed.set()

    def _tidy(self) -> None:
        """Dead items hold memory until they would have been due: no more of them than of the others."""
        if len(self._heap) > 2 * (len(self._waiting) + self._rows) + SLACK:
            self._heap = [one for one in self._heap if one[2].due == one[0]]
            heapq.heapify(self._heap)

    def _take_off(self, entry: Entry[Any]) -> bool:
        """Take an entry off the agenda. True if it begins thereby: then the caller has to settle it."""
        if entry not in self._waiting:
            return False
        self._waiting.discard(entry)
        if self._keys.get(entry.key) is entry:
            del self._keys[entry.key]
        return entry.begin()

    # From here on: in the agenda's thread.

    def _loop(self) -> None:
        while not self._stopped:
            self._clock.wait(self._changed, self._begin_due())
            self._changed.clear()

    def _begin_due(self) -> float:
        """Begin all that is due; the seconds until something is again."""
        while not self._stopped and (item := self._next_due()) is not None:
            if isinstance(item, Row):
                self._take_turn(item)
            else:
                self._hand_over(item)
        return max(0.0, self._wakes_at - self._clock.monotonic())

    def _next_due(self) -> Entry[Any] | Row | None:
        now = self._clock.monotonic()
        with self._lock:
            while self._heap:
                due, _, item = self._heap[0]
                alive = item.due == due
                if alive and due > now:
                    break
                heapq.heappop(self._heap)
                if alive:
                    item.due = TAKEN
                    return item
            self._wakes_at = min(self._heap[0][0] if self._heap else math.inf, now + IDLE_S)
            return None

    def _hand_over(self, entry: Entry[Any]) -> None:
        try:
            task = self._pool.submit(entry.kind, entry.name, self._run, entry)
        except errors.NoFreeWorker as exc:
            self._try_again(entry, exc)
        except errors.Stopping:
            entry.cancel()
        except Exception as exc:  # noqa: BLE001  # told by the future; this thread outlives whatever the pool meets
            self._fail(entry, exc)
        else:
            with self._lock:
                entry.task = task
            task.add_done_callback(partial(self._task_ended, entry))
            if entry.cancelled():  # before it had its task, perhaps
                task.cancel()

    def _try_again(self, entry: Entry[Any], refusal: errors.NoFreeWorker) -> None:
        if entry.refusals == len(RETRIES_S):
            self._fail(entry, refusal)
            return
        due = self._clock.monotonic() + RETRIES_S[entry.refusals]
        entry.refusals += 1
        with self._lock:
            if entry in self._waiting:
                self._push(entry, due)

    def _take_turn(self, row: Row) -> None:
        interval_s = self._interval_s(row)
        if interval_s > 0 and not row.under_way:
            self._begin_row(row)
        if self._closed and row.what.kind is not None:
            return
        with self._lock:  # only now: an inline row that took longer than its interval has missed turns, not due ones
            self._push(row, row.next_turn(self._clock.monotonic(), interval_s))

    def _begin_row(self, row: Row) -> None:
        if row.what.kind is None:
            self._run_row(row)
            return
        row.under_way = True
        try:
            task = self._pool.submit(row.what.kind, row.what.name, self._run_row, row)
        except Exception as exc:  # as in `_hand_over`
            row.rest()
            LOG.warning("%s misses a turn: %s", row.what.name, exc, exc_info=_trace(exc))
        else:
            task.add_done_callback(lambda _: row.rest())

    def _interval_s(self, row: Row) -> float:
        try:
            return row.what.interval_s()
        except Exception:
            LOG.exception("%s does not say how often, and is asked again.", row.what.name)
            return 0

    # And in the pool's.

    def _run(self, entry: Entry[T]) -> None:
        with self._lock:
            begins = self._take_off(entry)
        if not begins:
            return
        try:
            result = entry.call()
        except BaseException as exc:
            _log_failure(entry, exc)
            entry.set_exception(exc)
            raise  # the pool counts it
        entry.set_result(result)

    def _task_ended(self, entry: Entry[Any], task: Task[Any]) -> None:
        """A task that the pool gave up before it began leaves its entry to us."""
        if task.cancelled():
            entry.cancel()
        elif (exc := task.exception()) is not None:
            self._fail(entry, exc)

    def _fail(self, entry: Entry[Any], error: BaseException) -> None:
        """End an entry that cannot begin."""
        with self._lock:
            waited = self._take_off(entry)
        if waited:
            _log_failure(entry, error)
            entry.set_exception(error)

    def _run_row(self, row: Row) -> None:
        with self._lock:
            if self._stopped or (self._closed and row.what.kind is not None):
                return
        try:
            row.what.work()
        except Exception as exc:  # a row keeps its turn
            LOG.warning("%s failed and will be tried at its next turn: %s", row.what.name, exc, exc_info=_trace(exc))


def _log_failure(entry: Entry[Any], error: BaseException) -> None:
    LOG.warning("%s failed: %s", entry.name, error, exc_info=_trace(error))


def _trace(error: BaseException) -> BaseException | None:
    """What the log shows the stack of: an error that nobody foresaw."""
    return None if isinstance(error, errors.Error) else error
