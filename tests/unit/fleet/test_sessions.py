from __future__ import annotations

import pytest

from ironic_lite.clock import ManualClock
from ironic_lite.fleet.sessions import IDLE_TIMEOUT_S, Sessions, SlotsTakenError


def test_slots_are_few_and_come_back() -> None:
    sessions = Sessions(ManualClock(), slots=2)
    first, second = sessions.create("admin"), sessions.create("admin")
    with pytest.raises(SlotsTakenError):
        sessions.create("admin")
    assert sessions.delete(first.id)
    assert not sessions.delete(first.id)
    assert not sessions.touch(first.token)
    assert sessions.touch(second.token)
    assert sessions.create("admin").id not in {first.id, second.id}


def test_only_an_idle_session_expires() -> None:
    clock = ManualClock()
    sessions = Sessions(clock)
    used, idle = sessions.create("admin"), sessions.create("admin")
    clock.advance(IDLE_TIMEOUT_S - 1)
    assert sessions.touch(used.token)
    clock.advance(2)
    assert sessions.ids() == [used.id]
    assert not sessions.touch(idle.token)
