"""A promise of a place in a pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Self

from ironic_lite.executors.kinds import Line
from ironic_lite.executors.task import Task

if TYPE_CHECKING:
    from ironic_lite.executors.taskpool import TaskPool

P = ParamSpec("P")


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
