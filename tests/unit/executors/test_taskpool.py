"""The pool: exact admission, honest refusal, fairness, a drain that ends; and the stories of pools that did not."""

from __future__ import annotations

import gc
import os
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.clock import Deadline, ManualClock, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.task import Task
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.log import request_id
from tests.waiting import until

CLOCK = SystemClock()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


def one_kind(limit: int, queue: int = 0, **more: Any) -> TaskPool:
    return TaskPool("conductor", limit, [Kind("work", limit, queue)], CLOCK, **more)


def hold(gate: threading.Event) -> None:
    gate.wait(10)


def fail() -> None:
    raise KeyError("missing")


def fill(pool: TaskPool, gate: threading.Event) -> list[Task[bool]]:
    return [pool.submit("work", f"work {number}", gate.wait, 10) for number in range(pool.limit - pool.stats().busy)]


def ends(pool: TaskPool, timeout_s: float = 10) -> None:
    assert pool.drain(Deadline(CLOCK, timeout_s)) == []
    until(lambda: pool.stats().threads == 0)


def test_refusal_is_exact_and_says_which_pool_and_kind_how_full_and_since_when(gate: threading.Event):
    clock = ManualClock()
    pool = TaskPool("conductor", 5, [Kind("work", 9, queue=1)], clock)
    fill(pool, gate)
    pool.submit("work", "waits", int)
    clock.advance(7)
    with pytest.raises(errors.NoFreeWorker, match=r"'work' pool 'conductor' has 5 of 5 .* 7 s, and 1 of 1 waiting"):
        pool.slot("work", "one more")
    assert (pool.stats().refused, pool.stats().longest_s) == (1, 7)
    gate.set()
    until(lambda: pool.stats().executed == 6)
    ends(pool)


def test_a_pool_that_was_full_and_idle_takes_work_again_at_once():
    """Ironic's rejector counts idle threads, and refuses for ever after one full burst."""
    pool = one_kind(10)
    for _ in range(3):
        gate = threading.Event()
        tasks = fill(pool, gate)
        gate.set()
        for task in tasks:
            assert task.result(10)
        # No waiting: who has a task's result finds its place free.
        assert [pool.submit("work", "after", int).result(10) for _ in range(10)] == [0] * 10
    ends(pool)


def test_a_slot_that_is_not_used_is_given_back():
    pool = one_kind(3, queue=1)
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), pool.slot("work", "never"):
            raise ZeroDivisionError
    slots = [pool.slot("work", "held") for _ in range(4)]
    assert (pool.stats().busy, pool.stats().queued) == (3, 1)
    for slot in slots:
        slot.__exit__(None, None, None)
    assert (pool.stats().busy, pool.stats().queued) == (0, 0)
    ends(pool)


def test_a_slot_on_the_queue_is_a_promise_and_waits_without_a_thread(gate: threading.Event):
    pool, ran = one_kind(2, queue=2), threading.Event()
    fill(pool, gate)
    slot = pool.slot("work", "promised")
    slot.run(ran.set)
    assert (pool.stats().threads, pool.stats().queued, ran.is_set()) == (2, 1, False)
    gate.set()
    assert ran.wait(10)
    with pytest.raises(RuntimeError, match="one piece of work"):
        slot.run(fail)
    ends(pool)


def test_work_that_fails_gives_its_place_back_and_is_logged(caplog: pytest.LogCaptureFixture):
    pool = one_kind(3)
    with pool.slot("work", "the failing work") as slot:
        slot.run(fail)
    with pytest.raises(KeyError, match="missing"):
        pool.submit("work", "also failing", fail).result(10)
    until(lambda: pool.stats().failed == 2)
    ends(pool)
    assert "the failing work failed unexpectedly" in caplog.text
    assert "also failing" not in caplog.text


def test_kinds_keep_their_caps_and_a_stuck_kind_holds_up_no_other(gate: threading.Event):
    pool = TaskPool("p", 20, [Kind("sensors", 4, queue=100), Kind("power", 8)], CLOCK)
    for number in range(100):
        pool.submit("sensors", f"stuck {number}", gate.wait, 10)
    assert pool.submit("power", "quick", int).result(10) == 0
    sensors, _ = pool.stats().kinds
    assert (sensors.busy, sensors.queued, pool.stats().threads <= 5) == (4, 96, True)
    gate.set()
    until(lambda: pool.stats().executed == 101)
    ends(pool)


def test_only_critical_kinds_use_the_reserved_share(gate: threading.Event):
    pool = TaskPool("p", 10, [Kind("actions", 10, critical=True), Kind("periodic", 10)], CLOCK, reserved=2)
    for _ in range(8):
        pool.submit("periodic", "p", gate.wait, 10)
    with pytest.raises(errors.NoFreeWorker, match="has 8 of 8 busy"):
        pool.submit("periodic", "p", gate.wait, 10)
    for _ in range(2):
        pool.submit("actions", "a", gate.wait, 10)
    with pytest.raises(errors.NoFreeWorker, match="has 10 of 10 busy"):
        pool.submit("actions", "a", gate.wait, 10)
    gate.set()
    ends(pool)


def test_kinds_take_turns(gate: threading.Event):
    order: list[str] = []
    pool = TaskPool("p", 1, [Kind("a", 1, queue=9), Kind("b", 1, queue=9), Kind("c", 1, queue=9)], CLOCK)
    pool.submit("a", "holds", gate.wait, 10)
    for kind in "aaabbbccc":
        pool.submit(kind, kind, order.append, kind)
    gate.set()
    until(lambda: len(order) == 9)
    assert "".join(order) == "abcabcabc"
    ends(pool)


def test_caps_change_at_run_time(gate: threading.Event):
    pool = TaskPool("p", 9, [Kind("work", 1, queue=9)], CLOCK)
    for _ in range(9):
        pool.submit("work", "w", gate.wait, 10)
    pool.set_caps([Kind("work", 3, queue=9)])
    assert (pool.stats().busy, pool.stats().queued, pool.cap("work")) == (3, 6, 3)
    pool.set_caps([Kind("work", 1, queue=9)])
    gate.set()
    until(lambda: pool.stats().executed == 9)
    ends(pool)


def test_a_waiting_task_can_be_cancelled_and_leaves_its_place_in_line(gate: threading.Event):
    pool = one_kind(1, queue=1)
    [running] = fill(pool, gate)
    until(running.running)
    waiting = pool.submit("work", "waits", int)
    assert waiting.cancel()
    assert not running.cancel()
    again = pool.submit("work", "waits instead", int)
    gate.set()
    assert again.result(10) == 0
    assert pool.stats().cancelled == 1
    ends(pool)


def test_the_request_id_travels_into_the_worker():
    pool = one_kind(3)
    request_id.set("req-1")
    assert pool.submit("work", "look", request_id.get).result(10) == "req-1"
    ends(pool)


def test_a_task_over_its_deadline_is_reported_once_with_its_stack(gate, caplog: pytest.LogCaptureFixture):
    pool = TaskPool("p", 3, [Kind("work", 3, deadline_s=0.1), Kind("other", 3)], CLOCK)
    gates = [threading.Event(), gate]

    def stuck_here(which: threading.Event) -> None:
        which.wait(10)

    pool.submit("work", "the slow one", stuck_here, gates[0])
    pool.submit("other", "may take long", stuck_here, gates[1])
    until(lambda: "the slow one runs for" in caplog.text)
    second = pool.submit("work", "slow as well", stuck_here, gates[0])
    until(lambda: "slow as well runs for" in caplog.text)
    assert "in stuck_here" in caplog.text
    gates[0].set()
    second.result(10)
    gate.set()
    ends(pool)
    assert caplog.text.count("the slow one runs for") == 1
    assert "may take long" not in caplog.text


def test_drain_names_what_did_not_end_cancels_what_waits_and_refuses_what_is_new(gate: threading.Event):
    pool = one_kind(1, queue=1)
    with pool.slot("work", "the slow work") as slot:
        slot.run(hold, gate)
    waiting = pool.submit("work", "not begun", int)
    assert pool.drain(Deadline(CLOCK, 0.1)) == ["the slow work"]
    assert waiting.cancelled()
    with pytest.raises(errors.Stopping):
        pool.slot("work", "too late")
    gate.set()
    ends(pool)


def test_drain_does_not_wait_for_kinds_that_only_read(gate: threading.Event, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    pool = TaskPool("p", 3, [Kind("reads", 3, only_reads=True)], CLOCK)
    hanging = pool.submit("reads", "a BMC that hangs", gate.wait, 10)
    until(hanging.running)
    began = CLOCK.monotonic()
    assert pool.drain(Deadline(CLOCK, 10)) == []
    assert CLOCK.monotonic() - began < 5
    assert "does not wait for work that only reads: a BMC that hangs" in caplog.text
    gate.set()
    until(lambda: pool.stats().threads == 0)


def test_a_slot_taken_before_the_drain_is_still_kept():
    pool, ran = one_kind(2), threading.Event()
    slot = pool.slot("work", "promised")
    assert pool.drain(Deadline(CLOCK, 0.05)) == ["promised"]
    slot.run(ran.set)
    ends(pool)
    assert ran.is_set()


def test_a_drain_ends_while_a_task_submits():
    """futurist's shutdown(wait=True) never returns here."""
    pool, running, seen = one_kind(2), threading.Event(), list[str]()

    def submits_late() -> None:
        running.set()
        until(lambda: pool.draining)
        with pytest.raises(errors.Stopping):
            pool.submit("work", "late", int)
        seen.append("refused")

    pool.submit("work", "submits", submits_late)
    assert running.wait(10)
    ends(pool)
    assert seen == ["refused"]


def test_the_limit_holds_after_threads_were_shed():
    """futurist's own limit is exceeded twofold here: a shrunk worker still takes what is queued."""
    pool = one_kind(10, queue=200, idle_s=0.05)
    running, peak, lock = Counter[str](), Counter[str](), threading.Lock()
    pause = threading.Event()

    def work() -> None:
        with lock:
            running["now"] += 1
            peak["now"] = max(peak["now"], running["now"])
        pause.wait(0.005)
        with lock:
            running["now"] -= 1

    for _ in range(3):
        for task in [pool.submit("work", "w", work) for _ in range(100)]:
            task.result(10)
        until(lambda: pool.stats().threads == 0)
    assert peak["now"] == 10
    ends(pool)


def test_idle_threads_return_and_end():
    before = threading.active_count()
    pool, gate = one_kind(30, idle_s=0.1), threading.Event()
    tasks = fill(pool, gate)
    assert pool.stats().threads == 30
    gate.set()
    for task in tasks:
        task.result(10)
    until(lambda: threading.active_count() <= before)
    assert pool.submit("work", "again", int).result(10) == 0
    ends(pool)


def test_what_a_burst_leaves_behind_is_collected_when_its_last_thread_leaves(gate: threading.Event):
    """Each of futurist's threads leaves a cycle, and nothing but a whole collection finds those that lived long."""
    collected = threading.Event()

    def note(_phase: str, told: dict[str, int]) -> None:
        if told["generation"] == 2:
            collected.set()

    gc.disable()  # only what is asked for is collected
    gc.callbacks.append(note)
    try:
        pool = one_kind(40, idle_s=0.1)
        fill(pool, gate)
        gate.set()
        assert collected.wait(30)
    finally:
        gc.callbacks.remove(note)
        gc.enable()
    ends(pool)


def test_a_pool_refuses_to_work_in_another_process():
    pool = one_kind(2)
    assert pool.submit("work", "before the fork", int).result(10) == 0
    pid = os.fork()  # noqa: TID251  # the child only asks, and leaves
    if pid == 0:
        try:
            pool.submit("work", "in the child", int)
        except RuntimeError:
            os._exit(0 if "make pools after the fork" in traceback.format_exc() else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ends(pool)
