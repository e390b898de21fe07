"""Delays, keys and cancellations in any order, beside a model that is a plain list."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ironic_lite import errors
from ironic_lite.clock import Deadline, ManualClock, SystemClock
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.entry import Entry
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool

LIMIT = 6


@dataclass
class Expected:
    """What the model knows of one entry. Order: of being put, or put forward, among those that are due at one time."""

    entry: Entry[None]
    number: int
    key: str | None
    due: float
    order: int
    state: str = "waits"


class Model(RuleBasedStateMachine):
    """The agenda's thread is the test's own; the pool's one worker keeps the order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.pool = TaskPool("p", 1, [Kind("work", 1, queue=LIMIT)], SystemClock())
        self.agenda = Agenda("a", self.pool, self.clock, limit=LIMIT)
        self.all: list[Expected] = []
        self.ran: list[int] = []
        self.should_have_run: list[int] = []
        self.orders = 0

    def waiting(self) -> list[Expected]:
        return [one for one in self.all if one.state == "waits"]

    @rule(delay_s=st.integers(0, 6), key=st.sampled_from([None, None, "a", "b"]))
    def put(self, delay_s: int, key: str | None) -> None:
        number, due, self.orders = len(self.all), self.clock.monotonic() + delay_s, self.orders + 1
        same = [one for one in self.waiting() if key is not None and one.key == key]
        try:
            entry = self.agenda.after(delay_s, "work", str(number), lambda: self.ran.append(number), key=key)
        except errors.AgendaFull:
            assert not same
            assert len(self.waiting()) == LIMIT
            return
        if not same:
            assert len(self.waiting()) < LIMIT
            self.all.append(Expected(entry, number, key, due, self.orders))
            return
        assert entry is same[0].entry
        if due < same[0].due:
            same[0].due, same[0].order = due, self.orders

    @rule(which=st.integers(0, 30))
    def cancel(self, which: int) -> None:
        if not self.all:
            return
        one = self.all[which % len(self.all)]
        assert one.entry.cancel() == (one.state != "ran")
        if one.state == "waits":
            one.state = "cancelled"

    @rule(seconds=st.integers(0, 4))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        due = sorted((one for one in self.waiting() if one.due <= now), key=lambda one: (one.due, one.order))
        next_due = min((one.due - now for one in self.waiting() if one.due > now), default=None)
        sleeps_s = self.agenda._begin_due()
        if next_due is not None:
            assert sleeps_s == next_due
        for one in due:
            one.entry.result(10)
            one.state = "ran"
            self.should_have_run.append(one.number)

    @invariant()
    def all_is_as_expected(self) -> None:
        assert self.ran == self.should_have_run
        for one in self.all:
            told = "cancelled" if one.entry.cancelled() else "ran" if one.entry.done() else "waits"
            assert told == one.state
        assert len(self.agenda._waiting) == len(self.waiting())
        assert set(self.agenda._keys) == {one.key for one in self.waiting()} - {None}

    def teardown(self) -> None:
        self.agenda.stop(Deadline(SystemClock(), 10))
        for one in self.all:
            assert one.entry.done()
            assert one.entry.cancelled() == (one.state != "ran")
        assert self.pool.drain(Deadline(SystemClock(), 10)) == []


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
