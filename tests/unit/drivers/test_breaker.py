"""How long a BMC is waited for, and how long it is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironic_lite.drivers.breaker import (
    FIRST_TIMEOUT_S,
    JITTER,
    LEAST_TIMEOUT_S,
    LONGEST_PAUSE_S,
    OPENS_AFTER,
    Line,
)

LONGEST_S = 30.0


def after(*took_s: float) -> Line:
    line = Line()
    for one in took_s:
        line.answered(one)
    return line


@given(st.lists(st.floats(0.001, 25), min_size=1, max_size=40), st.integers(0, 8))
def test_the_timeout_is_always_within_its_bounds(took_s: list[float], silences: int):
    line = after(*took_s)
    for _ in range(silences):
        line.was_silent()
    assert LEAST_TIMEOUT_S <= line.timeout_s(LONGEST_S) <= LONGEST_S
    assert line.timeout_s(1.0) == 1.0


@given(st.floats(0.1, 25))
def test_a_steady_bmc_is_waited_for_little_longer_than_it_takes(took_s: float):
    line = after(*[took_s] * 100)
    assert line.smoothed_s == pytest.approx(took_s)
    assert took_s < line.timeout_s(LONGEST_S) <= max(LEAST_TIMEOUT_S, 1.05 * took_s)


def test_a_bmc_that_varies_is_waited_for_by_its_variation():
    line = after(*[1.0, 5.0] * 50)
    assert 5.0 < line.timeout_s(LONGEST_S) < 15.0


def test_silence_doubles_the_timeout_until_the_next_answer():
    line = after(*[2.0] * 50)
    first = line.timeout_s(1000.0)
    for times in (2, 4, 8, 16, 16):
        line.was_silent()
        assert line.timeout_s(1000.0) == pytest.approx(times * first)
    line.answered(2.0)
    assert line.timeout_s(1000.0) == pytest.approx(first, rel=0.01)


def test_who_never_answered_or_is_only_probed_has_the_first_timeout():
    line = Line()
    assert line.timeout_s(LONGEST_S) == FIRST_TIMEOUT_S
    assert not line.answers
    line.answered(0.1)
    states = [(line.is_open, line.answers)]
    for _ in range(OPENS_AFTER):
        line.failed()
        states.append((line.is_open, line.answers))
    assert states == [(False, True), (False, False), (False, False), (True, False)]
    assert line.timeout_s(LONGEST_S) == FIRST_TIMEOUT_S
    line.answered(0.1)
    assert (line.is_open, line.answers, line.failures) == (False, True, 0)


@given(st.integers(0, 10**6), st.floats(1, 2000))
def test_pauses_double_up_to_ten_minutes_with_jitter(failures: int, interval_s: float):
    line = Line()
    line.failures = failures
    opened = failures - OPENS_AFTER + 1
    wanted_s = min(interval_s * 2.0 ** min(max(0, opened), 16), max(LONGEST_PAUSE_S, interval_s))
    part = JITTER if opened > 0 else 0.0
    assert wanted_s * (1 - part) <= line.pause_s(interval_s) <= wanted_s * (1 + part)
    assert len({line.pause_s(interval_s) for _ in range(10)}) == (10 if part else 1), "those that failed together part"
