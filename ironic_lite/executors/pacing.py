"""Visits to many things on one loop, each at its own time, a bounded number at the same moment.

Guarantees: (1) a thing has one visit at a time, and one date for its next one; (2) a visit begins at its date, at most
`TICK_S` late, while there is room and the loop keeps up; else those with the earliest dates go first, and begin as soon
as others end, or on later ticks; (3) things that fall due together begin on the same tick, so that thousands cost one
timer; while nothing is due there is no timer but the one of the next date; (4) a visit that raises is logged, and the
thing visited again in `AGAIN_S`; (5) after `stop` no visit begins, and those under way are cancelled. Used on the loop
alone.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

LOG = logging.getLogger(__name__)

TICK_S: Final = 0.1
# Visits that begin on one tick: as many as the loop has carried so far without being late.
LEAST_BATCH: Final = 32
MOST_BATCH: Final = 1024
AGAIN_S: Final = 60.0
_KEPT_LAGS: Final = 1024

Visit = Callable[[str], Coroutine[Any, Any, None]]


class PaceStats(msgspec.Struct, frozen=True):
    """What a pacer is doing, and how late its visits of late began, in seconds."""

    name: str
    running: int
    limit: int
    due: int
    begun: int
    lag_p99_s: float


class Pacer:
    """Visits to things, which it knows by a text each.

    A thing that is being visited is let go of, unless `visit` itself, or somebody else meanwhile, gives it another
    date, which is a time of the loop. `limit` is asked again and again: how many visits may run at the same moment.
    `late` is told at each tick how much later than due the loop began it, in seconds.
    """

    def __init__(
        self, name: str, visit: Visit, limit: Callable[[], int], late: Callable[[float], None] | None = None
    ) -> None:
        self.name = name
        self._visit, self._limit, self._late = visit, limit, late
        self._loop = asyncio.get_running_loop()
        self._dates: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # an entry that does not agree with `_dates` is void
        self._running: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._begun = 0
        self._batch = LEAST_BATCH
        self._lags = [0.0] * _KEPT_LAGS

    def at(self, thing: str, date: float) -> None:
        """Visit it at that time, whatever its date was."""
        if self._stopped or self._dates.get(thing) == date:
            return
        self._dates[thing] = date
        if thing not in self._running:
            self._line_up(thing, date)

    def by(self, thing: str, date: float) -> None:
        """Visit it at that time, unless it is visited sooner."""
        if self._dates.get(thing, math.inf) > date:
            self.at(thing, date)

    def forget(self, thing: str) -> None:
        """Visit it no more; a visit under way goes on."""
        self._dates.pop(thing, None)

    def date(self, thing: str) -> float | None:
        """When it is visited next, if that is known."""
        return self._dates.get(thing)

    def is_behind(self) -> bool:
        """Whether somebody has waited for longer than to the next tick."""
        return bool(self._heap) and self._heap[0][0] < self._loop.time() - TICK_S

    def due(self) -> int:
        """How many things wait for their tick, or for room."""
        now = self._loop.time()
        return sum(1 for date in list(self._dates.values()) if date <= now)

    def visits(self, thing: str) -> bool:
        """Whether a visit to it is under way."""
        return thing in self._running

    def stats(self) -> PaceStats:
        """What it is doing. May be asked by any thread."""
        lags = sorted(self._lags[: min(self._begun, _KEPT_LAGS)])
        return PaceStats(
            name=self.name,
            running=len(self._running),
            limit=self._limit(),
            due=self.due(),
            begun=self._begun,
            lag_p99_s=lags[int(len(lags) * 0.99)] if lags else 0.0,
        )

    def stop(self) -> None:
        """Begin nothing any more, and cancel what runs."""
        self._stopped = True
        self._dates.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._running.values()):
            task.cancel()

    def _line_up(self, thing: str, date: float) -> None:
        heapq.heappush(self._heap, (date, thing))
        if date <= self._heap[0][0]:
            self._arm()

    def _arm(self) -> None:
        """Wake up at the tick that follows the earliest date."""
        now = self._loop.time()
        date = math.ceil(max(self._heap[0][0], now) / TICK_S) * TICK_S
        if date <= now:  # by rounding, or because this is a tick that left something over
            date += TICK_S
        if self._timer is not None:
            if self._timer.when() <= date:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(date, self._tick)

    def _tick(self) -> None:
        timer, self._timer = self._timer, None
        late_s = self._loop.time() - timer.when() if timer is not None else 0.0
        self._batch = max(LEAST_BATCH, self._batch // 2) if late_s > TICK_S else min(MOST_BATCH, 2 * self._batch)
        if self._late is not None:
            self._late(late_s)
        self._begin_due(self._batch)

    def _begin_due(self, most: int) -> None:
        """Begin what is due, and wait for the next tick that has anything to begin."""
        now, heap = self._loop.time(), self._heap
        most = min(most, self._limit() - len(self._running))
        while most > 0 and heap and heap[0][0] <= now:
            date, thing = heapq.heappop(heap)
            if self._dates.get(thing) != date or thing in self._running:
                continue  # void, or it lines up when the visit under way ends
            del self._dates[thing]
            self._lags[self._begun % _KEPT_LAGS] = now - date
            self._begun += 1
            self._running[thing] = self._loop.create_task(self._run(thing))
            most -= 1
        if heap:
            self._arm()

    async def _run(self, thing: str) -> None:
        try:
            await self._visit(thing)
        except Exception:
            LOG.exception("The visit of %s to %s failed unexpectedly.", self.name, thing)
            self.by(thing, self._loop.time() + AGAIN_S)
        finally:
            self._ended(thing)

    def _ended(self, thing: str) -> None:
        del self._running[thing]
        now = self._loop.time()
        date = self._dates.get(thing)
        if date is not None:
            self._dates[thing] = date = max(date, now)
            self._line_up(thing, date)
        if self._heap and self._heap[0][0] <= now:
            self._begin_due(1)
