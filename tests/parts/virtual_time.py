"""An asyncio loop whose time is nobody's: where it would sleep, its time jumps to the next timer."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from ironic_lite.clock import ManualClock

T = TypeVar("T")

# So many turns within so short a time are no progress.
SPINS, SPIN_S = 20_000, 1e-3


class _Jumping(selectors.DefaultSelector):
    """Never waits: it moves the loop's time on instead. `wakes` counts how often the loop would have slept."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.wakes = 0
        self._turns, self._turned_at = 0, 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "Nothing is due any more, and nobody would ever wake the loop up."
        self._turns = self._turns + 1 if self._clock.monotonic() - self._turned_at < SPIN_S else 0
        self._turned_at = self._clock.monotonic() if self._turns == 0 else self._turned_at
        assert self._turns < SPINS, "The loop turns and turns, and its time does not move on."
        if timeout > 0:
            self.wakes += 1
            self._clock.advance(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Hours pass in seconds, the same each time. `clock` shows the loop's time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._jumping = _Jumping(self.clock)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self.clock.monotonic()

    @property
    def wakes(self) -> int:
        """How often it woke up from what would have been a sleep."""
        return self._jumping.wakes

    def block(self, seconds: float) -> None:
        """Take so long in the middle of a callback, as what is no coroutine does."""
        self.clock.advance(seconds)


@contextlib.contextmanager
def virtual_loop() -> Iterator[VirtualLoop]:
    """A loop for as long as the block runs; what is left of tasks is cancelled."""
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop of its own."""
    with virtual_loop() as loop:
        return loop.run_until_complete(scenario)
