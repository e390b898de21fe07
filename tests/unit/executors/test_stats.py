"""What a pool tells: every count of every kind, exact amid the work; and a line of the log only when there is news."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ironic_lite import errors
from ironic_lite.clock import Deadline, ManualClock, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.stats import told
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.metrics import Registry, exposition
from tests.parts.scrapes import Scrape
from tests.waiting import until

KINDS = [Kind("visits", cap=2, queue=2, critical=True), Kind("chores", cap=1, queue=8)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def pool(clock: ManualClock, gate: threading.Event) -> Iterator[TaskPool]:
    made = TaskPool("here", 3, KINDS, clock, reserved=1)
    yield made
    gate.set()
    assert made.drain(Deadline(SystemClock(), 10)) == []


def scrape(pool: TaskPool) -> Scrape:
    registry = Registry("conductor")
    registry.add(lambda: pool.stats().samples())
    return Scrape(exposition([registry.collect()]))


def fail() -> None:
    raise KeyError("missing")


def test_a_scrape_has_every_count_of_every_kind(pool: TaskPool, clock: ManualClock, gate: threading.Event):
    tasks = [pool.submit("visits", f"visit of node-{number}", gate.wait, 10) for number in range(4)]
    with pytest.raises(errors.NoFreeWorker):
        pool.submit("visits", "one too many", gate.wait, 10)
    assert tasks[3].cancel()
    clock.advance(7)
    now = scrape(pool)
    assert {name: now.value(f"ironic_lite_pool_{name}", pool="here", kind="visits") for name in (
        "cap", "busy", "queued", "refused_total", "cancelled_total", "executed_total", "longest_seconds",
    )} == {
        "cap": 2, "busy": 2, "queued": 1, "refused_total": 1, "cancelled_total": 1, "executed_total": 0,
        "longest_seconds": 7,
    }  # fmt: skip
    assert now.value("ironic_lite_pool_busy", kind="chores") == 0
    whole = {
        name: now.value(f"ironic_lite_pool_{name}", pool="here") for name in ("limit", "reserved", "threads", "idle")
    }
    assert whole == {"limit": 3, "reserved": 1, "threads": 2, "idle": 0}
    assert "node-" not in now.text, "Names have no bound, and are no labels."

    gate.set()
    failing = pool.submit("chores", "a chore", fail)
    assert isinstance(failing.exception(10), KeyError)
    for task in tasks[:3]:
        assert task.result(10)
    until(lambda: pool.stats().busy == 0)
    then = scrape(pool)
    assert then.value("ironic_lite_pool_executed_total", kind="visits") == 3
    assert then.value("ironic_lite_pool_failed_total", kind="visits") == 0
    assert then.value("ironic_lite_pool_failed_total", kind="chores") == 1
    assert then.value("ironic_lite_pool_run_seconds_total", kind="visits") == 14
    assert then.value("ironic_lite_pool_run_seconds_max", kind="visits") == 7
    assert then.value("ironic_lite_pool_wait_seconds_total", kind="visits") == 7
    assert then.value("ironic_lite_pool_wait_seconds_max", kind="visits") == 7
    assert then.value("ironic_lite_pool_longest_seconds", kind="visits") == 0


def test_scrapes_amid_the_work_hold_nobody_up_and_never_go_back():
    pool = TaskPool("busy", 4, [Kind("work", cap=4, queue=10_000)], SystemClock())
    done = threading.Event()
    scrapes: list[Scrape] = []

    def scrape_on() -> None:
        while not done.is_set():
            scrapes.append(scrape(pool))

    with ThreadPoolExecutor(5) as clients:
        scraping = clients.submit(scrape_on)
        until(lambda: scrapes)
        bursts = [
            clients.submit(lambda: [pool.submit("work", "x", threading.get_ident) for _ in range(500)])
            for _ in range(4)
        ]
        for burst in bursts:
            assert all(task.result(60) for task in burst.result(60))
        done.set()
        scraping.result(60)
    for before, after in itertools.pairwise(scrapes):
        late, early = after.counters(), before.counters()
        assert [one for one, value in early.items() if late[one] < value] == []
    assert all(0 <= one.value("ironic_lite_pool_busy", kind="work") <= 4 for one in scrapes)
    assert pool.stats().executed == 2000
    assert pool.drain(Deadline(SystemClock(), 10)) == []


def test_nothing_is_told_when_nothing_happened(pool: TaskPool):
    assert told(pool.stats(), None) == ""
    pool.submit("visits", "one", str).result(10)
    until(lambda: pool.stats().busy == 0)
    before = pool.stats()
    assert told(before, None)
    assert told(pool.stats(), before) == ""


def test_a_line_tells_of_what_happened_since_the_last_one(pool: TaskPool, clock: ManualClock, gate: threading.Event):
    pool.submit("chores", "long ago", fail).exception(10)
    until(lambda: pool.stats().busy == 0)
    before = pool.stats()
    pool.submit("visits", "visit of n0", gate.wait, 10)
    clock.advance(1)
    for number in range(1, 4):
        pool.submit("visits", f"visit of n{number}", gate.wait, 10)
    with pytest.raises(errors.NoFreeWorker):
        pool.submit("visits", "one too many", gate.wait, 10)
    clock.advance(11)
    assert told(pool.stats(), before) == (
        "Pool here has 2 of 3 at work and 2 threads; since last told: visits 0 done, 1 refused, 2 at work, 2 queued, "
        "among them visit of n0 for 12 s."
    )
    gate.set()
    until(lambda: pool.stats().executed == 5)
    until(lambda: pool.stats().busy == 0)
    assert told(pool.stats(), before) == (
        "Pool here has 0 of 3 at work and 2 threads; since last told: visits 4 done "
        "(mean wait 5.50 s and run 5.75 s; longest ever 11.00 s and 12.00 s), 1 refused."
    )


def test_routine_is_no_news_unless_it_fails(pool: TaskPool, gate: threading.Event):
    before = pool.stats()
    pool.submit("chores", "sweeping", str).result(10)
    pool.submit("chores", "sweeping on", gate.wait, 10)
    assert told(pool.stats(), before, routine=["chores"]) == ""
    gate.set()
    pool.submit("chores", "falling", fail).exception(10)
    assert "chores 3 done" in told(pool.stats(), before, routine=["chores"])
    assert "1 failed" in told(pool.stats(), before, routine=["chores"])
