"""What a collection of Redfish sensors remembers, and when it sends no more."""

from __future__ import annotations

import pytest

from ironic_lite.clock import Deadline, ManualClock
from ironic_lite.drivers.redfish.links import MACHINES_LIMIT, Links, Memory
from ironic_lite.drivers.redfish.parts import Parts


def links(until_s: float = 100.0) -> Links:
    return Links(system="1", extra={}, known_until_s=until_s)


def test_links_are_believed_for_a_while() -> None:
    memory, known = Memory(), links(until_s=100.0)
    memory.keep("/1", known)
    assert memory.get("/1", 99.9) is known
    assert memory.get("/1", 100.0) is None
    assert memory.get("/2", 0.0) is None
    memory.forget("/1")
    assert memory.get("/1", 0.0) is None


def test_the_links_of_so_many_machines_are_remembered() -> None:
    memory = Memory()
    for number in range(MACHINES_LIMIT + 1):
        memory.keep(f"/{number}", links())
    assert [number for number in range(MACHINES_LIMIT + 1) if memory.get(f"/{number}", 0.0)] == [MACHINES_LIMIT]


def test_nothing_is_sent_behind_the_deadline() -> None:
    clock = ManualClock()
    parts = Parts(Deadline(clock, 5.0))
    parts.check()
    clock.advance(5.0)
    with pytest.raises(TimeoutError):
        parts.check()


def silent() -> None:
    raise TimeoutError


def test_an_answer_between_two_silences_makes_them_two_of_their_own() -> None:
    parts = Parts(Deadline(ManualClock(), 5.0))
    for _ in range(3):
        with parts.part("Thermal"):
            silent()
        parts.add({"Fan": {"F1": {}}})
    assert parts.missing == {"Thermal": "it did not answer in time"}
    parts.check()
