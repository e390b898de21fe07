"""The regression job: what counts as worse, and what is said of what cannot be measured."""

from __future__ import annotations

import random  # noqa: TID251  # samples with a known spread
from collections.abc import Callable
from pathlib import Path

import pytest
from regression.__main__ import arguments, measure, run
from regression.builds import Build
from regression.comparison import Figure, compare, table
from regression.scenarios import SCENARIOS, Scenario, Values

CPU = Figure("work", "ms CPU", 0.10)
BASE, HEAD = Build("base", Path("a")), Build("head", Path("b"))
# CPU of one and the same tree, as measured in turns on a busy machine.
NOISE = (1.00, 1.04, 0.97, 1.11, 0.95, 1.02, 1.21)
SHUFFLED = (1.03, 0.96, 1.18, 1.01, 0.99, 1.06, 0.94)


def noisy(factor: float, samples: tuple[float, ...] = NOISE) -> list[float]:
    return [factor * one for one in samples]


def test_the_same_is_not_worse():
    found = compare(CPU, noisy(1.0), noisy(1.0, SHUFFLED))
    assert not found.is_worse
    assert found.low <= 1 <= found.high


@pytest.mark.parametrize("seed", range(20))
def test_a_slowdown_of_30_percent_is_worse_and_none_is_not(seed: int):
    chance = random.Random(seed)
    base = [chance.gauss(1.0, 0.04) for _ in range(7)]
    head = [chance.gauss(1.0, 0.04) for _ in range(7)]
    assert compare(CPU, base, [1.3 * one for one in head]).is_worse
    assert not compare(CPU, base, head).is_worse


def test_load_that_comes_and_goes_is_taken_out_by_pairs():
    load = (1.0, 3.0, 1.5, 2.0, 5.0, 1.1, 4.0)
    assert compare(CPU, noisy(1.0, load), noisy(1.3, load)).is_worse
    assert compare(CPU, noisy(1.0, load), noisy(1.0, load)).ratio == pytest.approx(1.0)


def test_one_disturbed_round_neither_condemns_nor_hides():
    disturbed = (*(1.0,) * 6, 9.0)
    assert not compare(CPU, [1.0] * 7, noisy(1.0, disturbed)).is_worse
    assert compare(CPU, noisy(1.0, disturbed), [1.3] * 7).is_worse


def test_growth_within_the_bound_is_not_worse():
    assert not compare(CPU, [1.0] * 7, [1.09] * 7).is_worse
    assert compare(CPU, [1.0] * 7, [1.11] * 7).is_worse


def test_below_the_floor_all_is_equal():
    wakes = Figure("wake-ups", "a second", 0.25, floor=2.0)
    assert compare(wakes, [0.0] * 5, [1.9] * 5).ratio == 1.0
    assert compare(wakes, [0.0] * 5, [4.0] * 5).is_worse


def test_the_interval_is_the_same_each_time():
    assert compare(CPU, noisy(1.0), noisy(1.2, SHUFFLED)) == compare(CPU, noisy(1.0), noisy(1.2, SHUFFLED))


def test_the_table_marks_what_is_worse():
    lines = table([compare(CPU, [1.0] * 5, [1.3] * 5), compare(CPU, [1.0] * 5, [1.0] * 5)]).splitlines()
    assert [line.endswith("WORSE") for line in lines] == [False, True, False]
    assert lines[1].split()[3:6] == ["1.000", "1.300", "1.300"]


def scenario(measure: Callable[[Build], Values]) -> Scenario:
    return Scenario("made", measure, (CPU,))


def test_sides_take_turns_and_the_first_round_only_warms_up():
    order: list[str] = []

    def note(build: Build) -> Values:
        order.append(build.name)
        return {"work": float(len(order))}

    base, head = measure(scenario(note), (BASE, HEAD), 3)
    assert order == ["head", "base", "base", "head", "head", "base", "base", "head"]
    assert [one["work"] for one in base] == [3.0, 6.0, 7.0]
    assert [one["work"] for one in head] == [4.0, 5.0, 8.0]


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.3, 1)])
def test_the_exit_code_says_whether_anything_is_worse(factor: float, code: int, capsys: pytest.CaptureFixture[str]):
    made = scenario(lambda build: {"work": factor if build is HEAD else 1.0})
    assert run(BASE, HEAD, [made], 5) == code
    assert ("Worse than base beyond the bound: work." in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(("broken", "code"), [(BASE, 0), (HEAD, 1)])
def test_what_the_base_lacks_is_told_and_what_the_head_lacks_fails(
    broken: Build, code: int, capsys: pytest.CaptureFixture[str]
):
    def lack(build: Build) -> Values:
        if build is broken:
            raise RuntimeError("there is no such module")
        return {"work": 1.0}

    assert run(BASE, HEAD, [scenario(lack)], 5) == code
    assert f"the {broken.name} cannot be measured: there is no such module" in capsys.readouterr().out


def test_too_few_rounds_are_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        arguments(["HEAD^", "--rounds", "4"])
    assert "say nothing" in capsys.readouterr().err
    assert arguments(["HEAD^", "--only", "idle"]).base == "HEAD^"


def test_every_figure_has_a_name_of_its_own():
    names = [figure.name for one in SCENARIOS for figure in one.figures]
    assert len(names) == len(set(names))
