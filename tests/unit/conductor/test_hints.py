"""Hints change when a machine is looked at, and nothing else: how often is bounded, and what is written the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ironic_lite import config
from ironic_lite.conductor import picture
from ironic_lite.conductor.context import Conductor
from ironic_lite.db import nodes
from ironic_lite.domain.node import Node
from tests.builders import a_node
from tests.clocks import HeldClock
from tests.parts.scripted_bmc import SYSTEM, ScriptedBmc, scripted_bmc
from tests.parts.watching import Watch
from tests.waiting import until

READ = f"GET {SYSTEM}"
DEBOUNCE_S = 5


@pytest.fixture
def bmc() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as started:
        yield started


@pytest.fixture
def node(conductor: Conductor, bmc: ScriptedBmc, watch: Watch) -> Node:
    """A machine that is on, is recorded as that, and was looked at once; no turn of it comes by itself."""
    config.CONF.set_override("force_power_state_during_sync", False, "conductor")
    made = a_redfish_node(conductor, bmc)
    watch.follow()
    until(lambda: reads(bmc) == 1)
    watch.settle()
    return made


def a_redfish_node(conductor: Conductor, bmc: ScriptedBmc) -> Node:
    return a_node(
        conductor.database, driver="redfish", power_interface="redfish", power_state="power on", boot_mode="bios",
        health="Warning", provision_state="active", driver_info=bmc.driver_info(),
    )  # fmt: skip


def begun(conductor: Conductor) -> int:
    """Turns that have begun."""
    return sum(lane.begun for lane in conductor.freshness.lanes())


def reads(bmc: ScriptedBmc) -> int:
    return bmc.script.sent(READ)


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints are served as fast as the BMC answers."""
    monkeypatch.setattr(picture, "HINTS_REST_S", 0.0)


def test_a_hint_has_the_machine_looked_at_at_once(conductor: Conductor, node: Node, bmc: ScriptedBmc, watch: Watch):
    assert conductor.freshness.hint(node.uuid) == 0
    until(lambda: reads(bmc) == 2)
    watch.settle()
    assert reads(bmc) == 2
    assert 0 < conductor.freshness.hint(node.uuid) <= picture.HINTS_REST_S


def test_hints_while_the_bmc_is_being_asked_are_one_more_question(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, watch: Watch, no_rest: None
):
    asked = threading.Event()
    bmc.script.held.add(SYSTEM)
    conductor.freshness.hint(node.uuid)
    until(lambda: reads(bmc) == 2)  # taken, and held
    for _ in range(1000):
        conductor.freshness.hint(node.uuid)
    bmc.script.meanwhile[READ] = asked.set
    bmc.let_go.set()
    until(lambda: reads(bmc) == 3)
    assert asked.is_set()
    watch.settle()
    assert (reads(bmc), bmc.script.most_under_way) == (3, 1)


def test_a_storm_is_answered_by_one_question_in_a_while(conductor: Conductor, node: Node):
    """By the numbers: a question at 10, events all the time."""
    rest_s, known = picture.HINTS_REST_S, conductor.freshness.known(node.uuid)
    assert known is not None
    seen = picture.Seen(known, picture.Bmc())
    assert seen.hinted(10.0) == 10.0
    assert seen.hinted(10.1) == 10.0, "the same question answers both"
    seen.begins(10.1)
    assert {seen.hinted(now) for now in (10.2, 10.3, 14.9)} == {10.1 + rest_s}
    assert seen.hints_rest_s(12.1) == pytest.approx(rest_s - 2)
    seen.begins(12.0)  # a usual turn, which the rest of the storm comes after
    assert seen.hint_at == 10.1 + rest_s
    seen.begins(10.1 + rest_s)
    assert seen.hinted(100.0) == 100.0


def test_a_storm_of_two_nodes_of_one_bmc_is_bounded_too(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, watch: Watch, no_rest: None
):
    other = a_redfish_node(conductor, bmc)
    watch.follow()
    until(lambda: reads(bmc) == 2)
    watch.settle()
    bmc.script.held.add(SYSTEM)
    conductor.freshness.hint(node.uuid)
    until(lambda: reads(bmc) == 3)
    for _ in range(3):  # a turn each time, which finds the BMC taken
        turns = begun(conductor)
        conductor.freshness.hint(other.uuid)
        until(lambda turns=turns: begun(conductor) > turns)  # type: ignore[misc]
    bmc.let_go.set()
    until(lambda: reads(bmc) == 4)
    watch.settle()
    assert reads(bmc) == 4


@pytest.mark.usefixtures("no_rest")
@pytest.mark.parametrize("presses", [["Off"], ["Off", "On"]])
@pytest.mark.parametrize("hints", [0, 3])
def test_however_many_hints_come_the_same_is_written(
    node: Node, bmc: ScriptedBmc, watch: Watch, held: HeldClock, presses: list[str], hints: int
):
    """Lost hints, one for each press of the button, or three: within the debounce only the last press counts."""
    conductor = watch.conductor
    before = nodes.get(conductor.database, node.uuid).revision
    for power in presses:
        bmc.script.power = power
        for _ in range(hints):
            conductor.freshness.hint(node.uuid)
            watch.settle()
    watch.visit(node)  # its next turn
    for _ in range(2):
        held.pass_s(DEBOUNCE_S)
        watch.settle()
    after = nodes.get(conductor.database, node.uuid)
    expected = "power off" if presses[-1] == "Off" else "power on"
    assert (after.power_state, after.revision - before) == (expected, len(presses) % 2)


def test_hints_for_what_is_left_alone_or_unknown_ask_nobody(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, watch: Watch
):
    nodes.change(conductor.database, node.uuid, node.revision, {"maintenance": True})
    watch.follow()
    for uuid in (node.uuid, "nobody"):
        assert conductor.freshness.hint(uuid) == 0
    watch.settle()
    assert reads(bmc) == 1
