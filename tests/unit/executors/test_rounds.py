"""Rounds of visits."""

from __future__ import annotations

import threading
from collections import Counter

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.rounds import Rounds
from ironic_lite.executors.taskpool import TaskPool
from tests.waiting import until

CLOCK = SystemClock()


def visits(cap: int, limit: int = 20) -> TaskPool:
    return TaskPool("p", limit, [Kind("visits", cap, queue=cap), Kind("other", limit)], CLOCK)


def by_itself(number: int) -> int:
    return number


def test_rounds_keep_within_the_cap_and_a_slow_visit_holds_up_no_other_round():
    pool, gate, seen = visits(4), threading.Event(), Counter[int]()
    running, peak, lock = Counter[str](), Counter[str](), threading.Lock()

    def visit(number: int) -> None:
        with lock:
            running["now"] += 1
            peak["now"] = max(peak["now"], running["now"])
        if number == 0:
            gate.wait(10)
        with lock:
            seen[number] += 1
            running["now"] -= 1

    rounds = Rounds[int]("visits", pool, visit, by_itself)
    for turn in (1, 2, 3):
        rounds.begin(range(100))
        until(lambda: len(seen) == 99 and set(seen.values()) == {turn})  # noqa: B023  # waited for here
    gate.set()
    until(lambda: seen[0] == 1)
    until(lambda: pool.stats().busy == 0)
    assert peak["now"] <= 4
    rounds.begin(range(1))
    until(lambda: seen[0] == 2)
    assert pool.drain(Deadline(CLOCK, 5)) == []


def test_a_thing_that_waits_is_not_queued_twice_and_is_visited_as_it_was_last_given():
    pool, gate, seen = visits(1), threading.Event(), list[str]()

    def visit(thing: str) -> None:
        seen.append(thing)
        if thing == "slow":
            gate.wait(10)

    rounds = Rounds[str]("visits", pool, visit, lambda thing: thing[0])
    rounds.begin(["slow", "a-old"])
    until(lambda: seen == ["slow"])
    rounds.begin(["slow again", "a-new"])
    gate.set()
    until(lambda: len(seen) == 2)
    until(lambda: pool.stats().busy == 0)
    assert pool.drain(Deadline(CLOCK, 5)) == []
    assert seen == ["slow", "a-new"]


def test_rounds_go_on_when_the_pool_was_full_and_after_a_visit_that_failed(caplog):
    pool, seen, gate = visits(8, limit=3), Counter[int](), threading.Event()
    for _ in range(3):
        pool.submit("other", "holds", gate.wait, 10)

    def visit(number: int) -> None:
        seen.update([number])
        if number == 7:
            raise ValueError("broken")

    Rounds[int]("visits", pool, visit, by_itself).begin(range(50))
    assert not seen
    gate.set()
    until(lambda: len(seen) == 50)
    until(lambda: pool.stats().busy == 0)
    assert pool.drain(Deadline(CLOCK, 5)) == []
    assert "visits of 7 failed unexpectedly" in caplog.text


def test_after_the_stop_no_round_begins():
    pool, seen = visits(4), Counter[int]()
    rounds = Rounds[int]("visits", pool, lambda number: seen.update([number]), by_itself)
    rounds.stop()
    rounds.begin(range(10))
    assert pool.stats().busy == 0
    assert pool.drain(Deadline(CLOCK, 5)) == []
    assert not seen
