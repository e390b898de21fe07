"""One thing on the agenda to be done once: the future of its result, to be cancelled until its function begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import Any, Final, Protocol, TypeVar

from ironic_lite.executors.task import Task

T = TypeVar("T")

UNSET: Final = math.inf
TAKEN: Final = -math.inf


class Owner(Protocol):
    """What an entry needs of its agenda."""

    def forget(self, entry: Entry[Any]) -> None:
        """Let go of an entry that was cancelled."""


class Entry(Future[T]):
    """Settled by its agenda alone. Whoever asked under the same key has the same entry: a cancel is one for all."""

    def __init__(self, owner: Owner, kind: str, name: str, function: Callable[[], T], key: Hashable | None) -> None:
        super().__init__()
        self.kind, self.name, self.key = kind, name, key
        self.due = UNSET  # on the monotonic clock; `TAKEN` once the pool has it, or nobody wants it any more
        self.refusals = 0
        self.task: Task[T | None] | None = None
        self._owner = owner
        self._work: tuple[Context, Callable[[], T]] | None = (copy_context(), function)

    def cancel(self) -> bool:
        """See that it never begins. False if it has begun, or has ended."""
        if not super().cancel():
            return False
        self._owner.forget(self)
        return True

    def begin(self) -> bool:
        """Leave the state in which it can be cancelled. False if it was; whoever waits for it knows that then."""
        self.due = TAKEN
        begun = self.set_running_or_notify_cancel()
        if not begun:
            self._work = None
        return begun

    def call(self) -> T:
        """Call the function in the context of whoever asked for it; it is let go of: it may hold much."""
        if self._work is None:
            raise RuntimeError(f"{self.name} was called twice.")
        (context, function), self._work = self._work, None
        return context.run(function)
