"""Whether head is worse than base, from samples that were taken in turns.

Method: the samples of one round stand beside each other in time, so each round gives one ratio head / base, from which
the load of that moment is gone. What is told is the median of these ratios, with a percentile bootstrap of it (10,000
resamples of the rounds, seeded): the interval holds the true ratio with 95 % confidence. Head is worse when the whole
interval lies above what the figure may grow by; one disturbed round cannot say so, and cannot hide it.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

RESAMPLES: Final = 10_000
SEED: Final = 20261121
CONFIDENCE: Final = 0.95


class Figure(NamedTuple):
    """One thing that is measured; smaller is better.

    It may grow by the fraction `bound`. Values below `floor` count as `floor`: what they differ by there means nothing.
    """

    name: str
    unit: str
    bound: float
    floor: float = 0.0


class Comparison(NamedTuple):
    """What a figure was (medians), and the ratio of head to base with its interval."""

    figure: Figure
    base: float
    head: float
    ratio: float
    low: float
    high: float

    @property
    def is_worse(self) -> bool:
        """Whether even the lower end of the interval is beyond the bound."""
        return self.low > 1 + self.figure.bound


def compare(figure: Figure, base: Sequence[float], head: Sequence[float]) -> Comparison:
    """Compare the samples of one figure, in pairs by round."""
    ratios = [max(new, figure.floor) / max(old, figure.floor) for old, new in zip(base, head, strict=True)]
    chance = random.Random(SEED)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    outside = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Comparison(
        figure, statistics.median(base), statistics.median(head),
        statistics.median(ratios), medians[outside], medians[-1 - outside],
    )  # fmt: skip


def table(comparisons: Sequence[Comparison]) -> str:
    """One line for each figure."""
    lines = [f"{'':36}{'base':>10}{'head':>10}  {'ratio':>6}  {'95 % interval':15} {'bound':>6}"]
    for one in comparisons:
        verdict = "WORSE" if one.is_worse else ""
        lines.append(
            f"{one.figure.name + ', ' + one.figure.unit:36}{one.base:10.3f}{one.head:10.3f}  {one.ratio:6.3f}  "
            f"{one.low:6.3f} - {one.high:6.3f} {1 + one.figure.bound:6.2f} {verdict}".rstrip()
        )
    return "\n".join(lines)
