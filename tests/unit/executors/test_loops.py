"""The loop: bounded, honest about lag, and certain to end, whatever its coroutines do."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import inspect
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.loops import LoopThread
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.log import request_id
from ironic_lite.metrics import Registry, exposition
from tests.parts.scrapes import Scrape
from tests.waiting import until

CLOCK = SystemClock()


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    made = TaskPool("conductor", 2, [Kind("work", 2)], CLOCK)
    yield made
    assert made.drain(within(5)) == []
    until(lambda: made.stats().threads == 0)


@pytest.fixture
def loop(pool: TaskPool) -> Iterator[LoopThread]:
    made = LoopThread("polls", 3, pool, CLOCK, lag_interval_s=0.02)
    yield made
    made.stop(within(5))


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


def within(seconds: float) -> Deadline:
    return Deadline(CLOCK, seconds)


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("polls")]


async def answer(value: object) -> object:
    await asyncio.sleep(0)
    return value


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise KeyError("missing")


async def swallow(seen: list[str]) -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
        except GeneratorExit:
            seen.append("closed")
            raise


async def block(gate: threading.Event, entered: threading.Event) -> None:
    entered.set()
    gate.wait(20)


def test_results_and_exceptions_come_back(loop: LoopThread):
    assert loop.submit(answer(7)).result(5) == 7
    with pytest.raises(KeyError, match="missing"):
        loop.submit(fail()).result(5)
    until(lambda: loop.stats().done == 2)
    assert loop.stats().in_flight == 0


def test_it_runs_on_one_thread_that_its_pool_counts_and_that_takes_no_place(loop: LoopThread, pool: TaskPool):
    async def where() -> str:
        return threading.current_thread().name

    assert {loop.submit(where()).result(5) for _ in range(3)} == {"polls"}
    assert threads() == ["polls"]
    assert (pool.stats().threads, pool.stats().resident, pool.stats().idle, pool.stats().busy) == (1, 1, 0, 0)
    assert loop.stop(within(5)) == []
    assert (pool.stats().threads, pool.stats().resident) == (0, 0)


def test_the_pools_drain_stops_it_when_no_task_is_left_that_needs_it(loop: LoopThread, pool: TaskPool):
    begun = threading.Event()

    def asks_late() -> object:
        begun.set()
        until(lambda: pool.draining)
        future = loop.submit(answer("still there"))
        assert pool.wait([future], within(5)) == []
        return future.result()

    task = pool.submit("work", "asks late", asks_late)
    forgotten = loop.submit(forever())
    assert begun.wait(5)
    assert pool.drain(within(5)) == []
    assert task.result(5) == "still there"
    with pytest.raises(errors.Interrupted):
        forgotten.result(5)
    assert (threads(), pool.stats().threads) == ([], 0)


def test_a_drain_that_leaves_work_leaves_the_loop_too(loop: LoopThread, pool: TaskPool, gate: threading.Event):
    pool.submit("work", "slow", gate.wait, 10)
    assert pool.drain(within(0.05)) == ["slow"]
    assert loop.submit(answer("still there")).result(5) == "still there"
    gate.set()
    assert pool.drain(within(5)) == []
    assert threads() == []


def test_a_drain_names_what_its_loops_gave_up(loop: LoopThread, pool: TaskPool):
    loop.submit(swallow([]), "node 7")
    loop.submit(answer(None)).result(5)
    assert pool.drain(within(0.3)) == ["node 7"]
    until(lambda: threads() == [])


def test_a_pool_that_drains_starts_no_loop(pool: TaskPool):
    assert pool.drain(within(5)) == []
    with pytest.raises(errors.Stopping, match=r"^The conductor is shutting down"):
        LoopThread("polls", 3, pool, CLOCK)
    gc.collect()  # nothing was left open: a warning would fail the test


def test_beyond_its_limit_it_refuses_at_once_and_runs_nothing(loop: LoopThread):
    held = [loop.submit(forever()) for _ in range(3)]
    more = forever()
    with pytest.raises(errors.NoFreeWorker, match=r"'polls' has 3 of 3 busy since \d+ s"):
        loop.submit(more)
    assert inspect.getcoroutinestate(more) == inspect.CORO_CLOSED  # closed: nobody is warned that it was never awaited
    assert (loop.stats().in_flight, loop.stats().refused) == (3, 1)
    held[0].cancel()
    until(lambda: loop.stats().in_flight == 2)
    assert loop.submit(answer("again")).result(5) == "again"


def test_a_scrape_has_what_the_loop_and_its_pool_tell(loop: LoopThread, pool: TaskPool):
    held = [loop.submit(forever()) for _ in range(3)]
    with pytest.raises(errors.NoFreeWorker):
        loop.submit(forever())
    registry = Registry("conductor")
    registry.add(lambda: (*pool.stats().samples(), *loop.stats().samples()))
    now = Scrape(exposition([registry.collect()]))
    told = {name: now.value(f"ironic_lite_loop_{name}", loop="polls") for name in ("limit", "in_flight", "done_total")}
    assert told == {"limit": 3, "in_flight": 3, "done_total": 0}
    assert now.value("ironic_lite_loop_refused_total") == 1
    assert now.value("ironic_lite_pool_resident", pool=pool.name) == 1
    for one in held:
        one.cancel()
    until(lambda: loop.stats().done == 3)


def test_a_place_is_free_only_when_its_coroutine_has_ended(loop: LoopThread):
    leave = asyncio.Event()

    async def slow_to_leave() -> None:
        try:
            await forever()
        finally:
            await leave.wait()

    async def open_it() -> None:
        leave.set()

    future = loop.submit(slow_to_leave())
    loop.submit(answer(None)).result(5)
    assert future.cancel()
    assert loop.submit(answer(None)).result(5) is None
    assert loop.stats().longest == "test_a_place_is_free_only_when_its_coroutine_has_ended.<locals>.slow_to_leave"
    loop.submit(open_it()).result(5)
    until(lambda: loop.stats().in_flight == 0)


def test_a_cancelled_future_cancels_its_coroutine(loop: LoopThread):
    seen: list[str] = []

    async def noting() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    future = loop.submit(noting())
    loop.submit(answer(None)).result(5)
    assert future.cancel()
    until(lambda: seen == ["cancelled"])
    assert future.cancelled()


def test_one_that_is_cancelled_before_it_begins_never_begins(loop: LoopThread, gate: threading.Event):
    begun, entered = [], threading.Event()

    async def noting() -> None:
        begun.append(1)

    loop.submit(block(gate, entered))
    assert entered.wait(5)
    future = loop.submit(noting())
    assert future.cancel()
    gate.set()
    until(lambda: loop.stats().in_flight == 0)
    assert begun == []


def test_a_coroutine_that_cancels_itself_is_a_cancelled_future(loop: LoopThread):
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(concurrent.futures.CancelledError):
        loop.submit(gives_up()).result(5)


def test_context_variables_are_carried(loop: LoopThread):
    async def read_and_change() -> str | None:
        await asyncio.sleep(0)
        value = request_id.get()
        request_id.set("changed")
        return value

    token = request_id.set("req-1")
    try:
        assert loop.submit(read_and_change()).result(5) == "req-1"
        assert request_id.get() == "req-1"
        assert loop.submit(read_and_change()).result(5) == "req-1"
    finally:
        request_id.reset(token)


def test_the_lag_of_a_blocked_loop_is_seen_while_it_is_blocked_and_after(loop: LoopThread, gate: threading.Event):
    entered = threading.Event()
    loop.submit(forever())
    until(lambda: loop.submit(answer(1)).result(5) == 1)
    until(lambda: loop.stats().lag_s < 0.2)
    loop.submit(block(gate, entered))
    assert entered.wait(5)
    until(lambda: loop.stats().lag_s > 0.3)
    gate.set()
    until(lambda: loop.stats().lag_s < 0.2)
    assert loop.stats().max_lag_s >= 0.3


def test_a_loop_with_nothing_to_do_sleeps(loop: LoopThread):
    loop.submit(answer(1)).result(5)
    until(lambda: loop.stats().in_flight == 0)
    threading.Event().wait(0.1)  # the last sample
    before = switches(loop)
    threading.Event().wait(0.5)
    assert switches(loop) == before


def switches(loop: LoopThread) -> str:
    """How often its thread has given up the processor."""
    thread = next(one for one in threading.enumerate() if one.name == "polls")
    with open(f"/proc/self/task/{thread.native_id}/status") as status:  # noqa: PTH123  # one line of it
        return next(line for line in status if line.startswith("voluntary_ctxt_switches"))


def test_stop_cancels_everything_lets_it_clean_up_and_joins(loop: LoopThread):
    seen: list[str] = []

    async def tidy() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.05)
            seen.append("tidied")

    async def with_child() -> None:
        await asyncio.gather(tidy(), tidy())

    futures = [loop.submit(tidy()), loop.submit(with_child())]
    loop.submit(answer(None)).result(5)
    assert loop.stop(within(5)) == []
    assert seen == ["tidied"] * 3
    assert threads() == []
    for future in futures:
        with pytest.raises(errors.Interrupted, match="was interrupted because"):
            future.result(0)


def test_after_stop_nothing_is_taken_and_stopping_again_is_harmless(loop: LoopThread):
    assert loop.stop(within(5)) == []
    late = answer(1)
    with pytest.raises(errors.Stopping, match=r"^Loop polls is shutting down"):
        loop.submit(late)
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED
    assert loop.stop(within(5)) == []


def test_one_that_swallows_cancellation_is_abandoned_named_and_never_resumed(loop: LoopThread):
    seen: list[str] = []
    future = loop.submit(swallow(seen), "node 7")
    loop.submit(answer(None)).result(5)
    begun = CLOCK.monotonic()
    assert loop.stop(within(0.3)) == ["node 7"]
    assert CLOCK.monotonic() - begun < 10  # it would never end
    with pytest.raises(errors.Interrupted, match=r"^node 7 was interrupted"):
        future.result(0)
    until(lambda: threads() == [])
    del future
    gc.collect()
    assert seen == ["cancelled"]


def test_a_blocked_loop_is_abandoned_and_runs_nothing_when_it_comes_back(loop: LoopThread, gate: threading.Event):
    ran: list[str] = []
    entered = threading.Event()
    loop.submit(busy(ran), "busy")
    loop.submit(parent(ran), "parent")
    until(lambda: {"step", "child"} <= set(ran))
    loop.submit(block(gate, entered), "blocker")
    assert entered.wait(5)
    assert loop.stop(within(0.3)) == ["blocker", "busy", "parent"]
    before = list(ran)
    gate.set()
    until(lambda: threads() == [])
    gc.collect()
    assert ran == before


async def busy(ran: list[str], word: str = "step") -> None:
    """Always has its next step waiting in the loop."""
    try:
        while True:
            ran.append(word)
            await asyncio.sleep(0)
    finally:
        ran.append(f"{word} cleaned up")


async def parent(ran: list[str]) -> None:
    await asyncio.gather(busy(ran, "child"))


def test_a_coroutine_cannot_end_the_loop_by_ending_the_program(loop: LoopThread):
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match=r"leave raised SystemExit\(3\)"):
        loop.submit(leave()).result(5)
    assert loop.submit(answer("alive")).result(5) == "alive"


def test_a_coroutine_cannot_stop_the_loop_that_runs_it(loop: LoopThread):
    async def stop() -> None:
        loop.stop(within(1))

    with pytest.raises(RuntimeError, match="Loop polls cannot be stopped by a coroutine that it runs"):
        loop.submit(stop()).result(5)


def test_names_are_resolved_on_its_own_threads_and_they_are_joined(loop: LoopThread):
    async def resolve() -> tuple[object, str]:
        found = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        named = await asyncio.to_thread(lambda: threading.current_thread().name)
        return found[0][4], named

    address, thread = loop.submit(resolve()).result(5)
    assert address == ("127.0.0.1", 80)
    assert thread.startswith("polls resolver_")
    assert loop.stop(within(5)) == []
    assert threads() == []


def test_a_resolver_that_hangs_is_named(loop: LoopThread, gate: threading.Event):
    async def hang() -> None:
        await asyncio.to_thread(gate.wait, 20)

    loop.submit(hang())
    until(lambda: "polls resolver_0" in threads())
    assert loop.stop(within(0.3)) == ["polls resolver_0"]
    gate.set()
    until(lambda: threads() == [])


def test_stop_and_submit_at_once_settle_every_future(pool: TaskPool):
    """Whoever wins, no Future is left that nobody settles, and no coroutine that nobody awaits."""
    for _ in range(20):
        loop = LoopThread("polls", 1000, pool, CLOCK)
        futures: list[concurrent.futures.Future[object]] = []
        begin = threading.Barrier(3)

        def submit(loop=loop, futures=futures, begin=begin) -> None:
            begin.wait(5)
            with contextlib.suppress(errors.Stopping):
                for number in range(200):
                    futures.append(loop.submit(answer(number)))

        with concurrent.futures.ThreadPoolExecutor(2) as submitters:
            for _ in range(2):
                submitters.submit(submit)
            begin.wait(5)
            assert loop.stop(within(5)) == []
        assert all(future.done() for future in futures)
    gc.collect()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what it warns of is what is tested
def test_it_belongs_to_the_process_that_made_it(loop: LoopThread):
    pid = os.fork()  # noqa: TID251  # what a child of a fork may not do is tested
    if pid == 0:
        refused = 0
        for call in (lambda: loop.submit(answer(1)), lambda: loop.stop(within(1))):
            try:
                call()
            except RuntimeError as exc:
                refused += "make loops after the fork" in str(exc)
        os._exit(0 if refused == 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0
