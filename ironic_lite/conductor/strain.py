"""Work that runs long against its interval, and a pool that is short of workers: measured, and said once an hour.

Guarantees: (1) it says nothing while every round ends before the next one begins, every node is asked for its power in
time, and nobody waits for a worker or is refused; (2) each cause is told at most once in `SILENCE_S`, of each kind of
work for itself; (3) it has no thread and no lock: `round_begins` is called by one caller at a time for each kind,
`look` by one caller at a time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ironic_lite.clock import Clock
from ironic_lite.conductor import kinds, lanes, sensors
from ironic_lite.conductor.advice import Advice, Cause, Change
from ironic_lite.conductor.context import Work
from ironic_lite.executors.pacing import PaceStats
from ironic_lite.executors.stats import KindStats, PoolStats

LOG = logging.getLogger(__name__)

SILENCE_S: Final = 3600.0
LONG_WAIT_S: Final = 1.0  # on average, for a worker: less is a burst that passes
MOST_AT_ONCE: Final = 4  # times as many workers: beyond that the measurement says little, and the next one more

# The options that bound each kind of work and each lane, by their names in `advice.OPTIONS`; the smallest counts.
BOUNDED_BY: Final[dict[str, dict[str, Callable[[], int]]]] = {
    Work.POWER_SYNC: {
        "sync_power_state_workers": lambda: kinds.conf.sync_power_state_workers,
        "periodic_max_workers": lambda: kinds.conf.periodic_max_workers,
    },
    Work.POWER_RECOVERY: {"periodic_max_workers": lambda: kinds.conf.periodic_max_workers},
    "coroutines": {"poll_concurrency": lambda: lanes.conf.poll_concurrency},
    "threads": {
        "sync_power_state_workers": lambda: kinds.conf.sync_power_state_workers,
        "periodic_max_workers": lambda: kinds.conf.periodic_max_workers,
    },
    Work.SENSORS: {"sensor_workers": lambda: sensors.conf.workers},
}
# Lanes that should keep up: whose they are, and what they ask with.
LANES: Final = {
    "coroutines": (Work.POWER_SYNC, "coroutines"),
    "threads": (Work.POWER_SYNC, "threads"),
    Work.SENSORS: (Work.SENSORS, "threads"),
}
CAUSES: Final = {Work.POWER_SYNC: Cause.SYNC_BEHIND, Work.SENSORS: Cause.SENSORS_BEHIND}


class _Count(msgspec.Struct, frozen=True):
    """What a kind had done at a time."""

    at: float
    executed: int
    refused: int
    wait_s: float
    run_s: float


class Strain:
    """Compares what the pool has done with what it was to do."""

    def __init__(self, stats: Callable[[], PoolStats], paces: Callable[[], Iterable[PaceStats]], clock: Clock) -> None:
        self._stats, self._paces, self._clock = stats, paces, clock
        self._behind: dict[str, tuple[float, int]] = {}  # when a full lane was looked at, and what it had begun
        self._looks: dict[str, _Count] = {}
        self._told: dict[tuple[Cause, str], float] = {}

    def look(self) -> None:
        """Look at the lanes and the pool as a whole, every now and then."""
        for pace in self._paces():
            if pace.name in LANES:
                self._look_at(pace)
        stats = self._stats()
        for kind in stats.kinds:
            before, now = self._looks.get(kind.name), self._counted(kind)
            self._looks[kind.name] = now
            if before is None:
                continue
            if now.refused > before.refused and kind.name == Work.ACTIONS:
                self._tell_refused(stats, now.refused - before.refused, now.at - before.at)
            if kind.name in BOUNDED_BY:
                self._tell_waits(stats, kind, before, now)

    def _look_at(self, pace: PaceStats) -> None:
        """A lane that was full, with somebody waiting, at two looks in a row, can't keep up."""
        before = self._behind.pop(pace.name, None)
        bounds = BOUNDED_BY[pace.name]
        if not pace.due or pace.running < pace.limit or pace.limit < min(value() for value in bounds.values()):
            return
        now = self._clock.monotonic()
        self._behind[pace.name] = now, pace.begun
        if before is None:
            return
        took_s, begun = now - before[0], max(1, pace.begun - before[1])
        wanted = min(math.ceil(pace.limit * (begun + pace.due) / begun), MOST_AT_ONCE * pace.limit)
        who, how = LANES[pace.name]
        finding = (
            f"The {who} began {begun} visits by {how} within {took_s:.0f} s, {pace.limit} at a time, and "
            f"{pace.due} nodes wait for theirs; the latest begin {pace.lag_p99_s:.1f} s late: at this pace all would "
            f"need {pace.limit} x {begun + pace.due} / {begun} at a time."
        )
        changes = tuple(Change(name, "at least", wanted) for name, value in bounds.items() if value() < wanted)
        self._tell(pace.name, Advice(CAUSES[who], finding, changes))

    def _tell_refused(self, stats: PoolStats, refused: int, within_s: float) -> None:
        finding = (
            f"{refused} actions of clients were refused within {within_s:.0f} s because all {stats.limit} workers were "
            "busy."
        )
        wanted = min(stats.limit + refused, MOST_AT_ONCE * stats.limit)
        advice = Advice(Cause.WORKERS_SHORT, finding, (Change("workers_pool_size", "at least", wanted),))
        self._tell(Work.ACTIONS, advice)

    def _tell_waits(self, stats: PoolStats, kind: KindStats, before: _Count, now: _Count) -> None:
        """Its rounds give the pool no more than its cap, so what waits there waits for the pool's workers.

        Second looks of the power sync come on top, and wait for the cap when that is full.
        """
        if kind.busy >= kind.limit:
            return
        waited_s, visits, within_s = now.wait_s - before.wait_s, now.executed - before.executed, now.at - before.at
        if not visits:  # those that wait still are in no sum yet
            waited_s, visits = kind.queued * within_s, kind.queued
        if waited_s <= LONG_WAIT_S * visits:
            return
        short = math.ceil(waited_s / within_s)
        finding = (
            f"{visits} visits of the {kind.name} waited {waited_s / visits:.1f} s on average for one of {stats.limit} "
            f"workers, as others had them: within {within_s:.0f} s there were {waited_s / within_s:.1f} too few."
        )
        change = Change("workers_pool_size", "at least", stats.limit + short)
        self._tell(kind.name, Advice(Cause.WORKERS_SHORT, finding, (change,)))

    def _counted(self, kind: KindStats) -> _Count:
        return _Count(self._clock.monotonic(), kind.executed, kind.refused, kind.wait_s, kind.run_s)

    def _tell(self, kind: str, advice: Advice) -> None:
        now, last = self._clock.monotonic(), self._told.get((advice.cause, kind))
        if last is not None and now - last < SILENCE_S:
            return
        self._told[advice.cause, kind] = now
        LOG.warning("%s", advice)
