"""A vendor interface whose steps do as they are told, and remember that they were asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.steps import Done, Failed, Outcome, Wait, step

LEDGER: Final[list[str]] = []  # what was asked of the machine
SCRIPT: Final[dict[str, Outcome | errors.Error]] = {}  # what is to be answered; Done otherwise
GATE: Final = threading.Event()  # steps called "slow" wait for it


class ScriptedVendor:
    """Steps of each temper."""

    @step(clean=0, deploy=0, service=0)
    def once(self, node: Node, attempt: Attempt, *, what: str = "once") -> Outcome:
        return played(attempt, what)

    @step(clean=0, deploy=0, service=0, repeatable=True)
    def again(self, node: Node, attempt: Attempt, *, what: str = "again") -> Outcome:
        return played(attempt, what)

    @step(verify=0, clean=30, deploy=0, service=0, abortable=True, check="stands")
    def asked(self, node: Node, attempt: Attempt) -> Outcome:
        return played(attempt, "asked")

    @step(clean=20, deploy=0, service=0, check="stands")
    def stubborn(self, node: Node, attempt: Attempt) -> Outcome:
        return played(attempt, "stubborn")

    @step(clean=0, requires_ramdisk=True)
    def inside(self, node: Node, attempt: Attempt) -> Outcome:
        return played(attempt, "inside")

    @step(clean=0)
    def slow(self, node: Node, attempt: Attempt) -> Outcome:
        LEDGER.append("slow")
        while not GATE.is_set():
            attempt.pause(0.01)
        return Done()

    def stands(self, node: Node, deadline: Deadline) -> Outcome:
        return answered("check")


def played(attempt: Attempt, what: str) -> Outcome:
    attempt.permit()
    return answered(what)


def answered(what: str) -> Outcome:
    LEDGER.append(what)
    answer = SCRIPT.get(what, Done())
    if isinstance(answer, errors.Error):
        raise answer
    return answer


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`vendor_interface: scripted` of fake-hardware."""
    interfaces: Any = registry.load("fake-hardware").interfaces
    names = interfaces["vendor"] | {"scripted": "tests.parts.scripted_steps:ScriptedVendor"}
    monkeypatch.setitem(interfaces, "vendor", names)
    yield
    GATE.set()
    for one in (LEDGER, SCRIPT):
        one.clear()


__all__ = ["GATE", "LEDGER", "SCRIPT", "Done", "Failed", "Wait", "scripted"]
