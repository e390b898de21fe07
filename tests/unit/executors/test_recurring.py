"""Work that recurs: its turns, and what it does to nobody else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.recurring import ASK_AGAIN_S, Recurring, Row
from ironic_lite.executors.taskpool import TaskPool
from tests.clocks import HeldClock
from tests.waiting import until

CLOCK = SystemClock()


class Turns:
    """A work that notes when its turns are."""

    def __init__(self, clock: HeldClock) -> None:
        self.at: list[float] = []
        self._clock = clock

    def __call__(self) -> None:
        self.at.append(self._clock.monotonic())


def row(name: str, interval_s: float | Callable[[], float], work: Callable[[], None], kind: str | None) -> Recurring:
    return Recurring(name, interval_s if callable(interval_s) else lambda: interval_s, work, kind)


def every_second(held: HeldClock, pool: TaskPool, seconds: int) -> None:
    for _ in range(seconds):
        held.pass_s(1)
        until(lambda: pool.stats().busy == 0)


@pytest.fixture
def held() -> HeldClock:
    return HeldClock()


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    made = TaskPool("p", 2, [Kind("work", 2, queue=4)], CLOCK)
    yield made
    assert made.drain(Deadline(CLOCK, 10)) == []


@pytest.fixture
def agenda(pool: TaskPool, held: HeldClock) -> Iterator[Agenda]:
    made = Agenda("agenda", pool, held, at="h1")
    made.start()
    yield made
    made.stop(Deadline(CLOCK, 10))


@given(
    st.text(max_size=8), st.text(max_size=8), st.floats(0.01, 1e5), st.lists(st.floats(0, 1e7), min_size=2, max_size=2)
)
def test_turns_are_one_interval_apart_and_the_same_whenever_one_begins(
    name: str, at: str, interval_s: float, starts: list[float]
):
    one = Row(row(name, 0, lambda: None, None), at)
    now, later = sorted(starts)
    first, near = one.next_turn(now, interval_s), 1e-6 * interval_s + 1e-8
    assert now < first <= now + interval_s + near
    assert one.next_turn(first, interval_s) == pytest.approx(first + interval_s, abs=near)
    apart = (one.next_turn(later, interval_s) - first) / interval_s
    assert apart == pytest.approx(round(apart), abs=1e-3), "after a restart at `later` the turns are other ones"


@pytest.mark.parametrize("interval_s", [0, -5, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_asked_again_in_a_minute(interval_s: float):
    assert 100 < Row(row("x", 0, lambda: None, None), "h1").next_turn(100, interval_s) <= 100 + ASK_AGAIN_S


def test_a_hundred_hosts_spread_over_the_interval():
    turns = [Row(row("power sync", 60, lambda: None, None), f"host{number}").next_turn(0, 60) for number in range(100)]
    busiest = Counter(int(turn // 6) for turn in turns).most_common(1)[0][1]
    assert busiest <= 20  # of 100 in a tenth of the time: 10 on average


def test_each_turn_comes_once_and_what_was_missed_is_not_made_up(agenda: Agenda, pool: TaskPool, held: HeldClock):
    turns = Turns(held)
    agenda.repeat(row("work", 10, turns, "work"))
    every_second(held, pool, 30)
    assert len(turns.at) == 3
    assert [later - earlier for earlier, later in zip(turns.at, turns.at[1:], strict=False)] == [10, 10]
    held.pass_s(1000)  # the machine was suspended
    until(lambda: pool.stats().busy == 0)
    assert len(turns.at) == 4
    every_second(held, pool, 20)
    assert len(turns.at) == 6


def test_an_inline_row_that_takes_longer_than_its_interval_misses_turns(agenda: Agenda, held: HeldClock):
    turns = Turns(held)

    def slow() -> None:
        turns()
        held.advance(95)

    agenda.repeat(row("slow", 10, slow, None))
    held.pass_s(10)
    assert len(turns.at) == 1
    held.pass_s(9.9)
    assert len(turns.at) == 2


def test_a_row_never_overlaps_itself_and_holds_up_no_other(agenda: Agenda, pool: TaskPool, held: HeldClock):
    gate, counted = threading.Event(), Counter[str]()

    def slow() -> None:
        counted["slow"] += 1
        gate.wait(30)

    agenda.repeat(row("slow", 1, slow, "work"))
    agenda.repeat(row("quick", 1, lambda: counted.update(["quick"]), "work"))
    for turn in range(1, 6):
        held.pass_s(1)
        until(lambda turn=turn: counted["quick"] == turn)  # type: ignore[misc]
        until(lambda: counted["slow"] == 1)
    gate.set()
    until(lambda: pool.stats().busy == 0)
    held.pass_s(1)
    until(lambda: counted["slow"] == 2)


def test_the_heartbeat_beats_however_full_the_pool_is(
    agenda: Agenda, pool: TaskPool, held: HeldClock, caplog: pytest.LogCaptureFixture
):
    gate, beats = threading.Event(), Turns(held)
    for _ in range(6):
        pool.submit("work", "holds", gate.wait, 30)
    agenda.repeat(row("heartbeat", 10, beats, None))
    agenda.repeat(row("left out", 10, lambda: None, "work"))
    for _ in range(50):
        held.pass_s(1)
    assert len(beats.at) == 5
    assert caplog.text.count("left out misses a turn: Requested action cannot be performed due to lack of free") == 5
    gate.set()


def test_work_that_fails_keeps_its_turn(
    agenda: Agenda, pool: TaskPool, held: HeldClock, caplog: pytest.LogCaptureFixture
):
    counted = Counter[str]()

    def failing(name: str, exc: Exception) -> Callable[[], None]:
        def fail() -> None:
            counted[name] += 1
            raise exc

        return fail

    agenda.repeat(row("inline", 10, failing("inline", ValueError("broken")), None))
    agenda.repeat(row("in the pool", 10, failing("in the pool", errors.DatabaseUnavailable(reason="away")), "work"))
    every_second(held, pool, 30)
    assert counted == {"inline": 3, "in the pool": 3}
    assert "inline failed and will be tried at its next turn: broken\nTraceback" in caplog.text
    assert (
        "in the pool failed and will be tried at its next turn: The database is not available: away.\nT"
        not in caplog.text
    )


def test_the_interval_is_asked_before_each_turn_and_zero_means_not_now(
    agenda: Agenda, pool: TaskPool, held: HeldClock, caplog: pytest.LogCaptureFixture
):
    intervals, turns = [0.0], Turns(held)

    def interval_s() -> float:
        return intervals[0] if intervals else 1 / 0

    agenda.repeat(row("changing", interval_s, turns, "work"))
    every_second(held, pool, 150)
    assert turns.at == []
    intervals[0] = 10
    every_second(held, pool, int(ASK_AGAIN_S))
    begun = len(turns.at)
    every_second(held, pool, 20)
    assert len(turns.at) == begun + 2
    intervals.clear()
    every_second(held, pool, 20)
    assert len(turns.at) == begun + 2
    assert "changing does not say how often, and is asked again." in caplog.text


def test_after_the_close_rows_of_the_pool_end_and_the_heartbeat_ends_at_the_stop(
    agenda: Agenda, pool: TaskPool, held: HeldClock
):
    work, beats = Turns(held), Turns(held)
    agenda.repeat(row("work", 10, work, "work"))
    agenda.repeat(row("heartbeat", 10, beats, None))
    every_second(held, pool, 20)
    agenda.close()
    every_second(held, pool, 20)
    assert (len(work.at), len(beats.at)) == (2, 4)
    agenda.stop(Deadline(CLOCK, 10))
    held.advance(20)
    assert len(beats.at) == 4


def test_a_row_that_is_in_the_pools_queue_at_the_close_does_not_begin(agenda: Agenda, pool: TaskPool, held: HeldClock):
    gate, turns = threading.Event(), Turns(held)
    for _ in range(2):
        pool.submit("work", "holds", gate.wait, 30)
    agenda.repeat(row("work", 10, turns, "work"))
    held.pass_s(10)
    assert pool.stats().queued == 1
    agenda.close()
    gate.set()
    until(lambda: pool.stats().busy == 0)
    assert turns.at == []
