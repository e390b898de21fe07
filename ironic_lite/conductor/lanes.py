"""The four ways to ask a BMC, each with room of its own: by a coroutine or by a thread, as usual or as a probe.

A BMC that fails is only ever asked in the probes' lanes, whose few places are all that dead BMCs can take. A node is in
one lane at a time. Used on the I/O loop alone, but for `stats`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.picture import Mode, Seen
from ironic_lite.config import Int, Section
from ironic_lite.executors.pacing import Pacer, PaceStats

PROBES: Final = 64
LEAST_IN_FLIGHT: Final = 64
MOST_HASTE: Final = 1024
USUAL_WEIGHT: Final = 1 / 32


class conf(Section, name="conductor"):
    """How many at a time."""

    poll_concurrency = Int(
        5000, min=1, mutable=True, help="BMCs that coroutines may be asking at a time; threads are bounded as ever."
    )


class Lane:
    """One way to ask. `kind` is the pool's, for those that take a thread; `probes`: it is for BMCs that fail."""

    def __init__(self, name: str, kind: Work | None, limit: Callable[[], int], lanes: Lanes, *, probes: bool) -> None:
        self.kind, self._probes = kind, probes
        self.pacer = Pacer(name, functools.partial(lanes.visit, self), limit, lanes.tick)

    def suits(self, seen: Seen) -> bool:
        """Whether the node is still to be asked here: its BMC may have failed, or answered, since it was planned."""
        return self._probes == _is_probed(seen)


def _is_probed(seen: Seen) -> bool:
    return seen.bmc.is_open or seen.view.mode == Mode.RECOVERY


class Lanes:
    """All of them. `visit` asks a node, `late` is told how late the loop was, `rate` says how many turns a second.

    How many coroutines ask at the same time follows from how long an answer takes of late (Little's law), twice as
    many as keeps up; while turns are late all the same, it doubles at each tick.
    """

    def __init__(
        self,
        conductor: Conductor,
        visit: Callable[[Lane, str], Coroutine[Any, Any, None]],
        late: Callable[[float], None],
        rate: Callable[[], float],
    ) -> None:
        self.visit, self._late, self._rate = visit, late, rate
        self._usual_s = 1.0  # how long a question takes of late
        self._haste = 1
        self._room = LEAST_IN_FLIGHT
        pool = conductor.pool
        self._coroutines = Lane("coroutines", None, lambda: self._room, self, probes=False)
        self._by_need = {  # (takes a thread, probes)
            (False, False): self._coroutines,
            (False, True): Lane("probes", None, lambda: PROBES, self, probes=True),
            (True, False): Lane("threads", Work.POWER_SYNC, lambda: pool.cap(Work.POWER_SYNC), self, probes=False),
            (True, True): Lane(
                "probing threads", Work.POWER_RECOVERY, lambda: pool.cap(Work.POWER_RECOVERY), self, probes=True
            ),
        }

    def ask_by(self, seen: Seen, date: float, *, thread: bool = False) -> None:
        """Ask the node at that time, unless it is asked sooner; in the lane that is right for it now."""
        lane = self._by_need[thread or seen.view.way.poll is None, _is_probed(seen)]
        if lane is not seen.lane:
            self.leave(seen)
            seen.lane = lane
        lane.pacer.by(seen.view.uuid, date)

    def leave(self, seen: Seen) -> None:
        """Ask it no more."""
        if seen.lane is not None:
            seen.lane.pacer.forget(seen.view.uuid)
            seen.lane = None

    def took(self, seconds: float) -> None:
        """A question took so long."""
        self._usual_s += USUAL_WEIGHT * (seconds - self._usual_s)

    def stop(self) -> None:
        """Ask nobody any more, and cancel what runs."""
        for lane in self._by_need.values():
            lane.pacer.stop()

    def stats(self) -> tuple[PaceStats, ...]:
        """What each is doing."""
        return tuple(lane.pacer.stats() for lane in self._by_need.values())

    def tick(self, late_s: float) -> None:
        """A tick of one of the lanes began so late."""
        self._late(late_s)
        self._haste = min(2 * self._haste, MOST_HASTE) if self._coroutines.pacer.is_behind() else 1
        wanted = int(2 * self._usual_s * self._rate()) * self._haste
        self._room = min(conf.poll_concurrency, max(LEAST_IN_FLIGHT * self._haste, wanted))
