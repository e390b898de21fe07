"""Faults of one BMC, by script: what goes wrong, for how many requests, and then what next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

STEPS_MAX: Final = 100
SECONDS_MAX: Final = 3600.0


class Kind(StrEnum):
    """What can go wrong with a BMC."""

    HANG = "hang"  # takes the request and never answers it
    REFUSE = "refuse"  # takes no connection at all; ended only through another BMC of the fleet
    SLOW = "slow"  # answers `seconds` later
    BUSY = "503"  # answers 503 Service Unavailable
    GARBAGE = "garbage"  # answers 200 with a body that is no JSON
    WRONG_STATE = "wrong-state"  # after a reset, goes on telling the power state from before it for `seconds`
    CLOSES_IDLE = "closes-idle"  # closes a connection, unannounced, once it was idle for `seconds`


DEFAULT_SECONDS: Final = {Kind.SLOW: 5.0, Kind.WRONG_STATE: 5.0, Kind.CLOSES_IDLE: 0.0}


class ScriptError(ValueError):
    """A script of faults that makes no sense; the text is a whole sentence."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One step of a script. `times` is how many requests it meets (None: until it is replaced or cleared)."""

    fault: Kind
    seconds: float = 0.0
    times: int | None = None

    @classmethod
    def parse(cls, step: object) -> Fault:
        """The fault of a JSON object such as `{"fault": "slow", "seconds": 2, "times": 3}`. Raises `ScriptError`."""
        if not isinstance(step, Mapping) or not set(step) <= {"fault", "seconds", "times"}:
            raise ScriptError("A fault is an object of fault, seconds and times.")
        if step.get("fault") not in set(Kind):
            raise ScriptError(f"The field fault is one of {', '.join(Kind)}.")
        kind = Kind(step["fault"])
        seconds, times = step.get("seconds", DEFAULT_SECONDS.get(kind, 0.0)), step.get("times")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= SECONDS_MAX:
            raise ScriptError(f"The field seconds is a number from 0 to {SECONDS_MAX:.0f}.")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise ScriptError("The field times is a whole number from 1, or null.")
        if times is not None and kind is Kind.REFUSE:
            raise ScriptError("A BMC that refuses connections sees no requests: times must be absent.")
        return cls(kind, float(seconds), times)


class Faults:
    """The script of one BMC. Requests ask `meet`; a step that has met its number of requests makes way for the next."""

    def __init__(self) -> None:
        self._steps: deque[Fault] = deque()
        self._met = 0

    def set(self, steps: Iterable[Fault]) -> None:
        """Replace the script; an empty one ends all faults."""
        self._steps = deque(steps)
        self._met = 0

    @property
    def current(self) -> Fault | None:
        """The step that the script has come to."""
        return self._steps[0] if self._steps else None

    @property
    def refusing(self) -> bool:
        """Whether the BMC takes no connections now."""
        return self.current is not None and self.current.fault is Kind.REFUSE

    def meet(self, *kinds: Kind) -> Fault | None:
        """The current fault if it is of one of these kinds; the request that asks counts as having met it."""
        current = self.current
        if current is None or current.fault not in kinds:
            return None
        self._met += 1
        if current.times is not None and self._met >= current.times:
            self._steps.popleft()
            self._met = 0
        return current

    def script(self) -> list[dict[str, Any]]:
        """The steps that are left, as JSON has them."""
        return [asdict(step) for step in self._steps]


def parse_script(document: object) -> list[Fault]:
    """The steps of `{"script": [...]}`, or of one fault alone. Raises `ScriptError`."""
    steps = document["script"] if isinstance(document, Mapping) and "script" in document else [document]
    if not isinstance(steps, list) or len(steps) > STEPS_MAX:
        raise ScriptError(f"The field script is a list of at most {STEPS_MAX} faults.")
    return [Fault.parse(step) for step in steps]
