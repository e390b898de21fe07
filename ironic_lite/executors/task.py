"""One piece of work in a pool, and the future of its result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from ironic_lite import errors
from ironic_lite.executors.runner import HERE

if TYPE_CHECKING:
    from ironic_lite.executors.kinds import Line
    from ironic_lite.executors.taskpool import TaskPool

T = TypeVar("T")
LOG = logging.getLogger(__name__)


class Task(Future[T]):
    """A future that knows its pool. Times are the pool's monotonic seconds; `started_at` is 0.0 until it starts.

    In a pool's thread `result` and `exception` are for what has ended, and `TaskPool.wait` waits: a plain wait would
    hold its place, and two of them a whole pool, for ever.
    """

    awaits: Sequence[Future[Any]] = ()  # what it waits for now

    def __init__(self, pool: TaskPool, line: Line, name: str, function: Callable[[], T]) -> None:
        super().__init__()
        self.pool, self.line, self.name = pool, line, name
        self.queued_at = self.started_at = 0.0
        self.overdue_at: float | None = None
        self.thread_id: int | None = None
        self.logs_failure = False
        self._function = function
        self._context = copy_context()

    def cancel(self) -> bool:
        """Take it out of the line. False if it has begun, or has ended."""
        cancelled = super().cancel()
        if cancelled:
            self.pool.withdraw(self)
        return cancelled

    def result(self, timeout: float | None = None) -> T:
        """What it returned. Raises what it raised, and `RuntimeError` in a pool's thread if it has not ended."""
        if HERE.runner is not None and not self.done():
            raise self._untimely()
        return Future.result(self, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What it raised. Raises `RuntimeError` in a pool's thread if it has not ended."""
        if HERE.runner is not None and not self.done():
            raise self._untimely()
        return Future.exception(self, timeout)

    def _untimely(self) -> RuntimeError:
        return RuntimeError(f"{self.name} has not ended: in a pool's thread, wait for it with TaskPool.wait first.")

    def run(self) -> tuple[T | None, BaseException | None]:
        """Call the function in the context of whoever asked for it; what it returned or raised."""
        try:
            return self._context.run(self._function), None
        except errors.Error as exc:
            if self.logs_failure:
                LOG.warning("%s failed: %s", self.name, exc)
            return None, exc
        except Exception as exc:
            if self.logs_failure:
                LOG.exception("%s failed unexpectedly.", self.name)
            return None, exc
        except BaseException as exc:  # noqa: BLE001  # SystemExit in a worker ends the task alone, and is its result
            return None, exc
        finally:
            del self._function, self._context  # they may hold much, and the future outlives them

    def settle(self, result: T | None, error: BaseException | None) -> None:
        """Tell whoever waits."""
        if error is None:
            self.set_result(result)  # type: ignore[arg-type]  # without an error it is the function's own
        else:
            self.set_exception(error)
