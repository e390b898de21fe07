"""Waiting for a power state, on a clock that only the waiting moves."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from ironic_lite import clock, errors
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.settling import finish, settle

NODE = Node(uuid="u", driver="x")


def settled(answers: Iterable[Any], timeout_s: float = 60.0) -> list[float]:
    """Settle on "power off" with these answers of the BMC; how long each pause was."""
    manual, reads = clock.ManualClock(), iter(answers)
    pauses: list[float] = []

    def pause(pause_s: float) -> None:
        pauses.append(pause_s)
        manual.wait(threading.Event(), pause_s)

    def read(deadline: clock.Deadline) -> Power | None:
        answer = next(reads)
        if isinstance(answer, Exception):
            raise answer
        assert answer is None or isinstance(answer, Power)
        return answer

    attempt = Attempt(clock.Deadline(manual, timeout_s), permit=lambda: None, pause=pause, report=lambda _text: None)
    finish(settle(NODE, PowerTarget.OFF, Power.OFF, attempt, read), attempt)
    return pauses


def test_a_machine_that_is_there_is_not_waited_for() -> None:
    assert settled([Power.OFF]) == []


def test_pauses_grow_up_to_a_limit() -> None:
    assert settled([Power.ON] * 8 + [Power.OFF], timeout_s=600) == [1, 1.5, 2.25, 3.375, 5.0625, 7.59375, 10, 10]


def test_an_answer_that_is_missed_or_makes_no_sense_is_asked_for_again() -> None:
    unreachable = errors.BMCUnreachable(node="u", address="a", reason="r")
    assert settled([unreachable, None, Power.OFF]) == [1, 1.5]


@pytest.mark.parametrize(("answer", "said"), [(Power.ON, "power on"), (None, "unknown")])
def test_the_end_says_what_the_bmc_said_last(answer: Power | None, said: str) -> None:
    with pytest.raises(errors.PowerStateUnsettled, match=f'"power off" within 5 s; its BMC last said "{said}"'):
        settled([answer] * 9, timeout_s=5)


def test_the_end_says_when_the_bmc_said_nothing() -> None:
    with pytest.raises(errors.PowerStateUnsettled, match="no answer"):
        settled([errors.BMCUnreachable(node="u", address="a", reason="r")] * 9, timeout_s=5)


def test_what_asking_again_cannot_mend_is_told_at_once() -> None:
    with pytest.raises(errors.BMCAccessDenied):
        settled([errors.BMCAccessDenied(node="u", address="a"), Power.OFF])
