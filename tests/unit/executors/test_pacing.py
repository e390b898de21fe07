"""Visits to many things, each at its own time, in a time that jumps."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ironic_lite.executors import pacing
from ironic_lite.executors.pacing import AGAIN_S, TICK_S, Pacer
from ironic_lite.executors.turns import next_turn, phase
from tests.parts.virtual_time import VirtualLoop, run


class Visits:
    """A pacer, and what it did: (thing, when). A visit takes `takes_s`, and then does what `then` says."""

    def __init__(self, limit: int = 10, takes_s: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop, self.limit, self.takes_s = loop, limit, takes_s
        self.begun: list[tuple[str, float]] = []
        self.under_way: Counter[str] = Counter()
        self.most = 0
        self.late_s: list[float] = []
        self.then: Callable[[str], object] = lambda _thing: None
        self.pacer = Pacer("test", self._visit, lambda: self.limit, self.late_s.append)

    async def _visit(self, thing: str) -> None:
        self.begun.append((thing, self.loop.time()))
        self.under_way[thing] += 1
        assert self.under_way[thing] == 1, "one visit at a time"
        self.most = max(self.most, self.under_way.total())
        try:
            await asyncio.sleep(self.takes_s)
            self.then(thing)
        finally:
            self.under_way[thing] -= 1

    def things(self) -> list[str]:
        return [thing for thing, _ in self.begun]


def played(scenario: Callable[[], Coroutine[Any, Any, Visits]]) -> Visits:
    return run(scenario())


def test_each_begins_at_its_date_and_together_on_a_tick():
    async def scenario() -> Visits:
        visits = Visits()
        for thing, date in {"a": 1.02, "b": 1.07, "c": 1.11, "d": 0.0}.items():
            visits.pacer.at(thing, date)
        await asyncio.sleep(100)
        return visits

    visits = played(scenario)
    assert visits.things() == ["d", "a", "b", "c"]
    assert [round(when, 6) for _, when in visits.begun] == [0.1, 1.1, 1.1, 1.2]


def test_while_nothing_is_due_nobody_wakes_up():
    async def scenario() -> Visits:
        visits = Visits()
        visits.pacer.at("a", 50_000.0)
        visits.pacer.at("b", 1.0)
        await asyncio.sleep(2)
        before = visits.loop.wakes
        await asyncio.sleep(40_000)
        assert visits.loop.wakes == before + 1, "the sleep's own end"
        return visits

    assert played(scenario).things() == ["b"]


def test_without_room_the_earliest_go_first_and_the_others_as_soon_as_one_ends():
    async def scenario() -> Visits:
        visits = Visits(limit=2, takes_s=10.0)
        for number, thing in enumerate("fedcba"):
            visits.pacer.at(thing, 1.0 + number)
        await asyncio.sleep(100)
        return visits

    visits = played(scenario)
    assert [(thing, round(when)) for thing, when in visits.begun] == [
        ("f", 1), ("e", 2), ("d", 11), ("c", 12), ("b", 21), ("a", 22),
    ]  # fmt: skip
    assert visits.most == 2


def test_asking_again_and_again_for_a_visit_without_room_loses_no_place_in_the_line():
    async def scenario() -> Visits:
        visits = Visits(limit=1, takes_s=10.0)
        visits.pacer.at("first", 0.0)
        await asyncio.sleep(1)
        visits.pacer.by("eager", 1.0)
        visits.pacer.by("other", 2.0)
        for second in range(2, 10):
            visits.pacer.by("eager", float(second))
        await asyncio.sleep(100)
        return visits

    assert played(scenario).things() == ["first", "eager", "other"]


def test_dates_that_come_during_a_visit_are_one_more_visit_after_it():
    async def scenario() -> Visits:
        visits = Visits(takes_s=5.0)
        visits.pacer.at("a", 0.0)
        for _ in range(100):
            await asyncio.sleep(0.04)
            visits.pacer.by("a", visits.loop.time())
        await asyncio.sleep(100)
        return visits

    assert [(thing, round(when)) for thing, when in played(scenario).begun] == [("a", 0), ("a", 5)]


def test_a_date_that_passed_during_the_visit_is_no_lateness_of_the_loop():
    async def scenario() -> Visits:
        visits = Visits(limit=1, takes_s=15.0)
        visits.pacer.at("a", 0.0)
        await asyncio.sleep(1)
        visits.pacer.at("a", 1.0)
        visits.pacer.at("b", 2.0)
        await asyncio.sleep(100)
        return visits

    visits = played(scenario)
    assert visits.things() == ["a", "b", "a"]
    assert max(visits.late_s) == pytest.approx(0.0, abs=1e-6)


def test_a_loop_that_was_blocked_is_told_to_have_been_late():
    async def scenario() -> Visits:
        visits = Visits()
        visits.pacer.at("a", 1.0)
        await asyncio.sleep(0.5)
        visits.loop.block(3.0)
        await asyncio.sleep(1)
        return visits

    assert max(played(scenario).late_s) == pytest.approx(2.5)


def test_a_later_date_takes_the_place_of_an_earlier_one_but_not_by_by():
    async def scenario() -> Visits:
        visits = Visits()
        visits.pacer.at("a", 1.0)
        visits.pacer.at("a", 5.0)
        visits.pacer.by("b", 1.0)
        visits.pacer.by("b", 5.0)
        visits.pacer.by("b", 0.5)
        await asyncio.sleep(100)
        return visits

    assert [(thing, round(when, 1)) for thing, when in played(scenario).begun] == [("b", 0.5), ("a", 5.0)]


def test_who_is_forgotten_is_not_visited_and_may_come_back():
    async def scenario() -> Visits:
        visits = Visits(takes_s=2.0)
        visits.pacer.at("a", 1.0)
        visits.pacer.at("b", 1.0)
        visits.pacer.forget("b")
        await asyncio.sleep(2)
        visits.pacer.at("a", 2.5)
        visits.pacer.forget("a")  # under way, and goes on
        assert visits.pacer.visits("a")
        await asyncio.sleep(10)
        visits.pacer.at("b", 1.0)
        await asyncio.sleep(10)
        return visits

    assert played(scenario).things() == ["a", "b"]


def test_a_visit_that_raises_is_logged_and_comes_again(caplog: pytest.LogCaptureFixture):
    async def scenario() -> Visits:
        visits = Visits()
        visits.then = lambda _thing: 1 // 0
        visits.pacer.at("a", 1.0)
        await asyncio.sleep(AGAIN_S + 5)
        return visits

    visits = played(scenario)
    assert [round(when) for _, when in visits.begun] == [1, 1 + round(AGAIN_S)]
    assert caplog.text.count("ZeroDivisionError") == 2


def test_room_follows_the_limit():
    async def scenario() -> Visits:
        visits = Visits(limit=4, takes_s=1.0)
        visits.then = lambda thing: visits.pacer.at(thing, visits.loop.time())
        for thing in range(20):
            visits.pacer.at(str(thing), 0.0)
        await asyncio.sleep(5.05)
        assert visits.most == 4
        visits.limit = 1
        await asyncio.sleep(2)
        assert visits.pacer.stats().running == 1
        visits.limit = 7
        await asyncio.sleep(2)
        assert visits.pacer.stats().running == 7
        return visits

    visits = played(scenario)
    assert len(set(visits.things()[:20])) == 20, "by turns"


def test_room_that_grows_is_used_though_nothing_ends():
    async def scenario() -> Visits:
        visits = Visits(limit=2, takes_s=1000.0)
        for thing in "abcde":
            visits.pacer.at(thing, 1.0)
        await asyncio.sleep(5)
        visits.limit = 4
        await asyncio.sleep(1)
        assert visits.most == 4
        return visits

    played(scenario)


def test_thousands_that_are_late_begin_in_batches_until_all_have():
    async def scenario() -> Visits:
        visits = Visits(limit=5000, takes_s=0.05)
        for thing in range(5000):
            visits.pacer.at(str(thing), 0.0)
        await asyncio.sleep(0.01)
        assert len(visits.begun) <= pacing.MOST_BATCH
        await asyncio.sleep(30)
        return visits

    assert len(set(played(scenario).things())) == 5000


def test_after_stop_no_visit_begins_and_those_under_way_are_cancelled():
    async def scenario() -> Visits:
        visits = Visits(limit=2, takes_s=10.0)
        for thing in "abc":
            visits.pacer.at(thing, 1.0)
        await asyncio.sleep(2)
        visits.pacer.stop()
        visits.pacer.at("d", 3.0)
        await asyncio.sleep(100)
        assert visits.under_way.total() == 0
        return visits

    assert sorted(played(scenario).things()) == ["a", "b"]


def test_stats_tell_who_waits_and_how_late_visits_began():
    async def scenario() -> Visits:
        visits = Visits(limit=1, takes_s=4.0)
        for thing in "abc":
            visits.pacer.at(thing, 1.0)
        visits.pacer.at("later", 50.0)
        await asyncio.sleep(2)
        stats = visits.pacer.stats()
        assert (stats.running, stats.limit, stats.due, stats.begun) == (1, 1, 2, 1)
        await asyncio.sleep(20)
        assert visits.pacer.stats().lag_p99_s == pytest.approx(8.0)
        return visits

    played(scenario)


ACTS = st.tuples(st.sampled_from(["at", "by", "forget", "wait", "limit"]), st.sampled_from("abcde"), st.integers(0, 40))


class Model(Visits):
    """What was asked for, and each thing's date by it."""

    def __init__(self, limit: int, takes_s: float) -> None:
        super().__init__(limit, takes_s)
        self.wanted: dict[str, float] = {}
        self.highest = limit

    async def _visit(self, thing: str) -> None:
        now = self.loop.time()
        assert self.wanted.pop(thing) <= now + 1e-6, "never before its date"
        overdue = [one for one, date in self.wanted.items() if date < now - TICK_S and not self.pacer.visits(one)]
        assert not overdue or self.pacer.stats().running >= min(self.limit, pacing.LEAST_BATCH), "room is used"
        await super()._visit(thing)

    async def do(self, act: str, thing: str, amount: int) -> None:
        date = self.loop.time() + (amount - 10) / 10
        if act == "at":
            self.wanted[thing] = date
            self.pacer.at(thing, date)
        elif act == "by":
            self.wanted[thing] = min(date, self.wanted.get(thing, math.inf))
            self.pacer.by(thing, date)
        elif act == "forget":
            self.wanted.pop(thing, None)
            self.pacer.forget(thing)
        elif act == "limit":
            self.limit = 1 + amount % 4
            self.highest = max(self.highest, self.limit)
        else:
            await asyncio.sleep(amount / 10)
        for _ in range(3):  # what is due now has its first step
            await asyncio.sleep(0)


@settings(max_examples=300, deadline=None)
@given(acts=st.lists(ACTS, max_size=40), limit=st.integers(1, 4), takes_ds=st.integers(0, 25))
def test_whatever_is_asked_for_happens_as_in_a_model(acts: list[tuple[str, str, int]], limit: int, takes_ds: int):
    """The model: the last date of each thing; who is due goes by date; all that was asked for is done in the end."""

    async def scenario() -> Visits:
        model = Model(limit, takes_ds / 10)
        for act in acts:
            await model.do(*act)
            assert model.pacer._dates.keys() == model.wanted.keys()
        await asyncio.sleep(100)
        assert not model.wanted
        assert not model.under_way.total()
        assert model.most <= model.highest
        assert max(model.late_s, default=0.0) < 1e-6
        return model

    played(scenario)


@settings(max_examples=200, deadline=None)
@given(thing=st.uuids(), now=st.floats(0, 1e7), period_s=st.floats(0.1, 1000))
def test_turns_are_the_same_whoever_asks_and_whenever(thing: object, now: float, period_s: float):
    name = str(thing)
    turn = next_turn(name, now, period_s)
    assert now < turn <= now + period_s * (1 + 1e-6)
    assert next_turn(name, turn - period_s / 2, period_s) == pytest.approx(turn)
    assert next_turn(name, turn, period_s) == pytest.approx(turn + period_s)


def test_turns_are_spread_over_the_period():
    share = Counter(int(phase(f"00000000-0000-4000-8000-{number:012}") * 20) for number in range(20_000))
    assert len(share) == 20
    assert max(share.values()) < 1.2 * min(share.values())
