from __future__ import annotations

import statistics

import pytest

from ironic_lite.clock import seeded
from ironic_lite.fleet.latency import Latency, LatencyError


def drawn(text: str, seed: str = "1") -> list[float]:
    rng = seeded(seed)
    latency = Latency.parse(text).of_one_bmc(rng)
    return [latency.sample(rng) for _ in range(2000)]


def test_a_fixed_latency_is_what_it_says() -> None:
    assert set(drawn("0.2")) == {0.2}


def test_a_uniform_latency_fills_its_bounds() -> None:
    seen = drawn("uniform:0.1:0.5")
    assert 0.1 <= min(seen) < 0.12
    assert 0.48 < max(seen) <= 0.5


def test_a_lognormal_latency_has_its_median_and_a_long_tail() -> None:
    seen = drawn("lognormal:0.2:0.8")
    assert statistics.median(seen) == pytest.approx(0.2, rel=0.1)
    assert max(seen) > 1.0


def test_each_bmc_may_have_its_own() -> None:
    first, second = (drawn("per-bmc:lognormal:0.2:0.8", seed) for seed in ("1", "2"))
    assert len(set(first)) == len(set(second)) == 1
    assert first != second
    assert first == drawn("per-bmc:lognormal:0.2:0.8", "1")


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-1", "nan", "inf", "uniform:1", "uniform:2:1", "normal:1:1", "lognormal:1:2:3", "per-bmc:", "1e9"],
)
def test_what_is_no_latency_is_told_what_one_is(text: str) -> None:
    with pytest.raises(LatencyError, match=r"lognormal:MEDIAN:SIGMA|above the higher"):
        Latency.parse(text)
