"""How long a simulated BMC takes to answer: a distribution, by the text that names it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random  # noqa: TID251  # the type; the numbers come from clock.seeded
from typing import Final

SECONDS_MAX: Final = 3600.0
FORMS: Final = "SECONDS, uniform:LOW:HIGH, lognormal:MEDIAN:SIGMA, or per-bmc: before any of them"
_PER_BMC: Final = "per-bmc:"


class LatencyError(ValueError):
    """A text that names no latency; the message is a whole sentence."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that an answer takes: `low` and `high` bound a uniform one, a lognormal one has its median and sigma."""

    shape: str = "fixed"
    first: float = 0.0
    second: float = 0.0
    per_bmc: bool = False

    @classmethod
    def parse(cls, text: str) -> Latency:
        """What `0.2`, `uniform:0.1:0.5` or `per-bmc:lognormal:0.2:0.8` says. Raises `LatencyError`."""
        per_bmc = text.startswith(_PER_BMC)
        shape, *numbers = text.removeprefix(_PER_BMC).split(":")
        if not numbers:
            shape, numbers = "fixed", [shape]
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = []
        if len(values) != _NUMBERS.get(shape) or not all(0 <= value <= SECONDS_MAX for value in values):
            raise LatencyError(f"{text!r} is no latency; it is {FORMS}, in seconds from 0 to {SECONDS_MAX:.0f}.")
        if shape == "uniform" and values[0] > values[1]:
            raise LatencyError(f"In {text!r} the lower bound is above the higher one.")
        return cls(shape, values[0], values[-1], per_bmc)

    def of_one_bmc(self, rng: Random) -> Latency:
        """What holds for one BMC: where each has its own, a fixed one that is drawn now."""
        return Latency("fixed", self.sample(rng)) if self.per_bmc else self

    def sample(self, rng: Random) -> float:
        """Seconds that the next answer takes, at most `SECONDS_MAX`."""
        if self.shape == "fixed":
            return self.first
        if self.shape == "uniform":
            return rng.uniform(self.first, self.second)
        return min(SECONDS_MAX, self.first * math.exp(self.second * rng.gauss(0.0, 1.0)))


NONE: Final = Latency()
_NUMBERS: Final = {"fixed": 1, "uniform": 2, "lognormal": 2}
