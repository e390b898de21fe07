"""Time limits of thousands of tasks on one loop, which looks at all of them together.

`asyncio.timeout` has a timer for each, which goes through the loop's heap and out of it again. Here a limit costs an
entry of a dictionary, and is noticed at the next look, at most `LOOK_S` late; while there is no limit, nobody looks.

*Guarantees.* (1) Each thread has limits of its own, those of the loop that runs in it. (2) A block that has ended is
not cancelled any more. (3) A cancellation by somebody else goes on as one, whether the time was over or not.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Final

LOOK_S: Final = 0.1


class Timeouts(threading.local):
    """The limits that are running on a thread's loop."""

    def __init__(self) -> None:
        self.running: dict[TimeLimit, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that looks, while anything is running

    def begin(self, limit: TimeLimit, seconds: float) -> None:
        """Look after it from here on."""
        loop = asyncio.get_running_loop()
        self.running[limit] = loop.time() + seconds
        if loop is not self._loop:
            self._loop = loop
            loop.call_later(LOOK_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for limit in [limit for limit, end in self.running.items() if end <= now]:
            del self.running[limit]
            limit.pass_by()
        if self.running:
            loop.call_later(LOOK_S, self._look, loop)
        else:
            self._loop = None


_TIMEOUTS: Final = Timeouts()


class TimeLimit:
    """A block that its task is cancelled in, and which then raises `TimeoutError`, when so many seconds are over."""

    __slots__ = ("_cancelling", "_passed", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds, self._passed = seconds, False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Only a task has a time limit.")
        self._task, self._cancelling = task, task.cancelling()
        _TIMEOUTS.begin(self, self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        _TIMEOUTS.running.pop(self, None)
        # Somebody else may have cancelled the task as well: that is not ours to swallow.
        if self._passed and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from exc

    def pass_by(self) -> None:
        """The time is over."""
        self._passed = True
        self._task.cancel()
