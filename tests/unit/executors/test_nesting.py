"""Work that waits for work: no pool is ever full of parents, no ring goes unnoticed, no place is lost."""

from __future__ import annotations

import concurrent.futures
import random  # noqa: TID251  # seeded
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
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


def within(seconds: float = 20) -> Deadline:
    return Deadline(CLOCK, seconds)


def a_pool(limit: int, *kinds: Kind, name: str = "p", **more: Any) -> TaskPool:
    return TaskPool(name, limit, kinds or (Kind("work", limit, queue=1000),), CLOCK, **more)


def ends(*pools: TaskPool) -> None:
    """Nothing is left of all the work: no place, no loan, no thread that is not parked; then no thread at all."""
    for pool in pools:
        until(partial(is_idle, pool))
        stats = pool.stats()
        assert (stats.busy, stats.lent, stats.queued, pool.running()) == (0, 0, 0, [])
        assert all(kind.busy == 0 for kind in stats.kinds)
        assert pool.drain(within()) == []
        until(partial(is_gone, pool))


def is_idle(pool: TaskPool) -> bool:
    return pool.stats().threads == pool.stats().idle


def is_gone(pool: TaskPool) -> bool:
    return pool.stats().threads == 0


def total(pool: TaskPool, tasks: Sequence[Task[int]]) -> int:
    assert pool.wait(tasks, within()) == []
    return sum(task.result() for task in tasks)


def nested(pool: TaskPool, kinds: Sequence[str], depth: int, width: int) -> int:
    """How many tasks there were, this one included."""
    if depth == 0:
        return 1
    kind = kinds[depth % len(kinds)]
    children = [
        pool.submit(kind, f"{depth}.{number}", nested, pool, kinds, depth - 1, width) for number in range(width)
    ]
    return 1 + total(pool, children)


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_parents_that_fill_the_pool_run_their_children_themselves(limit: int):
    """The classic deadlock: futurist, the standard library and Ironic's own power sync stand still here for ever."""
    pool = a_pool(limit)
    parents = [pool.submit("work", f"parent {number}", nested, pool, ["work"], 1, 5) for number in range(limit * 4)]
    assert total(pool, parents) == limit * 4 * 6
    assert pool.stats().executed == limit * 4 * 6
    ends(pool)


@pytest.mark.parametrize("limit", [1, 3])
def test_fifty_deep(limit: int):
    pool = a_pool(limit)
    deep = [pool.submit("work", "deep", nested, pool, ["work"], 50, 1) for _ in range(limit)]
    assert total(pool, deep) == 51 * limit
    ends(pool)


def test_kinds_that_are_at_their_caps_and_wait_for_each_other():
    """Each kind's one place is held by a parent whose children are of the other kind."""
    pool = a_pool(2, Kind("a", 1, queue=1000), Kind("b", 1, queue=1000))
    both = [pool.submit(kinds[0], kinds, nested, pool, kinds, 4, 3) for kinds in ("ab", "ba")]
    assert total(pool, both) == 2 * (1 + 3 + 9 + 27 + 81)
    ends(pool)


def test_two_full_pools_whose_work_waits_for_work_of_the_other():
    one, other = a_pool(1, name="one"), a_pool(1, name="other")

    def parent(pool: TaskPool, depth: int) -> int:
        if depth == 0:
            return 1
        there = other if pool is one else one
        return 1 + total(pool, [there.submit("work", f"{depth}", parent, there, depth - 1) for _ in range(2)])

    both = [pool.submit("work", "top", parent, pool, 4) for pool in (one, other)]
    assert total(one, both) == 2 * 31
    ends(one, other)


def test_a_child_that_its_waiter_runs_has_its_own_context_and_counts_and_place_in_its_line(gate: threading.Event):
    pool = a_pool(1, Kind("parents", 1), Kind("children", 1, queue=9))
    seen: dict[str, Any] = {}

    def look(name: str) -> None:
        kinds = {kind.name: kind for kind in pool.stats().kinds}
        seen[name] = (request_id.get(), threading.get_ident(), pool.stats().busy, kinds["children"].longest)

    def parent() -> None:
        request_id.set("req-child")
        children = [pool.submit("children", name, look, name) for name in ("first", "second")]
        request_id.set("req-parent")
        assert pool.wait(children, within()) == []
        look("parent")

    pool.submit("parents", "parent", parent).result(10)
    mine = seen["parent"][1]
    assert seen == {
        "first": ("req-child", mine, 1, "first"),
        "second": ("req-child", mine, 1, "second"),
        "parent": ("req-parent", mine, 1, None),
    }
    parents, children = pool.stats().kinds
    assert (parents.executed, children.executed, children.failed, children.busy) == (1, 2, 0, 0)
    assert children.wait_s >= 0
    ends(pool)


def test_a_child_that_its_waiter_runs_is_watched(gate: threading.Event, caplog: pytest.LogCaptureFixture):
    pool = a_pool(1, Kind("parents", 1), Kind("children", 1, queue=1, deadline_s=0.05))

    def stuck_child() -> None:
        gate.wait(10)

    def parent() -> None:
        assert pool.wait([pool.submit("children", "the slow child", stuck_child)], within()) == []

    task = pool.submit("parents", "parent", parent)
    until(lambda: "the slow child runs for" in caplog.text)
    assert "in stuck_child" in caplog.text
    gate.set()
    task.result(10)
    ends(pool)


def test_how_a_child_ended_is_the_childs_and_not_its_waiters():
    pool = a_pool(1)

    def fail() -> None:
        raise SystemExit(3)

    def parent() -> str:
        failing, cancelled = pool.submit("work", "fails", fail), pool.submit("work", "cancelled", int)
        cancelled.cancel()
        assert pool.wait([failing, cancelled, failing], within()) == []
        return f"{failing.exception()!r} {cancelled.cancelled()}"

    assert pool.submit("work", "parent", parent).result(10) == "SystemExit(3) True"
    assert (pool.stats().failed, pool.stats().cancelled, pool.stats().executed) == (1, 1, 2)
    ends(pool)


def test_whoever_waits_for_what_runs_lends_its_place_and_has_it_back(gate: threading.Event):
    pool, other, goes_on = a_pool(1), a_pool(1, name="other"), threading.Event()
    slow = other.submit("work", "slow", goes_on.wait, 20)
    until(slow.running)

    def waiter() -> int:
        assert pool.wait([slow], within()) == []
        return pool.stats().busy

    waiting = pool.submit("work", "waiter", waiter)
    until(lambda: pool.stats().lent == 1)
    assert (pool.stats().busy, pool.stats().threads) == (0, 1)
    taken = pool.submit("work", "uses the place", gate.wait, 20)
    until(taken.running)
    goes_on.set()
    assert waiting.result(10) == 2  # it did not wait for its place
    next_one = pool.submit("work", "next", int)
    assert (pool.stats().busy, pool.stats().queued) == (1, 1)
    gate.set()
    assert next_one.result(10) == 0
    ends(pool, other)


def test_what_waits_in_line_gets_the_lent_place_at_once(gate: threading.Event):
    pool, outside = a_pool(1), Future[int]()
    waiter = pool.submit("work", "waiter", pool.wait, [outside], within())
    assert pool.submit("work", "in line", int).result(10) == 0
    assert not waiter.done()
    outside.set_result(1)
    assert waiter.result(10) == []
    ends(pool)


def test_no_more_places_are_lent_than_a_quarter_and_no_more_threads_are_made(gate: threading.Event):
    pool, outside = a_pool(8, Kind("work", 8, queue=50)), Future[int]()
    waiters = [pool.submit("work", f"waiter {number}", pool.wait, [outside], within()) for number in range(16)]
    until(lambda: pool.stats().lent == 2 and pool.stats().busy == 8)
    assert (pool.stats().threads, pool.stats().queued) == (10, 6)
    outside.set_result(1)
    assert [waiter.result(10) for waiter in waiters] == [[]] * 16
    ends(pool)


class Ring:
    """Tasks, each of which waits for the next one: the last of them finds all others waiting."""

    def __init__(self, pools: Sequence[TaskPool]) -> None:
        self.tasks: list[Task[str]] = []
        made = threading.Event()
        for number, pool in enumerate(pools):
            self.tasks.append(pool.submit("work", f"task {number}", self.work, pool, number, made))
        made.set()

    def work(self, pool: TaskPool, number: int, made: threading.Event) -> str:
        made.wait(10)
        if number == len(self.tasks) - 1:
            until(lambda: all(task.awaits for task in self.tasks[:-1]))
        awaited = self.tasks[(number + 1) % len(self.tasks)]
        try:
            pool.wait([awaited], within())
        except errors.WouldDeadlock as exc:
            return str(exc)
        return f"{number} waited"


def test_two_that_wait_for_each_other():
    pool = a_pool(2)
    ring = Ring([pool, pool])
    assert total_text(pool, ring.tasks) == [
        "0 waited",
        "task 1 would wait for itself for ever: it waits for task 0, which waits for task 1.",
    ]
    ends(pool)


def test_a_ring_through_two_pools():
    one, other = a_pool(2, name="one"), a_pool(2, name="other")
    ring = Ring([one, other, one, other])
    assert total_text(one, ring.tasks)[3] == (
        "task 3 would wait for itself for ever: it waits for task 0, which waits for task 1, which waits for task 2, "
        "which waits for task 3."
    )
    ends(one, other)


def test_one_that_waits_for_itself():
    pool = a_pool(1)
    ring = Ring([pool])
    assert total_text(pool, ring.tasks) == ["task 0 would wait for itself for ever: it waits for task 0."]
    ends(pool)


def test_a_child_that_waits_for_its_parent_by_whom_it_is_run():
    pool, parents = a_pool(1), list[Task[Any]]()
    made = threading.Event()

    def parent() -> str:
        made.wait(10)
        child = pool.submit("work", "child", pool.wait, parents, within())
        assert pool.wait([child], within()) == []
        return str(child.exception())

    parents.append(pool.submit("work", "parent", parent))
    made.set()
    assert parents[0].result(10) == "child would wait for itself for ever: it waits for parent, which waits for child."
    ends(pool)


def test_who_waits_is_the_parent_again_when_its_child_has_ended():
    pool, tasks, made = a_pool(1), list[Task[Any]](), threading.Event()

    def parent() -> str:
        made.wait(10)
        assert pool.wait([pool.submit("work", "child", int)], within()) == []
        with pytest.raises(errors.WouldDeadlock) as caught:
            pool.wait(tasks, within(0.1))
        return str(caught.value)

    tasks.append(pool.submit("work", "parent", parent))
    made.set()
    assert tasks[0].result(10) == "parent would wait for itself for ever: it waits for parent."
    ends(pool)


def test_a_wait_that_was_given_up_is_no_part_of_a_ring():
    pool, tasks, made, gave_up = a_pool(2), list[Task[Any]](), threading.Event(), threading.Event()

    def impatient() -> None:
        made.wait(10)
        assert pool.wait(tasks[1:], within(0.01)) == tasks[1:]
        gave_up.set()
        until(lambda: tasks[1].awaits)

    def patient() -> bool:
        gave_up.wait(10)
        return pool.wait(tasks[:1], within()) == []

    tasks += [pool.submit("work", "impatient", impatient), pool.submit("work", "patient", patient)]
    made.set()
    assert tasks[1].result(10)
    ends(pool)


def total_text(pool: TaskPool, tasks: Sequence[Task[str]]) -> list[str]:
    assert pool.wait(tasks, within()) == []
    return [task.result() for task in tasks]


@pytest.mark.parametrize("ask", [Task.result, Task.exception])
def test_a_plain_wait_in_a_pools_thread_is_refused(ask: Callable[[Task[Any], float], Any], gate: threading.Event):
    pool, other = a_pool(2), a_pool(1, name="other")
    child = other.submit("work", "the child", gate.wait, 10)

    def parent() -> Any:
        with pytest.raises(RuntimeError, match=r"^the child has not ended: .* with TaskPool\.wait first"):
            ask(child, 10)
        gate.set()
        assert pool.wait([child], within()) == []
        return ask(child, 0)

    assert pool.submit("work", "parent", parent).result(10) in (True, None)
    ends(pool, other)


def test_elsewhere_everything_waits_as_usual(gate: threading.Event):
    pool = a_pool(1)
    held = pool.submit("work", "held", gate.wait, 10)
    in_line = pool.submit("work", "in line", threading.get_ident)
    both: list[Future[Any]] = [in_line, held]
    assert pool.wait(both, within(0.05)) == both
    with pytest.raises(TimeoutError):
        in_line.result(0.01)
    gate.set()
    assert pool.wait(both, within()) == []
    assert in_line.result() != threading.get_ident()
    assert len(concurrent.futures.wait(both, 0).done) == 2
    ends(pool)


def test_a_wait_ends_at_its_deadline_and_begins_nothing_after_it(gate: threading.Event):
    pool, other = a_pool(1), a_pool(1, name="other")
    running = other.submit("work", "running", gate.wait, 10)
    in_line = other.submit("work", "in line", int)
    both: list[Future[Any]] = [in_line, running]

    def waiter() -> tuple[list[Future[Any]], list[Future[Any]]]:
        return pool.wait([running], within(0.05)), pool.wait(both, within(0))

    assert pool.submit("work", "waiter", waiter).result(10) == ([running], both)
    assert not in_line.done()
    gate.set()
    ends(pool, other)


def test_too_deep_is_refused_before_anything_is_begun():
    pool, tasks = a_pool(1), list[Task[None]]()

    def deeper() -> None:
        if len(tasks) < 400:
            tasks.append(pool.submit("work", "deeper", deeper))
            pool.wait([tasks[-1]], within())

    deeper()
    until(lambda: pool.stats().executed == 400, 60)
    refused = [number for number, task in enumerate(tasks) if task.exception()]
    assert refused[0] > 50
    assert {type(tasks[number].exception()) for number in refused} == {RecursionError}
    assert pool.stats().failed == len(refused)
    ends(pool)


def test_a_drain_cancels_what_a_waiter_waits_for_and_ends(gate: threading.Event):
    pool, begun = a_pool(1), threading.Event()
    child_began: list[int] = []

    def parent() -> bool:
        child = pool.submit("work", "child", child_began.append, 1)
        begun.set()
        until(lambda: pool.draining)
        until(child.cancelled)
        return pool.wait([child], within()) == []

    task = pool.submit("work", "parent", parent)
    assert begun.wait(10)
    assert pool.drain(within()) == []
    assert task.result(10)
    assert child_began == []
    until(lambda: pool.stats().threads == 0)


class Node(NamedTuple):
    """A task of a random tree: of which pool and kind, what it adds, whether it fails in the end."""

    pool: int
    kind: str
    value: int
    fails: bool
    children: list[Any]


def nodes(children: st.SearchStrategy[list[Node]]) -> st.SearchStrategy[Node]:
    return st.builds(Node, st.integers(0, 1), st.sampled_from("abc"), st.integers(0, 9), st.booleans(), children)


NODES = st.recursive(nodes(st.just([])), lambda below: nodes(st.lists(below, max_size=4)), max_leaves=25)


def expected(node: Node) -> int:
    below = sum(100 if child.fails else expected(child) for child in node.children)
    return node.value + below


def size(node: Node) -> int:
    return 1 + sum(size(child) for child in node.children)


def carry_out(pools: Sequence[TaskPool], node: Node) -> int:
    tasks = [pools[child.pool].submit(child.kind, "node", carry_out, pools, child) for child in node.children]
    assert pools[node.pool].wait(tasks, within()) == []
    result = node.value + sum(100 if task.exception() else task.result() for task in tasks)
    if node.fails:
        raise ArithmeticError
    return result


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(NODES, min_size=1, max_size=3),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(*[st.integers(1, 3)] * 3),
)
def test_every_tree_of_tasks_ends_with_its_result(roots: list[Node], limits: tuple[int, int], caps: tuple[int, ...]):
    kinds = [Kind(name, cap, queue=10_000, critical=name == "a") for name, cap in zip("abc", caps, strict=True)]
    pools = [
        TaskPool(f"pool {number}", limit, kinds, CLOCK, reserved=limit // 2) for number, limit in enumerate(limits)
    ]
    tasks = [pools[root.pool].submit(root.kind, "root", carry_out, pools, root) for root in roots]
    assert pools[0].wait(tasks, within()) == []
    for root, task in zip(roots, tasks, strict=True):
        if root.fails:
            assert isinstance(task.exception(), ArithmeticError)
        else:
            assert task.result() == expected(root)
    until(lambda: sum(pool.stats().executed for pool in pools) == sum(size(root) for root in roots))
    ends(*pools)


class Tangle:
    """Tasks that make others, and wait for any of all."""

    def __init__(self, seed: int) -> None:
        self.pools = [a_pool(limit, Kind("x", 1, queue=999), Kind("y", 3, queue=999)) for limit in (1, 5)]
        self.seed, self.tasks, self.seen = seed, list[Task[None]](), Counter[str]()

    def is_over(self) -> bool:
        return all(task.done() for task in self.tasks)

    def work(self, number: int) -> None:
        dice = random.Random(self.seed * 10_000 + number)
        for _ in range(dice.randrange(4)):
            if len(self.tasks) < 300:
                self.grow(dice)
        for _ in range(dice.randrange(4)):
            self.wait(dice)

    def grow(self, dice: random.Random) -> None:
        self.tasks.append(dice.choice(self.pools).submit(dice.choice("xy"), "task", self.work, len(self.tasks)))

    def wait(self, dice: random.Random) -> None:
        awaited = dice.sample(self.tasks, min(len(self.tasks), 1 + dice.randrange(5)))
        try:
            left = self.pools[0].wait(awaited, within(30))
        except errors.WouldDeadlock:
            self.seen["rings"] += 1
        except RecursionError:
            self.seen["too deep"] += 1
        else:
            self.seen["late"] += len(left)
            self.seen["waits"] += 1


def test_whoever_waits_for_whomever_everything_ends():
    """No model knows who meets whom here; but each wait ends, well or with a ring, and nothing is lost."""
    seen = Counter[str]()
    for seed in range(8):
        tangle = Tangle(seed)
        for _ in range(40):
            tangle.grow(random.Random(seed))
        until(tangle.is_over, 60)
        ends(*tangle.pools)
        seen += tangle.seen
    assert seen["late"] == 0
    assert seen["rings"] > 0
    assert seen["waits"] > 200
