"""When a child that died is started again, and how long each child may take to stop."""

from __future__ import annotations

from typing import Final

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 30.0
_FORGIVEN_AFTER_S: Final = 60.0


class Backoff:
    """At once the first time; then 0.5 s doubling to 30 s while it keeps dying without getting ready."""

    def __init__(self) -> None:
        self._delay_s = 0.0
        self._last_death: float | None = None

    def delay_s(self, now: float, *, was_ready: bool) -> float:
        """Seconds to wait after a death at `now`; `was_ready` is whether it served since its start."""
        recent = self._last_death is not None and now - self._last_death < _FORGIVEN_AFTER_S
        self._last_death = now
        if was_ready or not recent:
            self._delay_s = _FIRST_S if recent else 0.0
        else:
            self._delay_s = min(_LONGEST_S, max(_FIRST_S, self._delay_s * 2))
        return self._delay_s


def share_s(left_s: float, waiting: int) -> float:
    """Seconds that a stage of children may take to stop before the next one is told to as well.

    `waiting` counts it and those after it. Without shares, one that hangs would take the time of all.
    """
    return left_s / waiting
