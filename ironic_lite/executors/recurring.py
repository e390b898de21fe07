"""Work that recurs: a row of the agenda's table, and when its turns are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from ironic_lite.executors.entry import UNSET
from ironic_lite.executors.turns import next_turn

ASK_AGAIN_S: Final = 60.0  # after an interval of 0


class Recurring(msgspec.Struct, frozen=True):
    """Work to repeat.

    `interval_s` is asked before each turn; 0 means "not now", and is asked again in a minute. The work is done in the
    agenda's pool as work of `kind`; None is for the few things that must happen however full the pool is: they run in
    the agenda's own thread, and everything else on it waits as long as they take.
    """

    name: str
    interval_s: Callable[[], float]
    work: Callable[[], None]
    kind: str | None


class Row:
    """A recurring work of one agenda. `at` says whose agenda it is: it shifts the turns."""

    def __init__(self, what: Recurring, at: str) -> None:
        self.what = what
        self.due = UNSET  # on the monotonic clock
        self.under_way = False  # from when the pool has it until it ends; a turn that falls into it is left out
        self._thing = f"{what.name} at {at}"

    def next_turn(self, now: float, interval_s: float) -> float:
        """The first turn after `now`: after a restart the same ones, on each host and for each row other ones."""
        return next_turn(self._thing, now, interval_s if 0 < interval_s < math.inf else ASK_AGAIN_S)

    def rest(self) -> None:
        """The turn is over."""
        self.under_way = False
