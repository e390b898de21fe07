"""Walks through a node's life at random: whatever is asked and however it ends, the node stays one that can go on."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ironic_lite import errors
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.flow import Request
from ironic_lite.domain.provision import NEXT, VERBS, Event, accepts
from ironic_lite.domain.states import WAITING, WORKING
from ironic_lite.domain.steps import AskedStep
from tests.clocks import HeldClock
from tests.parts.scripted_steps import SCRIPT, Done, Failed, Wait, scripted
from tests.parts.story import Story

__all__ = ["scripted"]

VERBS_ASKED = sorted({event for event, _ in VERBS.values()})
STEPS = [AskedStep("vendor", "asked"), AskedStep("vendor", "stubborn"), AskedStep("vendor", "hold")]
BESIDE = {
    Event.CLEAN: Request(steps=STEPS),
    Event.SERVICE: Request(steps=STEPS),
    Event.RESCUE: Request(rescue_password="x"),
}
OUTCOMES = [Done(), Wait("a bell", check_after_s=5.0), Failed("no")]
MOVE = st.tuples(st.sampled_from(VERBS_ASKED), st.sampled_from(OUTCOMES), st.sampled_from(OUTCOMES), st.booleans())


@pytest.fixture
def story(conductor: Conductor, held: HeldClock, scripted: None) -> Story:
    return Story(conductor, held)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(MOVE, min_size=1, max_size=12))
def test_no_walk_leaves_a_node_that_cannot_go_on(
    story: Story, moves: list[tuple[Event, Done | Wait | Failed, Done | Wait | Failed, bool]]
):
    node = story.node("enroll")
    for event, asked, stubborn, waits in moves:
        SCRIPT.update({"asked": asked, "stubborn": stubborn})
        if node.maintenance:
            continue
        if not accepts(node.provision_state, event):
            with pytest.raises(errors.InvalidState):
                story.go(node, event)
            continue
        node = story.go(node, event, BESIDE.get(event, Request()))
        if node.provision_state in WAITING and waits:
            node = story.later(node, 6)
        assert node.reservation is None
        assert node.provision_state not in WORKING
        assert (node.last_error is not None) is node.provision_state.endswith("failed"), node
        assert any((node.provision_state, one) in NEXT for one in VERBS_ASKED)
        rests = node.provision_state not in WAITING and not node.provision_state.endswith("hold")
        assert ("waiting_for" in node.driver_internal_info) is (node.provision_state in WAITING)
        if rests:
            assert node.driver_internal_info == {}
            assert (node.clean_step, node.deploy_step, node.service_step) == ({}, {}, {})
