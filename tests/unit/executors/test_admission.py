"""Admission against a model, under any sequence of events; and under many threads at once."""

from __future__ import annotations

import random  # noqa: TID251  # seeded
import threading
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.slot import Slot
from ironic_lite.executors.task import Task
from ironic_lite.executors.taskpool import TaskPool
from tests.waiting import until

CLOCK = SystemClock()
LIMIT, RESERVED = 5, 1
KINDS = (Kind("a", 4, queue=2, critical=True), Kind("b", 2, queue=1), Kind("c", 4, queue=0))
NAMES = [kind.name for kind in KINDS]


class Admission(RuleBasedStateMachine):
    """Who is in is counted here; where he is (running, waiting) the pool says, and must say what is right."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = TaskPool("p", LIMIT, KINDS, CLOCK, reserved=RESERVED)
        self.kinds = {kind.name: kind for kind in KINDS}
        self.tasks: dict[Task[bool], threading.Event] = {}
        self.slots: list[Slot] = []

    def has_room(self, name: str) -> bool:
        busy = {kind.name: kind.busy for kind in self.pool.stats().kinds}
        ordinary = busy["b"] + busy["c"]
        return (
            busy[name] < self.kinds[name].cap
            and sum(busy.values()) < LIMIT
            and (self.kinds[name].critical or ordinary < LIMIT - RESERVED)
        )

    def may_enter(self, name: str) -> bool:
        queued = {kind.name: kind.queued for kind in self.pool.stats().kinds}
        return self.has_room(name) or queued[name] < self.kinds[name].queue

    @rule(name=st.sampled_from(NAMES))
    def submit(self, name: str) -> None:
        expected, gate = self.may_enter(name), threading.Event()
        try:
            task = self.pool.submit(name, name, gate.wait, 20)
        except errors.NoFreeWorker:
            assert not expected
        else:
            assert expected
            self.tasks[task] = gate

    @rule(name=st.sampled_from(NAMES))
    def hold(self, name: str) -> None:
        expected = self.may_enter(name)
        try:
            self.slots.append(self.pool.slot(name, name))
        except errors.NoFreeWorker:
            assert not expected
        else:
            assert expected

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(self.slots))
        self.slots.remove(slot)
        slot.__exit__(None, None, None)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        running = [task for task in self.tasks if task.started_at]
        if running:
            task = data.draw(st.sampled_from(running))
            self.tasks.pop(task).set()
            assert task.result(10)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(list(self.tasks)))
        if not task.started_at:
            assert task.cancel()
            del self.tasks[task]

    @rule(name=st.sampled_from(NAMES), cap=st.integers(1, 5))
    def set_cap(self, name: str, cap: int) -> None:
        old = self.kinds[name]
        self.kinds[name] = Kind(name, cap, queue=old.queue, critical=old.critical)
        self.pool.set_caps([self.kinds[name]])

    @invariant()
    def nobody_is_lost_and_no_bound_is_passed(self) -> None:
        stats = self.pool.stats()
        assert stats.busy + stats.queued == len(self.tasks) + len(self.slots)
        assert stats.busy <= LIMIT
        assert sum(kind.busy for kind in stats.kinds[1:]) <= LIMIT - RESERVED
        assert all(kind.queued <= self.kinds[kind.name].queue for kind in stats.kinds)

    @invariant()
    def nobody_waits_who_could_run(self) -> None:
        waiting = {task.line.kind.name for task in self.tasks if not task.started_at}
        assert not any(self.has_room(name) for name in waiting)

    def teardown(self) -> None:
        for slot in self.slots:
            slot.__exit__(None, None, None)
        for gate in self.tasks.values():
            gate.set()
        assert self.pool.drain(Deadline(CLOCK, 10)) == []
        until(lambda: self.pool.stats().threads == 0)


TestAdmission = Admission.TestCase
TestAdmission.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


class Crowd:
    """Customers, each with a thread and a seed of its own, of one pool; and what its tasks saw."""

    def __init__(self, pool: TaskPool) -> None:
        self.pool = pool
        self.lock, self.pause = threading.Lock(), threading.Event()
        self.running, self.peak, self.done = Counter[str](), Counter[str](), Counter[str]()

    def work(self, kind: str, pause_s: float) -> None:
        with self.lock:
            self.running[kind] += 1
            self.peak[kind] = max(self.peak[kind], self.running[kind])
            self.peak["all"] = max(self.peak["all"], self.running.total())
        if pause_s:
            self.pause.wait(pause_s)
        with self.lock:
            self.running[kind] -= 1
            self.done["ran"] += 1

    def customer(self, seed: int) -> None:
        dice, mine = random.Random(seed), list[Task[None]]()
        for _ in range(400):
            kind = dice.choice("xyz")
            try:
                mine.append(self.pool.submit(kind, kind, self.work, kind, dice.choice((0, 0, 0.001, 0.02))))
            except errors.NoFreeWorker:
                self.pause.wait(0.002)
            if mine and dice.random() < 0.1:
                dice.choice(mine).cancel()
        for task in mine:
            if not task.cancelled():
                task.result(30)
        with self.lock:
            self.done["given"] += len(mine)
            self.done["cancelled"] += sum(task.cancelled() for task in mine)

    def run(self, customers: int) -> None:
        threads = [threading.Thread(target=self.customer, args=(seed,)) for seed in range(customers)]  # noqa: TID251  # joined below
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)


def test_many_threads_at_once_pass_no_cap_and_lose_nothing():
    pool = TaskPool("p", 12, [Kind("x", 3, queue=50), Kind("y", 8, queue=50), Kind("z", 12)], CLOCK, idle_s=0.01)
    crowd = Crowd(pool)
    crowd.run(6)
    until(lambda: pool.stats().busy == 0)
    stats, done, peak = pool.stats(), crowd.done, crowd.peak
    assert stats.queued == 0
    assert (done["ran"], done["ran"] + done["cancelled"]) == (stats.executed, done["given"])
    assert stats.cancelled == done["cancelled"]
    assert (peak["x"] <= 3, peak["y"] <= 8, peak["all"] <= 12) == (True, True, True)
    assert done["ran"] > 200
    until(lambda: pool.stats().threads == 0)
    assert pool.drain(Deadline(CLOCK, 10)) == []
