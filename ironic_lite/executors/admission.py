"""Who of a pool's work may run and who waits: the places, and the lines of the kinds. The pool's lock guards all of it.

Guarantees: (1) nothing begins while all places of the pool, of its kind or of the ordinary share are taken; (2) work
that waits leaves its line in order, the kinds in turn; (3) a lent place is taken back at once, over the limit if it is
taken meanwhile, and nothing begins there until that is worked off; (4) at most `lendable` places are lent, or taken
over the ordinary share after a loan, at a time: so places taken and lent are never more than `limit + lendable`;
(5) the reserved share is for critical kinds alone: what goes on over the ordinary share takes nothing from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ironic_lite import errors
from ironic_lite.executors.kinds import Kind, Line, Places

if TYPE_CHECKING:
    from ironic_lite.executors.task import Task

_LENT_OF: Final = 4  # one place in so many may be lent: no wait needs a loan to end, the pool is only better used


class Admission:
    """The places and lines of one pool."""

    def __init__(self, pool: str, limit: int, reserved: int, kinds: Iterable[Kind]) -> None:
        """Of `limit` places, `reserved` are for critical kinds alone."""
        self.limit, self.lendable = limit, max(1, limit // _LENT_OF)
        self.all, self._ordinary = Places(limit), Places(limit - reserved)
        self.lines = {kind.name: Line(kind, self._shared(kind)) for kind in kinds}
        self.lent = 0
        self.closed = False
        self._pool = pool
        self._turns: deque[Line] = deque()  # the lines that have a queue, in turn

    def _shared(self, kind: Kind) -> tuple[Places, ...]:
        return (self.all,) if kind.critical else (self.all, self._ordinary)

    def change(self, kinds: Sequence[Kind]) -> None:
        """Take over caps, queues and deadlines."""
        for kind in kinds:
            line = self.lines[kind.name]
            line.kind, line.own.limit = kind, kind.cap

    def admit(self, line: Line, now: float) -> bool:
        """Set a place aside to run in (True), or one in the queue. Raises `NoFreeWorker`, or `Stopping` once closed."""
        if self.closed:
            raise errors.Stopping(what=f"The {self._pool}")
        full = line.full()
        if full is None:
            line.occupy(now)
            return True
        if line.waiting() >= line.kind.queue:
            line.refused += 1
            raise errors.NoFreeWorker(
                pool=self._pool, kind=line.kind.name, busy=full.used, limit=full.limit,
                waiting=line.waiting(), queue=line.kind.queue, since_s=now - full.full_since,
            )  # fmt: skip
        line.promised += 1
        return False

    def enter(self, task: Task[Any], now: float) -> bool:
        """Let a task in that was promised a place in the queue: it may run (True), or stands in line."""
        line = task.line
        line.promised -= 1
        if line.full():
            if not line.queue:
                self._turns.append(line)
            line.queue.append(task)
            return False
        line.occupy(now)
        return True

    def next(self, now: float) -> Task[Any] | None:
        """The next task that may run, out of its line and with its place."""
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

    def take_out(self, task: Task[Any]) -> bool:
        """Take a task out of its line without a place. False if it does not stand there any more."""
        line = task.line
        if task not in line.queue:
            return False
        line.queue.remove(task)
        if not line.queue:
            self._turns.remove(line)
        return True

    def in_line(self) -> list[Task[Any]]:
        """Everything that waits."""
        return [task for line in self._turns for task in line.queue]

    def vacate(self, line: Line) -> None:
        """Give a place back."""
        line.vacate()
        if self.all.limit > self.limit:
            self._stretch()

    def lend(self, line: Line) -> bool:
        """Let others have a place while who holds it waits. False if as many as may be are lent already."""
        if self.lent + self.all.limit - self.limit >= self.lendable:
            return False
        self.lent += 1
        self.vacate(line)
        return True

    def take_back(self, line: Line, now: float) -> None:
        """Have a lent place again."""
        self.lent -= 1
        line.occupy(now)
        self._stretch()

    def _stretch(self) -> None:
        """Let critical kinds have their share beside what runs over the ordinary one."""
        self.all.limit = self.limit + max(0, self._ordinary.used - self._ordinary.limit)
