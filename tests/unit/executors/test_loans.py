"""Places that are lent and taken back, against a model: no thread, no clock, only who may begin."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ironic_lite import errors
from ironic_lite.executors.admission import Admission
from ironic_lite.executors.kinds import Kind, Line

LIMIT, RESERVED = 8, 3
CAPS = {"critical": 7, "a": 3, "b": 5}


class Loans(RuleBasedStateMachine):
    """Whose places are taken, and whose are lent, is counted here."""

    def __init__(self) -> None:
        super().__init__()
        kinds = [Kind(name, cap, critical=name == "critical") for name, cap in CAPS.items()]
        self.admission = Admission("p", LIMIT, RESERVED, kinds)
        self.at_work: list[Line] = []
        self.lenders: list[Line] = []

    def ordinary(self) -> int:
        return sum(not line.kind.critical for line in self.at_work)

    @rule(name=st.sampled_from(list(CAPS)))
    def begin(self, name: str) -> None:
        line = self.admission.lines[name]
        mine = self.at_work.count(line)
        beside = max(0, self.ordinary() - (LIMIT - RESERVED))
        room = mine < CAPS[name] and len(self.at_work) - beside < LIMIT
        if name != "critical":
            room = room and self.ordinary() < LIMIT - RESERVED
        try:
            self.admission.admit(line, 0.0)
        except errors.NoFreeWorker:
            assert not room
        else:
            assert room
            self.at_work.append(line)

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        line = self.taken_from(self.at_work, data)
        self.admission.vacate(line)

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def lend(self, data: st.DataObject) -> None:
        line = self.taken_from(self.at_work, data)
        if self.admission.lend(line):
            self.lenders.append(line)
        else:
            self.at_work.append(line)

    @precondition(lambda self: self.lenders)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        line = self.taken_from(self.lenders, data)
        self.admission.take_back(line, 0.0)
        self.at_work.append(line)

    def taken_from(self, lines: list[Line], data: st.DataObject) -> Line:
        return lines.pop(data.draw(st.integers(0, len(lines) - 1)))

    @invariant()
    def counts_are_right_and_bounded(self) -> None:
        assert self.admission.all.used == len(self.at_work)
        assert self.admission.lent == len(self.lenders) <= self.admission.lendable == 2
        assert len(self.at_work) + len(self.lenders) <= LIMIT + 2
        assert all(line.own.used == self.at_work.count(line) for line in self.admission.lines.values())

    @invariant()
    def a_loan_is_possible_unless_all_are_taken(self) -> None:
        if not self.lenders and self.ordinary() <= LIMIT - RESERVED:
            assert self.admission.all.limit == LIMIT

    @invariant()
    def the_reserved_share_is_there(self) -> None:
        critical = self.admission.lines["critical"]
        if self.at_work.count(critical) < RESERVED:
            assert critical.full() is None


TestLoans = Loans.TestCase
TestLoans.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
