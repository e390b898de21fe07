"""The verbs, and what a conductor's death leaves behind."""

from __future__ import annotations

import pytest

from ironic_lite import errors
from ironic_lite.conductor import provision, recovery, validation
from ironic_lite.conductor.context import Conductor
from ironic_lite.db import nodes
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from tests.builders import a_node
from tests.clocks import HeldClock
from tests.waiting import until

DEAD = {"redfish_address": "http://127.0.0.1:9"}


def go(conductor: Conductor, node: Node, event: Event) -> Node:
    provision.change_provision_state.run(conductor, node.uuid, event)
    until(lambda: nodes.get(conductor.database, node.uuid).reservation is None)
    return nodes.get(conductor.database, node.uuid)


def test_a_node_goes_from_enroll_to_available_and_back(conductor: Conductor):
    node = a_node(conductor.database, power_state="power off")
    node = go(conductor, node, Event.MANAGE)
    assert (node.provision_state, node.target_provision_state) == ("manageable", None)
    node = go(conductor, node, Event.PROVIDE)
    assert (node.provision_state, node.target_provision_state) == ("available", None)
    node = go(conductor, node, Event.MANAGE)
    assert node.provision_state == "manageable"
    node = go(conductor, node, Event.ADOPT)
    assert node.provision_state == "active"


def test_tearing_down_leaves_nothing_of_the_instance(conductor: Conductor):
    uuid = "6b2f0e0e-5d3a-4a52-9d3e-0d7f3f2c1a11"
    node = a_node(conductor.database, provision_state="active", instance_uuid=uuid, instance_info={"image_source": "x"})
    node = go(conductor, node, Event.DELETE)
    assert (node.provision_state, node.instance_uuid) == ("available", None)


def test_a_bmc_that_cannot_be_verified_brings_the_node_back_to_enroll(conductor: Conductor):
    node = a_node(conductor.database, driver="redfish", power_interface="redfish", driver_info=DEAD)
    node = go(conductor, node, Event.MANAGE)
    assert (node.provision_state, node.target_provision_state) == ("enroll", None)
    assert node.last_error is not None
    assert "could not be reached" in node.last_error


@pytest.mark.parametrize(
    ("state", "after"),
    [("clean wait", "clean failed"), ("wait call-back", "deploy failed"), ("inspect wait", "inspect failed")],
)
def test_abort_ends_what_waits_and_says_so(conductor: Conductor, state: str, after: str):
    node = go(conductor, a_node(conductor.database, provision_state=state), Event.ABORT)
    assert node.provision_state == after
    assert node.last_error == f'The operation in state "{state}" was aborted by request.'


def test_verbs_are_refused_with_the_reason_and_nothing_changes(conductor: Conductor):
    database = conductor.database
    for given, event, error, text in (
        ({}, Event.PROVIDE, errors.InvalidState, '"provide" can not be performed'),
        ({"provision_state": "active", "protected": True}, Event.DELETE, errors.Forbidden, "is protected"),
        ({"provision_state": "manageable", "retired": True}, Event.PROVIDE, errors.Invalid, "is retired"),
    ):
        node = a_node(database, **given)
        with pytest.raises(error, match=text):
            provision.change_provision_state.run(conductor, node.uuid, event)
        assert nodes.get(database, node.uuid) == node


def test_what_an_earlier_life_left_is_freed_with_its_reason(conductor: Conductor):
    database = conductor.database
    powering = a_node(database, power_state="power off", provision_state="active")
    nodes.take(database, powering, Hold("H1", "a"), "power on", {"target_power_state": "power on"})
    verifying = a_node(database)
    coming = {"provision_state": "verifying", "target_provision_state": "manageable"}
    nodes.take(database, verifying, Hold("h1", "b"), "manage", coming)
    foreign = a_node(database)
    nodes.take(database, foreign, Hold("h2", "c"), "power on", {"target_power_state": "power on"})

    assert recovery.free_locks(database, "h1", recovery.AT_START) == 2

    after = nodes.get(database, powering.uuid)
    assert (after.reservation, after.target_power_state, after.power_state) == (None, None, "power off")
    assert after.last_error is not None
    assert 'to "power on" was interrupted: the conductor that worked on it ended in the middle' in after.last_error
    after = nodes.get(database, verifying.uuid)
    assert (after.reservation, after.provision_state, after.target_provision_state) == (None, "verifying", "manageable")
    assert nodes.get(database, foreign.uuid).reservation == "h2"


def test_a_node_stranded_in_a_working_state_is_taken_up(conductor: Conductor, held: HeldClock):
    node = a_node(conductor.database, provision_state="verifying", target_provision_state="manageable")
    assert recovery.take_up_stranded(conductor) == 1
    held.pass_s(0)
    until(lambda: nodes.get(conductor.database, node.uuid).provision_state == "manageable")


def test_every_interface_is_validated(conductor: Conductor):
    node = a_node(
        conductor.database, driver="redfish", power_interface="redfish", management_interface="redfish", driver_info={}
    )
    found = validation.validate_interfaces.run(conductor, node.uuid)
    assert set(found) == set(validation.KINDS)
    assert found["power"].result is False
    assert "redfish_address" in (found["power"].reason or "")
    for kind in ("bios", "firmware", "inspect"):
        assert "redfish_address" in (found[kind].reason or "")
    assert found["raid"] == validation.Validation(result=None, reason="not supported")
    assert found["network"].result is True
    assert found["boot"].result is False


def test_an_interface_that_is_but_a_name_says_so_itself(conductor: Conductor):
    node = a_node(
        conductor.database, driver="redfish", power_interface="redfish", management_interface="redfish",
        bios_interface="no-bios", firmware_interface="nonsense",
    )  # fmt: skip
    found = validation.validate_interfaces.run(conductor, node.uuid)
    assert found["bios"] == validation.Validation(result=None, reason="not supported")
    assert found["firmware"].result is False
    assert "'nonsense'" in (found["firmware"].reason or "")
