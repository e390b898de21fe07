"""A node's life, as stories: each verb, how it fails, waits, is aborted, times out, and what a crash leaves of it."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from ironic_lite import config, errors
from ironic_lite.conductor import provision, recovery
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.flow import NOTHING, Request
from ironic_lite.db import nodes, parts
from ironic_lite.db.engine import seconds_ago
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import nodes as table
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import NEXT, TABLE, WORK_OF, Event
from ironic_lite.domain.states import WORKING, Provision
from ironic_lite.domain.steps import AskedStep, Plan, Step, StepKind
from ironic_lite.drivers import registry
from tests.clocks import HeldClock
from tests.parts.scripted_steps import GATE, LEDGER, SCRIPT, Done, Failed, Wait, scripted
from tests.parts.story import Story
from tests.waiting import until

__all__ = ["scripted"]

OPTIONS = ("clean_callback_timeout", "deploy_callback_timeout", "service_callback_timeout", "inspect_wait_timeout",
           "rescue_callback_timeout", "max_concurrent_clean", "max_concurrent_deploy",
           "automated_clean", "verify_step_priority_override",
           "allow_provisioning_in_maintenance", "clean_step_priority_override")  # fmt: skip


@pytest.fixture
def story(conductor: Conductor, held: HeldClock, scripted: None) -> Story:
    return Story(conductor, held)


@pytest.fixture(autouse=True)
def _options() -> Any:
    yield
    for name in OPTIONS:
        config.CONF.clear_override(name, "conductor")


def steps(*names: str, **args: Any) -> Request:
    return Request(steps=[AskedStep("vendor", name, args) for name in names])


def states(rows: list[Any]) -> list[str]:
    return [row.state for row in rows if row.event_type == "provisioning"]


WAITS = Wait("a bell", check_after_s=10.0)
# The state, the verb, what goes with it, the answers of the steps: the state and target afterwards, what the machine
# was asked, and a part of last_error.
STORIES: dict[str, tuple[Any, ...]] = {
    "provide": ("manageable", Event.PROVIDE, NOTHING, {}, "available", None, ["asked", "stubborn"], None),
    "provide fails": (
        "manageable", Event.PROVIDE, NOTHING, {"stubborn": Failed("it is stuck")},
        "clean failed", "available", ["asked", "stubborn"], "Step vendor.stubborn failed: it is stuck.",
    ),
    "clean": ("manageable", Event.CLEAN, steps("once", "again"), {}, "manageable", None, ["once", "again"], None),
    "clean fails": (
        "manageable", Event.CLEAN, steps("once", "again"), {"once": errors.Invalid(reason="No disk.")},
        "clean failed", "manageable", ["once"], "No disk.",
    ),
    "clean waits": ("manageable", Event.CLEAN, steps("asked", "once"), {"asked": WAITS},
                    "clean wait", "manageable", ["asked"], None),
    "clean holds": ("manageable", Event.CLEAN, steps("once", "hold", "again"), {},
                    "clean hold", "manageable", ["once"], None),
    "deploy": ("available", Event.DEPLOY, NOTHING, {}, "active", None, [], None),
    "deploy with steps": (
        "available", Event.DEPLOY,
        Request(steps=[AskedStep("vendor", "once", {}, 150), AskedStep("vendor", "again", {}, 50)]), {},
        "active", None, ["once", "again"], None,
    ),
    "deploy fails": (
        "available", Event.DEPLOY, Request(steps=[AskedStep("vendor", "once", {}, 5)]), {"once": Failed("no image")},
        "deploy failed", "active", ["once"], "no image",
    ),
    "rebuild": ("active", Event.REBUILD, NOTHING, {}, "active", None, [], None),
    "delete": ("active", Event.DELETE, NOTHING, {}, "available", None, ["asked", "stubborn"], None),
    "delete, and cleaning fails": (
        "active", Event.DELETE, NOTHING, {"asked": Failed("no")}, "clean failed", "available", ["asked"], "no",
    ),
    "service": ("active", Event.SERVICE, steps("once"), {}, "active", None, ["once"], None),
    "service fails": ("active", Event.SERVICE, steps("once"), {"once": Failed("no")},
                      "service failed", "active", ["once"], "no"),
    "service waits": ("active", Event.SERVICE, steps("stubborn"), {"stubborn": WAITS},
                      "service wait", "active", ["stubborn"], None),
    "rescue": ("active", Event.RESCUE, Request(rescue_password="x"), {}, "rescue", None, [], None),
    "unrescue": ("rescue", Event.UNRESCUE, NOTHING, {}, "active", None, [], None),
    "give up a service": ("service failed", Event.ABORT, NOTHING, {}, "active", None, [], None),
    "adopt": ("manageable", Event.ADOPT, NOTHING, {}, "active", None, [], None),
    "inspect": ("manageable", Event.INSPECT, NOTHING, {}, "manageable", None, [], None),
    "inspect after a failure": ("inspect failed", Event.INSPECT, NOTHING, {}, "manageable", None, [], None),
    "manage": ("enroll", Event.MANAGE, NOTHING, {}, "manageable", None, [], None),
    "manage after a failure": ("clean failed", Event.MANAGE, NOTHING, {}, "manageable", None, [], None),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_a_verb_leads_where_the_story_says(story: Story, name: str):
    state, event, request, script, after, target, ledger, error = STORIES[name]
    SCRIPT.update(script)
    node = story.go(story.node(state), event, request)
    assert (node.provision_state, node.target_provision_state) == (after, target)
    assert ledger == LEDGER
    if error is None:
        assert node.last_error is None
    else:
        assert error in (node.last_error or "")
        assert node.maintenance is (after in ("clean failed", "service failed"))
    walked = [Provision(state), *(Provision(one) for one in states(story.history(node)))]
    for left, entered in itertools.pairwise(walked):
        assert any(row[0] == left and row[2] == entered for row in TABLE), f"{left} to {entered}"
    assert walked[-1] == after


def test_the_row_says_which_step_has_begun_and_which_are_to_come(story: Story):
    SCRIPT["asked"] = WAITS
    node = story.go(story.node("manageable"), Event.CLEAN, steps("once", "asked", "again"))
    info = node.driver_internal_info
    assert [one["step"] for one in info["clean_steps"]] == ["once", "asked", "again"]
    assert (info["clean_step_index"], node.clean_step["step"]) == (1, "asked")
    assert info["waiting_for"] == {"why": "a bell", "check_after_s": 10.0}
    assert story.history(node)[-1].event == "Waiting for a bell."


def test_what_waits_is_asked_and_goes_on_when_it_is_done(story: Story):
    SCRIPT.update({"asked": WAITS, "check": Wait("a bell", check_after_s=10.0)})
    node = story.go(story.node("manageable"), Event.CLEAN, steps("asked", "once"))
    story.held.pass_s(5)
    assert LEDGER == ["asked"]
    story.held.pass_s(6)  # too early by the database's clock: it looks again, and asks nobody
    assert LEDGER == ["asked"]
    SCRIPT["check"] = Done()
    node = story.later(node, 11)
    assert (node.provision_state, LEDGER) == ("manageable", ["asked", "check", "once"])
    assert "waiting_for" not in node.driver_internal_info
    assert "clean_steps" not in node.driver_internal_info
    assert node.clean_step == {}


def test_who_says_that_it_is_not_done_is_asked_again(story: Story):
    SCRIPT.update({"asked": WAITS, "check": WAITS})
    node = story.go(story.node("manageable"), Event.CLEAN, steps("asked"))
    with story.conductor.database.write() as connection:
        connection.execute(sa.update(table).values(provision_updated_at=seconds_ago(60)))
    for times in (1, 2, 3):
        story.held.pass_s(10.1)
        until(functools.partial(lambda wanted: LEDGER.count("check") == wanted, times))
        until(lambda: story.conductor.pool.stats().busy == 0)
    SCRIPT["check"] = Failed("the bell broke")
    story.held.pass_s(10.1)
    until(lambda: story.now(node).provision_state == "clean failed")
    assert "the bell broke" in (story.now(node).last_error or "")


def test_a_wait_that_takes_too_long_fails_and_says_for_what(story: Story):
    config.CONF.set_override("deploy_callback_timeout", 100, "conductor")
    SCRIPT["asked"] = Wait("the agent")
    node = story.go(story.node("available"), Event.DEPLOY, Request(steps=[AskedStep("vendor", "asked", {}, 1)]))
    assert node.provision_state == "wait call-back"
    node = story.later(node, 101)
    assert (node.provision_state, node.target_provision_state) == ("deploy failed", "active")
    assert "It waited for the agent for 101 s" in (node.last_error or "")
    assert node.driver_internal_info == {}


@pytest.mark.parametrize(
    ("state", "option"),
    [
        (Provision.DEPLOY_WAIT, "deploy_callback_timeout"), (Provision.CLEAN_WAIT, "clean_callback_timeout"),
        (Provision.SERVICE_WAIT, "service_callback_timeout"), (Provision.INSPECT_WAIT, "inspect_wait_timeout"),
        (Provision.RESCUE_WAIT, "rescue_callback_timeout"),
    ],
)  # fmt: skip
def test_every_wait_has_a_time_out_of_its_own(story: Story, state: Provision, option: str):
    config.CONF.set_override(option, 100, "conductor")
    node = story.node(state, target_provision_state="active")
    waits = {"driver_internal_info": {"waiting_for": {"why": "the agent", "check_after_s": None}}}
    nodes.change(story.conductor.database, node.uuid, node.revision, waits)
    story.conductor.freshness.place([story.now(node)])
    node = story.later(node, 101)
    assert node.provision_state == NEXT[state, Event.FAIL]
    assert node.driver_internal_info == {}


@pytest.mark.parametrize("state", [one for one in Provision if (one, Event.ABORT) in NEXT])
def test_every_wait_and_hold_can_be_aborted(story: Story, state: Provision):
    node = story.go(story.node(state), Event.ABORT)
    assert node.provision_state == NEXT[state, Event.ABORT]
    assert (node.last_error is None) is (node.provision_state == "active")


def test_maintenance_stops_the_clock_of_a_wait(story: Story):
    config.CONF.set_override("clean_callback_timeout", 100, "conductor")
    SCRIPT["asked"] = Wait("the agent")
    node = story.go(story.node("manageable"), Event.CLEAN, steps("asked"))
    nodes.change(
        story.conductor.database, node.uuid, node.revision, {"maintenance": True, "maintenance_reason": "mine"}
    )
    with story.conductor.database.write() as connection:
        connection.execute(sa.update(table).values(provision_updated_at=seconds_ago(200)))
    story.held.pass_s(101)
    until(lambda: story.conductor.pool.stats().busy == 0)
    assert story.now(node).provision_state == "clean wait"


@pytest.mark.parametrize(
    ("state", "verb", "after"),
    [("manageable", Event.CLEAN, "clean failed"), ("active", Event.SERVICE, "service failed")],
)
def test_an_abort_ends_a_step_that_can_be_interrupted(story: Story, state: str, verb: Event, after: str):
    SCRIPT["asked"] = WAITS
    node = story.go(story.node(state), verb, steps("asked", "once"))
    node = story.go(node, Event.ABORT)
    assert (node.provision_state, node.maintenance) == (after, False)
    assert "was aborted by request" in (node.last_error or "")
    assert LEDGER == ["asked"]
    assert node.driver_internal_info == {}


def test_an_abort_waits_for_a_step_that_cannot(story: Story):
    SCRIPT["stubborn"] = WAITS
    node = story.go(story.node("manageable"), Event.CLEAN, steps("stubborn", "once"))
    node = story.go(node, Event.ABORT)
    assert (node.provision_state, node.clean_step["abort_after"]) == ("clean wait", True)
    node = story.later(node, 11)
    assert (node.provision_state, node.maintenance, LEDGER) == ("clean failed", False, ["stubborn", "check"])
    assert "aborted by request after step vendor.stubborn" in (node.last_error or "")


def test_who_holds_goes_on_when_asked_to(story: Story):
    node = story.go(story.node("manageable"), Event.CLEAN, steps("once", "hold", "again"))
    assert node.clean_step["step"] == "hold"
    node = story.go(node, Event.UNHOLD)
    assert (node.provision_state, LEDGER) == ("manageable", ["once", "again"])
    assert states(story.history(node)) == ["cleaning", "clean hold", "clean wait", "cleaning", "manageable"]


def test_the_conductors_own_steps(story: Story):
    asked = [
        AskedStep("power", "power_on"),
        AskedStep("power", "wait", {"seconds": 7}),
        AskedStep("power", "power_off"),
    ]
    node = story.go(story.node("active"), Event.SERVICE, Request(steps=asked))
    assert (node.provision_state, node.power_state, node.target_power_state) == ("service wait", "power on", None)
    node = story.later(node, 8)
    assert (node.provision_state, node.power_state) == ("active", "power off")


@pytest.fixture
def slow() -> Any:
    """Machines take 30 seconds for a change of power."""
    config.CONF.set_override("power_delay", "30", "fake")
    yield
    config.CONF.clear_override("power_delay", "fake")


REBOOT = Request(steps=[AskedStep("power", "reboot"), AskedStep("vendor", "once")])


@pytest.mark.usefixtures("slow")
def test_a_step_of_power_has_no_thread_while_the_machine_is_on_its_way(story: Story):
    node = story.node("active")
    provision.change_provision_state.run(story.conductor, node.uuid, Event.SERVICE, REBOOT)
    until(lambda: story.now(node).target_power_state == "power on")
    until(lambda: story.conductor.pool.stats().busy == 0)
    assert (story.now(node).provision_state, story.now(node).reservation) == ("servicing", "h1")
    story.held.pass_s(31)
    node = story.settled(node)
    assert (node.provision_state, node.power_state, LEDGER) == ("active", "power on", ["once"])


@pytest.mark.usefixtures("slow")
def test_a_stop_while_the_machine_is_on_its_way_leaves_the_node_to_the_next_life(story: Story):
    node = story.node("active")
    provision.change_provision_state.run(story.conductor, node.uuid, Event.SERVICE, REBOOT)
    until(lambda: story.now(node).target_power_state == "power on")
    until(lambda: story.conductor.pool.stats().busy == 0)
    story.conductor.agenda.close()
    story.conductor.interrupted.set()
    node = story.settled(node)
    assert (node.provision_state, node.last_error, LEDGER) == ("servicing", None, [])


@pytest.mark.parametrize(
    ("verb", "request_", "says"),
    [
        (Event.CLEAN, steps("nosuch"), "has no clean step 'vendor.nosuch'; it has: "),
        (Event.CLEAN, steps("once", colour=1), "The arguments of step vendor.once are wrong"),
        (Event.CLEAN, steps("once", what=1), "what"),
        (Event.CLEAN, steps("wait", seconds=31), "at most 30 seconds"),
        (Event.CLEAN, steps("hold", seconds=1), "The arguments of step vendor.hold are wrong"),
        (Event.CLEAN, Request(steps=[AskedStep("vendor", "inside")], disable_ramdisk=True), "needs the ramdisk"),
    ],
)
def test_a_wrong_step_is_refused_before_anything_begins(story: Story, verb: Event, request_: Request, says: str):
    node = story.node("manageable")
    with pytest.raises(errors.Invalid, match=says):
        story.go(node, verb, request_)
    assert story.now(node) == node
    assert LEDGER == []


def test_a_deploy_step_is_named_once_and_the_core_step_can_be_left_out(story: Story):
    node = story.node("available")
    twice = Request(steps=[AskedStep("vendor", "once", {}, 5), AskedStep("vendor", "once", {}, 6)])
    with pytest.raises(errors.Invalid, match=r"vendor\.once is named twice"):
        story.go(node, Event.DEPLOY, twice)
    story.go(node, Event.DEPLOY, Request(steps=[AskedStep("deploy", "deploy", {}, 0)]))
    assert "There are no deploy steps to do." in story.history(node)[-1].event


def test_every_step_of_fake_hardware_can_be_done(story: Story):
    args: dict[str, dict[str, Any]] = {
        "bios.apply_configuration": {"settings": [{"name": "MemTest", "value": "true"}]},
        "firmware.update": {"settings": [{"component": "bmc", "url": "http://somewhere/bmc.bin"}]},
        "raid.apply_configuration": {"raid_config": {"logical_disks": []}},
    }
    node = story.node("manageable", vendor_interface="fake")
    offers = registry.steps(node)
    for kind, state, verb in ((StepKind.CLEAN, "manageable", Event.CLEAN), (StepKind.SERVICE, "active", Event.SERVICE)):
        names = [key for key, one in offers.items() if kind in one.terms.priorities and key[1] != "trigger_servicewait"]
        wanted: list[Any] = [AskedStep(where, name, args.get(f"{where}.{name}", {})) for where, name in names]  # type: ignore[arg-type]
        node = story.go(story.node(state, vendor_interface="fake"), verb, Request(steps=wanted))
        assert (node.provision_state, node.last_error, len(wanted) > 3) == (state, None, True)


def test_priorities_can_be_overridden(story: Story):
    config.CONF.set_override("clean_step_priority_override", [{"vendor.stubborn": 40, "vendor.asked": 0}], "conductor")
    story.go(story.node("manageable"), Event.PROVIDE)
    assert LEDGER == ["stubborn"]


def test_cleaning_can_be_off_for_all_or_for_one(story: Story):
    assert story.go(story.node("manageable", automated_clean=False), Event.PROVIDE).provision_state == "available"
    config.CONF.set_override("automated_clean", False, "conductor")
    node = story.go(story.node("manageable"), Event.PROVIDE)
    assert (node.provision_state, LEDGER) == ("available", [])
    assert story.history(node)[-1].event == "Automated cleaning is off."
    story.go(story.node("manageable", automated_clean=True), Event.PROVIDE)
    assert LEDGER == ["asked", "stubborn"]


def test_maintenance_that_somebody_set_is_not_overwritten(story: Story):
    SCRIPT["asked"] = Failed("no")
    node = story.node("manageable", maintenance=True, maintenance_reason="mine")
    node = story.go(node, Event.PROVIDE)
    assert (node.provision_state, node.maintenance_reason, node.fault) == ("clean failed", "mine", None)


@pytest.mark.parametrize(
    ("state", "event", "given"),
    [
        ("manageable", Event.CLEAN, {}), ("active", Event.SERVICE, {}), ("active", Event.RESCUE, {}),
        ("available", Event.DEPLOY, {}), ("active", Event.REBUILD, {}), ("rescue", Event.UNRESCUE, {}),
    ],
)  # fmt: skip
def test_maintenance_forbids_what_would_end_in_surprise(story: Story, state: str, event: Event, given: Any):
    node = story.node(state, maintenance=True, **given)
    with pytest.raises(errors.NodeInMaintenance):
        story.go(node, event)
    assert story.now(node) == node


def test_protection_and_retirement(story: Story):
    for event in (Event.DELETE, Event.REBUILD):
        with pytest.raises(errors.Forbidden, match="is protected"):
            story.go(story.node("active", protected=True), event)
    with pytest.raises(errors.Invalid, match="is retired"):
        story.go(story.node("manageable", retired=True), Event.PROVIDE)
    node = story.go(story.node("active", retired=True), Event.DELETE)
    assert node.provision_state == "manageable"
    config.CONF.set_override("allow_provisioning_in_maintenance", False, "conductor")
    with pytest.raises(errors.NodeInMaintenance):
        story.go(story.node("manageable", maintenance=True), Event.PROVIDE)


def test_the_cluster_takes_so_many_at_a_time(story: Story):
    config.CONF.set_override("max_concurrent_deploy", 1, "conductor")
    config.CONF.set_override("max_concurrent_clean", 1, "conductor")
    story.node("wait call-back")
    with pytest.raises(errors.TooManyAtOnce, match=r"1 nodes are deploying already, and \[conductor\]max"):
        story.go(story.node("available"), Event.DEPLOY)
    story.node("clean wait")
    for state, event in (("active", Event.DELETE), ("manageable", Event.PROVIDE)):
        with pytest.raises(errors.TooManyAtOnce, match="in deletion or cleaning already"):
            story.go(story.node(state), event)


def test_an_instance_leaves_nothing_behind(story: Story):
    node = story.go(story.node("available"), Event.DEPLOY, Request(configdrive="aGk="))
    assert node.instance_info == {"configdrive": "aGk="}
    assert node.deploy_step == {}
    node = story.go(node, Event.RESCUE, Request(rescue_password="secret"))
    assert "rescue_password" not in node.instance_info
    node = story.go(node, Event.UNRESCUE)
    node = story.go(node, Event.DELETE)
    assert (node.instance_info, node.driver_internal_info) == ({}, {})


def test_an_inspection_keeps_what_it_found(story: Story):
    node = story.go(story.node("manageable"), Event.INSPECT)
    row = nodes.fetch(story.conductor.database, node.uuid, (table.c.id,))
    assert parts.get_inventory(story.conductor.database, row.id, node.uuid).inventory_data
    assert node.inspection_finished_at is not None


def test_who_cannot_be_inspected_is_told_so(story: Story):
    node = story.node("manageable", driver="ipmi", driver_info={"ipmi_address": "127.0.0.1"}, vendor_interface=None)
    with pytest.raises(errors.UnsupportedByDriver, match="inspect"):
        story.go(node, Event.INSPECT)
    assert story.now(node) == node


def test_a_failed_deployment_powers_the_machine_off(story: Story):
    SCRIPT["once"] = Failed("no image")
    node = story.node("available")
    nodes.change(story.conductor.database, node.uuid, node.revision, {"power_state": "power on"})
    node = story.go(node, Event.DEPLOY, Request(steps=[AskedStep("vendor", "once", {}, 5)]))
    assert (node.provision_state, node.power_state) == ("deploy failed", "power off")


# What a crash leaves: a node in a working state, at a step or before it, and a lock of nobody.


def crashed(story: Story, state: str, step: str | None) -> Node:
    plan = Plan(StepKind.CLEAN, (Step(interface="vendor", step="again"), Step(interface="vendor", step=step or "once")))
    columns = {} if step is None else msgspec.structs.replace(plan, index=1).written({})
    node = story.node(state, target_provision_state="available", **columns)
    nodes.take(story.conductor.database, node, Hold("h1", "of-an-earlier-life"), "provide", {})
    assert recovery.free_locks(story.conductor.database, "h1", recovery.AT_START) == 1
    assert story.now(node).provision_state == state
    assert recovery.take_up_stranded(story.conductor) == 1
    story.held.pass_s(0)
    until(lambda: story.now(node).provision_state not in WORKING)
    return story.settled(node)


def test_a_crash_before_the_plan_begins_anew(story: Story):
    node = crashed(story, "cleaning", None)
    assert (node.provision_state, LEDGER) == ("available", ["asked", "stubborn"])


def test_a_crash_in_a_step_that_may_be_repeated_repeats_it(story: Story):
    node = crashed(story, "cleaning", "again")
    assert (node.provision_state, LEDGER) == ("available", ["again"])


def test_a_crash_in_a_step_that_can_be_asked_asks_it(story: Story):
    node = crashed(story, "cleaning", "stubborn")
    assert (node.provision_state, LEDGER) == ("available", ["check"])


def test_a_crash_in_any_other_step_fails_with_the_reason(story: Story):
    node = crashed(story, "cleaning", "once")
    assert (node.provision_state, LEDGER) == ("clean failed", [])
    assert "ended in the middle of it, and it is not one that may be repeated" in (node.last_error or "")
    assert node.fault == "clean failure"


@pytest.mark.parametrize(
    ("state", "after"),
    [("verifying", "manageable"), ("inspecting", "manageable"), ("deleting", "available"), ("adopting", "active"),
     ("rescuing", "rescue"), ("unrescuing", "active")],
)  # fmt: skip
def test_work_without_steps_is_begun_anew(story: Story, state: str, after: str):
    assert crashed(story, state, None).provision_state == after


def test_a_stop_leaves_the_node_to_the_next_life(story: Story):
    GATE.clear()
    node = story.node("manageable")
    provision.change_provision_state.run(story.conductor, node.uuid, Event.CLEAN, steps("slow"))
    until(lambda: LEDGER == ["slow"])
    story.conductor.interrupted.set()
    node = story.settled(node)
    assert (node.provision_state, node.last_error) == ("cleaning", None)
    story.conductor.interrupted.clear()


def test_a_driver_that_changed_its_mind_fails_the_work(story: Story):
    SCRIPT["asked"] = WAITS
    node = story.go(story.node("manageable"), Event.CLEAN, steps("asked", "once"))
    nodes.change(story.conductor.database, node.uuid, node.revision, {"vendor_interface": "fake"})
    node = story.later(node, 11)
    assert (node.provision_state, LEDGER) == ("clean failed", ["asked"])
    assert "the node's interfaces do not offer it any more" in (node.last_error or "")


def test_a_bmc_that_cannot_be_asked_is_asked_again(story: Story):
    SCRIPT.update({"asked": WAITS, "check": errors.BMCUnreachable(node="n", address="a", reason="it is away")})
    node = story.go(story.node("manageable"), Event.CLEAN, steps("asked"))
    with story.conductor.database.write() as connection:
        connection.execute(sa.update(table).values(provision_updated_at=seconds_ago(60)))
    story.held.pass_s(10.1)
    until(lambda: LEDGER == ["asked", "check"])
    until(lambda: story.conductor.pool.stats().busy == 0)
    del SCRIPT["check"]
    story.held.pass_s(10.1)
    until(lambda: story.now(node).provision_state == "manageable")


def test_a_step_of_power_that_fails_leaves_no_target_behind(story: Story):
    dead = {"redfish_address": "http://127.0.0.1:9"}
    node = story.node(
        "manageable", driver="redfish", power_interface="redfish", driver_info=dead, vendor_interface=None
    )
    node = story.go(node, Event.CLEAN, Request(steps=[AskedStep("power", "power_on")]))
    assert (node.provision_state, node.target_power_state) == ("clean failed", None)


def test_a_database_that_is_away_for_a_moment_fails_nobody(story: Story):
    SCRIPT["again"] = errors.DatabaseUnavailable(reason="it is away")
    node = story.go(story.node("manageable"), Event.CLEAN, steps("again"))
    assert (node.provision_state, node.last_error) == ("cleaning", None)
    SCRIPT.clear()
    assert recovery.take_up_stranded(story.conductor) == 1
    story.held.pass_s(0)
    until(lambda: story.now(node).provision_state == "manageable")
    assert LEDGER == ["again", "again"]


def test_a_lock_that_nobody_has_any_more_is_freed_and_no_other(story: Story, slow: None):
    lost, busy = story.node("cleaning", target_provision_state="available"), story.node("active")
    nodes.take(story.conductor.database, lost, Hold("h1", "of-nobody"), "provide", {})
    provision.change_provision_state.run(story.conductor, busy.uuid, Event.SERVICE, REBOOT)
    until(lambda: story.now(busy).target_power_state == "power on")
    assert recovery.free_forgotten(story.conductor) == 1
    assert (story.now(lost).reservation, story.now(busy).reservation) == (None, "h1")
    story.conductor.interrupted.set()


def test_what_a_bmc_says_may_be_anything(story: Story):
    SCRIPT["once"] = Failed("bad\0thing" + "x" * 100_000)
    node = story.go(story.node("manageable"), Event.CLEAN, steps("once"))
    assert node.provision_state == "clean failed"
    assert "bad\N{REPLACEMENT CHARACTER}thing" in (node.last_error or "")


def test_a_crash_between_the_two_states_of_an_unhold_goes_on(story: Story):
    node = story.go(story.node("manageable"), Event.CLEAN, steps("hold", "again"))
    nodes.change(story.conductor.database, node.uuid, node.revision, {"provision_state": "clean wait"})
    story.waiting.place([story.now(node)])
    story.held.pass_s(1)
    until(lambda: story.now(node).provision_state == "manageable")
    assert LEDGER == ["again"]


def test_who_finds_no_room_on_the_agenda_is_made_up_for(story: Story):
    SCRIPT["asked"] = WAITS
    story.conductor.agenda.limit = 0
    node = story.go(story.node("manageable"), Event.CLEAN, steps("asked"))
    story.conductor.agenda.limit = 100
    story.waiting.make_up()
    assert story.later(node, 11).provision_state == "manageable"


def test_a_verification_cannot_wait(story: Story):
    config.CONF.set_override("verify_step_priority_override", [{"vendor.asked": 10}], "conductor")
    SCRIPT["asked"] = WAITS
    node = story.go(story.node("enroll"), Event.MANAGE)
    assert node.provision_state == "enroll"
    assert "a verification cannot wait" in (node.last_error or "")


def test_every_state_in_which_nodes_wait_or_hold_belongs_to_a_working_one():
    assert set(WORK_OF.values()) <= WORKING
    for state, work in WORK_OF.items():
        resumed = NEXT.get((state, Event.RESUME)) or NEXT[NEXT[state, Event.UNHOLD], Event.RESUME]
        assert resumed == work
