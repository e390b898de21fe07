"""Faults of one BMC, by script: what goes wrong, for how many requests, and then what next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

STEPS_MAX: Final = 100
SECONDS_MAX: Final = 3600.0
RATE_MAX: Final = 1000


class Kind(StrEnum):
    """What can go wrong with a BMC."""

    HANG = "hang"  # takes the request and never answers it
    REFUSE = "refuse"  # takes no connection at all; ended only from elsewhere
    BLACKHOLE = "blackhole"  # does not even refuse: what is sent to it is never heard of again; ended from elsewhere
    SLOW = "slow"  # answers `seconds` later
    DRIP = "drip"  # answers one byte after the other, `seconds` apart
    BUSY = "503"  # answers 503 Service Unavailable
    ERROR = "500"  # answers 500 Internal Server Error
    UNAUTHORIZED = "401"  # answers 401 and forgets its sessions
    GARBAGE = "garbage"  # answers 200 with a body that is no JSON
    TRUNCATED = "truncated"  # answers half of what it announces and closes the connection
    WRONG_STATE = "wrong-state"  # after a reset, goes on telling the power state from before it for `seconds`
    CLOSES_IDLE = "closes-idle"  # closes a connection, unannounced, once it was idle for `seconds`
    CRASH = "crash"  # above `per_second` requests a second it is gone for `seconds`, and its sessions for good


DEFAULT_SECONDS: Final = {
    Kind.SLOW: 5.0,
    Kind.DRIP: 0.2,
    Kind.WRONG_STATE: 5.0,
    Kind.CLOSES_IDLE: 0.0,
    Kind.CRASH: 5.0,
}
DEFAULT_PER_SECOND: Final = 5
_MET_BY_NO_REQUEST: Final = frozenset({Kind.REFUSE, Kind.BLACKHOLE})


class ScriptError(ValueError):
    """A script of faults that makes no sense; the text is a whole sentence."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One step of a script. `times` is how many requests it meets (None: until it is replaced or cleared)."""

    fault: Kind
    seconds: float = 0.0
    times: int | None = None
    per_second: int | None = None

    @classmethod
    def parse(cls, step: object) -> Fault:
        """The fault of a JSON object such as `{"fault": "slow", "seconds": 2, "times": 3}`. Raises `ScriptError`."""
        if not isinstance(step, Mapping) or not set(step) <= {"fault", "seconds", "times", "per_second"}:
            raise ScriptError("A fault is an object of fault, seconds, times and per_second.")
        if step.get("fault") not in set(Kind):
            raise ScriptError(f"The field fault is one of {', '.join(Kind)}.")
        kind = Kind(step["fault"])
        seconds, times = step.get("seconds", DEFAULT_SECONDS.get(kind, 0.0)), step.get("times")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= SECONDS_MAX:
            raise ScriptError(f"The field seconds is a number from 0 to {SECONDS_MAX:.0f}.")
        if times is not None and not _whole(times):
            raise ScriptError("The field times is a whole number from 1, or null.")
        if times is not None and kind in _MET_BY_NO_REQUEST:
            raise ScriptError(f"A BMC with the fault {kind} sees no requests: times must be absent.")
        return cls(kind, float(seconds), times, _rate(kind, step))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _rate(kind: Kind, step: Mapping[str, Any]) -> int | None:
    if kind is not Kind.CRASH:
        if step.get("per_second") is not None:
            raise ScriptError("The field per_second belongs to the fault crash alone.")
        return None
    rate = step.get("per_second", DEFAULT_PER_SECOND)
    if not _whole(rate) or rate > RATE_MAX:
        raise ScriptError(f"The field per_second is a whole number from 1 to {RATE_MAX}.")
    return int(rate)


class Faults:
    """The script of one BMC. Requests ask `meet`; a step that has met its number of requests makes way for the next."""

    __slots__ = ("_met", "_steps")

    def __init__(self) -> None:
        self._steps: list[Fault] = []
        self._met = 0

    def set(self, steps: Iterable[Fault]) -> None:
        """Replace the script; an empty one ends all faults."""
        self._steps = list(steps)
        self._met = 0

    @property
    def current(self) -> Fault | None:
        """The step that the script has come to."""
        return self._steps[0] if self._steps else None

    @property
    def kind(self) -> Kind | None:
        """The kind of the step that the script has come to."""
        return self._steps[0].fault if self._steps else None

    def meet(self, *kinds: Kind) -> Fault | None:
        """The current fault if it is of one of these kinds; the request that asks counts as having met it."""
        if not self._steps or self._steps[0].fault not in kinds:
            return None
        current = self._steps[0]
        self._met += 1
        if current.times is not None and self._met >= current.times:
            del self._steps[0]
            self._met = 0
        return current

    def script(self) -> list[dict[str, Any]]:
        """The steps that are left, as JSON has them."""
        return [
            {name: value for name, value in asdict(step).items() if name != "per_second" or value is not None}
            for step in self._steps
        ]


def parse_script(document: object) -> list[Fault]:
    """The steps of `{"script": [...]}`, or of one fault alone. Raises `ScriptError`."""
    steps = document["script"] if isinstance(document, Mapping) and "script" in document else [document]
    if not isinstance(steps, list) or len(steps) > STEPS_MAX:
        raise ScriptError(f"The field script is a list of at most {STEPS_MAX} faults.")
    return [Fault.parse(step) for step in steps]
