"""What is to be done later, once: its time, its key, its end under every race."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.clock import Deadline, ManualClock, SystemClock
from ironic_lite.executors.agenda import IDLE_S, RETRIES_S, Agenda
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.task import Task
from ironic_lite.executors.taskpool import TaskPool
from tests.clocks import HeldClock
from tests.waiting import until

CLOCK = SystemClock()


def a_pool(cap: int = 4, queue: int = 100) -> TaskPool:
    return TaskPool("p", 8, [Kind("work", cap, queue=queue), Kind("other", 8)], CLOCK)


@pytest.fixture
def held() -> HeldClock:
    return HeldClock()


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    made = a_pool()
    yield made
    assert made.drain(Deadline(CLOCK, 10)) == []


@pytest.fixture
def agenda(pool: TaskPool, held: HeldClock) -> Iterator[Agenda]:
    made = Agenda("agenda", pool, held)
    made.start()
    yield made
    made.stop(Deadline(CLOCK, 10))


def occupied(pool: TaskPool, kind: str, places: int) -> threading.Event:
    """Fill so many places until the event is set."""
    gate = threading.Event()
    for _ in range(places):
        pool.submit(kind, "holds", gate.wait, 30)
    return gate


def test_each_is_done_at_its_time_and_in_the_context_of_who_asked(agenda: Agenda, held: HeldClock):
    caller, done = ContextVar("caller", default="nobody"), list[tuple[str, str]]()
    for name, delay_s in (("late", 7.0), ("soon", 0.5), ("now", 0.0)):
        caller.set(f"who wants it {name}")
        agenda.after(delay_s, "work", name, lambda name=name: done.append((name, caller.get())))  # type: ignore[misc]
    held.pass_s(0)
    until(lambda: len(done) == 1)
    held.pass_s(0.4)
    assert len(done) == 1
    held.pass_s(0.2)
    until(lambda: len(done) == 2)
    held.pass_s(6.3)
    assert len(done) == 2
    held.pass_s(0.1)
    until(lambda: len(done) == 3)
    assert done == [(name, f"who wants it {name}") for name in ("now", "soon", "late")]


def test_the_result_and_the_failure_are_the_futures_and_the_pool_counts_them(
    agenda: Agenda, pool: TaskPool, held: HeldClock, caplog: pytest.LogCaptureFixture
):
    def broken() -> None:
        raise ValueError("broken")

    def foreseen() -> None:
        raise errors.DatabaseUnavailable(reason="away")

    fine = agenda.after(1, "work", "fine", lambda: 7)
    bad, away = agenda.after(1, "work", "bad", broken), agenda.after(1, "work", "away", foreseen)
    held.pass_s(1)
    assert fine.result(10) == 7
    with pytest.raises(ValueError, match="broken"):
        bad.result(10)
    with pytest.raises(errors.DatabaseUnavailable):
        away.result(10)
    until(lambda: pool.stats().busy == 0)
    assert (pool.stats().executed, pool.stats().failed) == (3, 2)
    logged = {record.getMessage(): record.exc_info is not None for record in caplog.records}
    assert logged == {"bad failed: broken": True, "away failed: The database is not available: away.": False}


def test_equal_keys_share_one_entry_that_comes_at_the_earlier_time(agenda: Agenda, held: HeldClock):
    runs = list[str]()
    first = agenda.after(5, "work", "first", lambda: runs.append("first"), key="k")
    assert agenda.after(9, "work", "later", lambda: runs.append("later"), key="k") is first
    other = agenda.after(5, "work", "other", lambda: runs.append("other"), key="another")
    assert other is not first
    held.pass_s(1)
    assert agenda.after(1, "work", "sooner", lambda: runs.append("sooner"), key="k") is first
    held.pass_s(1)
    first.result(10)
    assert runs == ["first"]
    held.pass_s(20)
    other.result(10)
    assert runs == ["first", "other"]
    assert agenda.after(1, "work", "again", lambda: None, key="k") is not first


def test_a_key_is_free_again_once_its_work_has_begun_and_not_before(agenda: Agenda, pool: TaskPool, held: HeldClock):
    gate = occupied(pool, "work", 4)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(10)

    first = agenda.after(1, "work", "first", work, key="k")
    held.pass_s(1)
    until(lambda: pool.stats().queued == 1)
    assert agenda.after(1, "work", "while it waits for a place", work, key="k") is first
    gate.set()
    assert begun.wait(10)
    second = agenda.after(1, "work", "while it runs", work, key="k")
    assert second is not first
    go_on.set()
    held.pass_s(1)
    second.result(10)


def test_a_cancel_holds_until_the_function_begins(agenda: Agenda, pool: TaskPool, held: HeldClock):
    runs = list[str]()
    on_the_heap = agenda.after(1, "work", "on the heap", lambda: runs.append("on the heap"), key="k")
    assert on_the_heap.cancel()
    assert on_the_heap.cancel(), "a second cancel says the same"
    assert agenda.after(1, "work", "new", lambda: runs.append("new"), key="k") is not on_the_heap

    gate = occupied(pool, "work", 4)
    queued = agenda.after(1, "work", "in the pool's queue", lambda: runs.append("queued"))
    held.pass_s(1)
    until(lambda: pool.stats().queued == 2)
    assert queued.cancel()
    assert pool.stats().queued == 1
    gate.set()
    until(lambda: pool.stats().busy == 0)

    cancelled_itself = list[bool]()
    running = agenda.after(0, "work", "running", lambda: cancelled_itself.append(running.cancel()))
    held.pass_s(0)
    running.result(10)
    assert (cancelled_itself, running.cancelled(), running.cancel()) == ([False], False, False)
    assert runs == ["new"]
    # Who waits for many at once is told of cancelled ones too: that takes a second step, which `cancel` does not make.
    assert concurrent.futures.wait([on_the_heap, queued, running], timeout=0).not_done == set()


def test_cancelled_entries_do_not_pile_up_until_they_would_have_been_due(agenda: Agenda):
    kept = agenda.after(1000, "work", "kept", lambda: None)
    for entry in [agenda.after(1000, "work", "dropped", lambda: None) for _ in range(10_000)]:
        entry.cancel()
    assert len(agenda._heap) < 200
    for delay_s in range(900, 0, -1):
        agenda.after(delay_s, "work", "moved forward", lambda: None, key="k")
    assert len(agenda._heap) < 200
    assert not kept.done()


def test_too_many_are_refused_until_one_is_gone(pool: TaskPool, held: HeldClock):
    agenda = Agenda("small", pool, held, limit=2)
    agenda.start()
    first, _ = (agenda.after(1, "work", name, lambda: None, key=name) for name in ("a", "b"))
    with pytest.raises(errors.AgendaFull, match="c cannot be put on agenda 'small', which holds 2 entries already"):
        agenda.after(1, "work", "c", lambda: None)
    assert agenda.after(1, "work", "a again", lambda: None, key="a") is first
    first.cancel()
    third = agenda.after(1, "work", "c", lambda: None)
    held.pass_s(1)
    third.result(10)
    agenda.after(1, "work", "d", lambda: None)
    agenda.stop(Deadline(CLOCK, 10))


@pytest.mark.parametrize("delay_s", [-0.1, float("nan"), float("inf")])
def test_a_delay_that_is_none_is_the_callers_error(agenda: Agenda, delay_s: float):
    with pytest.raises(ValueError, match="cannot be done after"):
        agenda.after(delay_s, "work", "never", lambda: None)
    with pytest.raises(KeyError):
        agenda.after(1, "unheard of", "never", lambda: None)


def test_what_a_full_pool_refuses_is_tried_again(agenda: Agenda, pool: TaskPool, held: HeldClock):
    gate = occupied(pool, "other", 8)
    entry = agenda.after(1, "other", "patient", lambda: "done")
    held.pass_s(1)
    held.pass_s(RETRIES_S[0])
    assert (entry.done(), entry.refusals) == (False, 2)
    gate.set()
    until(lambda: pool.stats().busy == 0)
    held.pass_s(RETRIES_S[1])
    assert entry.result(10) == "done"


def test_what_is_refused_to_the_end_fails_with_the_refusal_and_can_be_cancelled_before(
    agenda: Agenda, pool: TaskPool, held: HeldClock, caplog: pytest.LogCaptureFixture
):
    gate = occupied(pool, "other", 8)
    entry, cancelled = (agenda.after(1, "other", name, lambda: None) for name in ("unlucky", "cancelled"))
    held.pass_s(1)
    cancelled.cancel()
    for wait_s in RETRIES_S:
        assert not entry.done()
        held.pass_s(wait_s)
    with pytest.raises(errors.NoFreeWorker, match="8 of 8 busy"):
        entry.result(0)
    assert "unlucky failed: Requested action cannot be performed" in caplog.text
    assert "cancelled failed" not in caplog.text
    gate.set()
    until(lambda: pool.stats().busy == 0)


def test_after_the_close_nothing_begins_and_nobody_waits_in_vain(agenda: Agenda, pool: TaskPool, held: HeldClock):
    gate, runs = occupied(pool, "work", 4), list[int]()
    entries = [agenda.after(delay_s, "work", "x", lambda: runs.append(1)) for delay_s in (1, 1, 50)]
    held.pass_s(1)
    until(lambda: pool.stats().queued == 2)
    agenda.close()
    assert all(entry.cancelled() for entry in entries)
    assert pool.stats().queued == 0
    with pytest.raises(errors.Stopping, match="The agenda is shutting down"):
        agenda.after(1, "work", "x", lambda: None)
    gate.set()
    held.pass_s(100)
    assert runs == []


def test_the_end_of_the_pool_cancels_what_it_would_have_run(agenda: Agenda, pool: TaskPool, held: HeldClock):
    gate = occupied(pool, "work", 4)
    queued = agenda.after(1, "work", "queued", lambda: None)
    due_later = agenda.after(2, "work", "due later", lambda: None)
    held.pass_s(1)
    until(lambda: pool.stats().queued == 1)
    pool.drain(Deadline(CLOCK, 0))
    assert queued.cancelled()
    held.pass_s(1)
    assert due_later.cancelled()
    gate.set()


def test_the_thread_ends_at_the_stop_and_an_agenda_is_its_processs_own(pool: TaskPool):
    agenda = Agenda("brief", pool, CLOCK)
    agenda.start()
    far = agenda.after(1000, "work", "far", lambda: None)
    agenda.stop(Deadline(CLOCK, 10))
    agenda.stop(Deadline(CLOCK, 10))
    assert agenda._thread is not None
    assert not agenda._thread.is_alive()
    assert far.cancelled()
    agenda._pid += 1
    with pytest.raises(RuntimeError, match="make agendas after the fork"):
        agenda.after(1, "work", "x", lambda: None)


def test_an_idle_agenda_does_not_wake_up(agenda: Agenda, held: HeldClock):
    until(held.asleep)
    agenda.after(100, "work", "x", lambda: None)
    until(lambda: held.wakes == 1 and held.asleep())  # for what is due before all else
    for _ in range(10):
        agenda.after(200, "work", "x", lambda: None).cancel()
    for _ in range(99):
        held.pass_s(1)
    assert held.wakes == 1
    held.pass_s(1)
    assert held.wakes == 2


def test_a_time_that_never_comes_is_no_harm(agenda: Agenda, held: HeldClock):
    agenda.after(1e300, "work", "never", lambda: None)
    until(held.asleep)
    assert held.longest_s <= IDLE_S  # a lock of the system would refuse to wait longer than 292 years
    entry = agenda.after(1, "work", "x", lambda: "done")
    held.pass_s(1)
    assert entry.result(10) == "done"


def test_an_idle_agenda_sleeps_in_the_kernel(pool: TaskPool):
    agenda = Agenda("idle", pool, CLOCK)
    agenda.after(1000, "work", "x", lambda: None)
    agenda.start()
    assert agenda._thread is not None
    status = Path(f"/proc/self/task/{agenda._thread.native_id}/status")

    def switches() -> str:
        return next(line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches"))

    def slept() -> bool:
        before = switches()
        threading.Event().wait(1.1)
        return switches() == before

    until(slept, 30)  # not at once: it has to fall asleep first
    agenda.stop(Deadline(CLOCK, 10))


# Races. The agenda's thread is the test's own here, so that both sides start as one, again and again.

ROUNDS = 400


def together(*sides: Callable[[], object]) -> None:
    barrier = threading.Barrier(len(sides))

    def begin(side: Callable[[], object]) -> None:
        barrier.wait(10)
        side()

    with concurrent.futures.ThreadPoolExecutor(len(sides)) as threads:
        for done in [threads.submit(begin, side) for side in sides]:
            done.result(10)


def ended_truly(entries: list[Any], runs: Counter[int]) -> None:
    """Each is settled, and either ran once or was cancelled."""
    until(lambda: all(entry.done() for entry in entries))
    for number, entry in enumerate(entries):
        assert runs[number] == (0 if entry.cancelled() else 1)
        assert entry._state in ("CANCELLED_AND_NOTIFIED", "FINISHED")


@pytest.mark.parametrize("busy", [False, True], ids=["worker free", "worker busy"])
def test_a_cancel_against_the_start_has_one_winner(busy: bool):  # noqa: FBT001  # a parameter
    pool, clock, seen = a_pool(cap=1), ManualClock(), Counter[bool]()
    agenda = Agenda("a", pool, clock)
    for _ in range(ROUNDS):
        runs, told = Counter[int](), list[bool]()
        gate = occupied(pool, "work", busy)
        entry = agenda.after(0, "work", "x", lambda runs=runs: runs.update([0]), key="k")  # type: ignore[misc]
        together(agenda._begin_due, gate.set, lambda entry=entry, told=told: told.append(entry.cancel()))  # type: ignore[misc]
        ended_truly([entry], runs)
        assert told == [entry.cancelled()]
        assert agenda._waiting == set()
        assert agenda._keys == {}
        seen[entry.cancelled()] += 1
        until(lambda: pool.stats().busy == 0)
    assert sum(seen.values()) == ROUNDS
    assert pool.drain(Deadline(CLOCK, 10)) == []


def test_a_stop_against_what_is_due_leaves_nobody_waiting():
    for _ in range(ROUNDS // 4):
        pool, clock, runs = a_pool(cap=2), ManualClock(), Counter[int]()
        agenda = Agenda("a", pool, clock)
        entries = [
            agenda.after(delay_s, "work", "x", lambda number=number, runs=runs: runs.update([number]))  # type: ignore[misc]
            for number, delay_s in enumerate([0, 0, 0, 1])
        ]
        together(agenda._begin_due, lambda agenda=agenda: agenda.stop(Deadline(CLOCK, 1)))  # type: ignore[misc]
        ended_truly(entries, runs)
        assert pool.drain(Deadline(CLOCK, 10)) == []


def test_who_asks_under_a_key_as_it_begins_is_served_by_a_run_that_begins_after_the_asking():
    """What is asked for must not fall between a run that is over and one that is not asked for any more."""
    pool, clock = a_pool(cap=2), ManualClock()
    agenda = Agenda("a", pool, clock)
    for _ in range(ROUNDS):
        world, seen = [0], list[int]()

        def look(world: list[int] = world, seen: list[int] = seen) -> None:
            seen.append(world[0])

        def change(world: list[int] = world, look: Callable[[], None] = look) -> None:
            world[0] = 1
            agenda.after(0, "work", "look", look, key="k")

        agenda.after(0, "work", "look", look, key="k")
        together(agenda._begin_due, change)
        agenda._begin_due()
        until(lambda: pool.stats().busy == 0)
        assert seen[-1] == 1
        assert len(seen) <= 2
    assert pool.drain(Deadline(CLOCK, 10)) == []


class TellingPool(TaskPool):
    """A pool that lets a test act right before and right after the agenda hands a task over."""

    before: Callable[[], object] = staticmethod(lambda: None)
    after: Callable[[], object] = staticmethod(lambda: None)

    def submit(self, kind: str, name: str, function: Any, /, *args: Any, **kwargs: Any) -> Task[Any]:
        self.before()
        task: Task[Any] = super().submit(kind, name, function, *args, **kwargs)
        self.after()
        return task


@pytest.mark.parametrize(("moment", "busy"), [("before", 0), ("before", 1), ("after", 1)])
def test_a_cancel_in_the_middle_of_the_handing_over_reaches_the_pool(moment: str, busy: int):
    pool, runs = TellingPool("p", 8, [Kind("work", 1, queue=9)], CLOCK), list[int]()
    agenda = Agenda("a", pool, ManualClock())
    gate = occupied(pool, "work", busy)
    entry = agenda.after(0, "work", "x", lambda: runs.append(1))
    setattr(pool, moment, entry.cancel)
    if not busy:
        pool.after = lambda: until(lambda: pool.stats().busy == 0)  # the worker had it before the agenda looks again
    agenda._begin_due()
    assert (entry.cancelled(), pool.stats().queued) == (True, 0)
    gate.set()
    until(lambda: pool.stats().busy == 0)
    assert (runs, pool.stats().failed) == ([], 0)
    assert pool.drain(Deadline(CLOCK, 10)) == []


def test_who_hears_of_a_cancel_can_ask_anew(agenda: Agenda, held: HeldClock):
    first, again = agenda.after(1, "work", "x", lambda: 1, key="k"), list[Any]()
    first.add_done_callback(lambda _: again.append(agenda.after(1, "work", "x", lambda: 2, key="k")))
    first.cancel()
    held.pass_s(1)
    assert again[0].result(10) == 2


def test_what_gets_no_thread_from_the_system_says_so():
    class Exhausted(TaskPool):
        def submit(self, *_args: Any, **_kwargs: Any) -> Task[Any]:
            raise RuntimeError("can't start new thread")

    agenda = Agenda("a", Exhausted("p", 8, [Kind("work", 1)], CLOCK), ManualClock())
    entry = agenda.after(0, "work", "x", lambda: None)
    agenda._begin_due()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        entry.result(0)
