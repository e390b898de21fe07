"""The provision table: complete, and the one that Ironic's clients know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironic_lite import errors
from ironic_lite.conductor.provision import FLOWS
from ironic_lite.domain.provision import HEADING, NEXT, TABLE, VERBS, Event, accepts, next_state, target_of
from ironic_lite.domain.states import STABLE, WORKING, Provision

ON_THE_WAY = [state for state in Provision if state in WORKING or "wait" in state or "hold" in state]


def test_its_size_is_ironics():
    assert (len(Provision), len(TABLE), len(NEXT)) == (30, 93, 93)


@pytest.mark.parametrize("state", Provision)
def test_every_state_can_be_left_and_only_enroll_is_never_entered_from_elsewhere(state: Provision):
    assert any(row[0] == state for row in TABLE)
    assert any(row[2] == state for row in TABLE)


@pytest.mark.parametrize("state", ON_THE_WAY)
def test_whatever_is_on_the_way_can_fail_or_be_aborted(state: Provision):
    assert (state, Event.FAIL) in NEXT or (state, Event.ABORT) in NEXT


def test_every_state_but_the_stable_ones_heads_somewhere_stable():
    assert set(HEADING) == set(Provision) - STABLE
    assert set(HEADING.values()) <= STABLE
    assert target_of(Provision.ACTIVE) is None
    assert target_of(Provision.VERIFYING) == Provision.MANAGEABLE


def test_every_flow_belongs_to_a_working_state():
    assert set(FLOWS) <= WORKING


def test_every_verb_is_accepted_somewhere_and_none_where_a_conductor_works():
    for event, _since in VERBS.values():
        assert any(accepts(state, event) for state in Provision)
        assert not any(accepts(state, event) for state in WORKING)


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_a_walk_stays_in_the_table(events: list[Event]):
    state = Provision.ENROLL
    for event in events:
        if (state, event) in NEXT:
            state = next_state("n", state, event)
        else:
            with pytest.raises(errors.InvalidState, match=f'"{event}" can not be performed on node n .* "{state}"'):
                next_state("n", state, event)
        assert state in Provision
