"""What a part measures and how it tells: one line of JSON for each measure, for the table of `__main__`.

Only the standard library: a part may run in an environment that holds nothing of ours.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Measure(NamedTuple):
    """One measure of several candidates. A text in place of a number is a finding that has no ratio."""

    name: str
    values: Mapping[str, float | str]
    baseline: str


def tell(name: str, values: Mapping[str, float | str], *, baseline: str) -> None:
    """Report a measure; its name says the unit, `baseline` is the candidate that the others are divided by."""
    print(json.dumps(Measure(name, values, baseline)), flush=True)


def cpu_us(work: Callable[[], object], times: int) -> float:
    """CPU microseconds of this process (all threads) for one call: the least of three rounds, after one to warm up."""
    return min(_round_us(work, times) for _ in range(4))


def _round_us(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e6
