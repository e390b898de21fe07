"""Power: requests, refusals, the sync, and what it does with BMCs that fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from ironic_lite import config, errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.conductor import power, powersync
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.db import nodes
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import node_history
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import PowerTarget
from ironic_lite.drivers.contact import IO, Rank
from ironic_lite.drivers.redfish.account import account
from ironic_lite.drivers.redfish.bmc import BMCS
from ironic_lite.drivers.redfish.exchange import Request
from tests.builders import a_node
from tests.clocks import HeldClock
from tests.parts.scripted_bmc import scripted_bmc
from tests.parts.watching import Watch
from tests.waiting import until

DEAD = {"redfish_address": "http://127.0.0.1:9", "redfish_username": "admin", "redfish_password": "s3cret"}


def change(conductor: Conductor, node: Node, target: str) -> None:
    power.change_power.run(conductor, node.uuid, PowerTarget(target))


def settled(conductor: Conductor, node: Node) -> Node:
    until(lambda: nodes.get(conductor.database, node.uuid).reservation is None)
    return nodes.get(conductor.database, node.uuid)


def history(conductor: Conductor) -> list[tuple[str, str]]:
    with conductor.database.read() as connection:
        rows = connection.execute(sa.select(node_history.c.severity, node_history.c.event).order_by(node_history.c.id))
        return [(row.severity, row.event) for row in rows]


@pytest.mark.parametrize(
    ("target", "state"),
    [("power on", "power on"), ("power off", "power off"), ("rebooting", "power on"), ("soft power off", "power off")],
)
def test_a_power_change_ends_in_the_state_and_lets_go(conductor: Conductor, target: str, state: str):
    node = a_node(conductor.database, last_error="something old")
    change(conductor, node, target)
    after = settled(conductor, node)
    assert (after.power_state, after.target_power_state, after.last_error) == (state, None, None)
    assert history(conductor) == [("INFO", f'Power changed by "{target}": the machine is now "{state}".')]


def test_a_failure_says_so_in_last_error_and_history_and_lets_go(conductor: Conductor):
    node = a_node(
        conductor.database, driver="redfish", power_interface="redfish", power_state="power off", driver_info=DEAD
    )
    change(conductor, node, "power on")
    after = settled(conductor, node)
    assert (after.power_state, after.target_power_state) == ("power off", None)
    assert after.last_error is not None
    assert after.last_error.startswith(f'Failed to change the power of node {node.uuid} by "power on": The BMC of node')
    assert "could not be reached" in after.last_error
    assert "s3cret" not in after.last_error
    assert history(conductor) == [("ERROR", after.last_error)]


def refused(conductor: Conductor, node: Node, target: str, error: type[errors.Error], text: str) -> None:
    before = nodes.get(conductor.database, node.uuid)
    with pytest.raises(error, match=text):
        change(conductor, node, target)
    assert nodes.get(conductor.database, node.uuid) == before
    assert history(conductor) == []
    assert conductor.pool.stats().busy == 0


def test_a_refusal_leaves_no_trace(conductor: Conductor):
    database = conductor.database
    refused(
        conductor, a_node(database, provision_state="cleaning"), "power on", errors.InvalidState, 'state "cleaning"'
    )
    stays_on = a_node(database, disable_power_off=True)
    refused(conductor, stays_on, "power off", errors.Conflict, "disable_power_off is set")
    broken = a_node(database, driver="redfish", power_interface="redfish", driver_info={"redfish_password": "s3cret"})
    refused(conductor, broken, "power on", errors.InvalidDriverInfo, "redfish_address")
    held = a_node(database)
    nodes.take(database, held, Hold("h9", "x"), "cleaning", {})
    refused(conductor, held, "power on", errors.NodeLocked, r"locked by host h9 \(cleaning\)")


def test_a_full_pool_refuses_before_anything_is_written(conductor: Conductor):
    node = a_node(conductor.database)
    slots = [conductor.pool.slot(Work.ACTIONS, "busy") for _ in range(4)]
    before = nodes.get(conductor.database, node.uuid)
    with pytest.raises(errors.NoFreeWorker, match="'conductor' has 4 of 4 busy"):
        change(conductor, node, "power on")
    assert nodes.get(conductor.database, node.uuid) == before
    for slot in slots:
        slot.__exit__(None, None, None)


def test_an_equal_reading_costs_no_statement(conductor: Conductor, watch: Watch):
    node = a_node(conductor.database, power_state="power on", provision_state="active")
    watch.visit(node)
    statements: list[str] = []
    conductor.database.on_statement(statements.append)
    watch.look(node)
    assert statements == []
    assert watch.freshness.overview().outcomes == {"answered": 2}


def test_a_bmc_that_keeps_failing_puts_the_node_into_maintenance(conductor: Conductor, watch: Watch):
    node = a_node(
        conductor.database, driver="redfish", power_interface="redfish", power_state="power on",
        provision_state="active", driver_info=DEAD,
    )  # fmt: skip
    for _ in range(powersync.conf.power_state_sync_max_retries):
        assert isinstance(watch.visit(node), errors.BMCUnreachable)
        assert nodes.get(conductor.database, node.uuid) == node
    watch.visit(node)
    after = nodes.get(conductor.database, node.uuid)
    assert (after.maintenance, after.fault, after.power_state, after.reservation) == (True, "power failure", None, None)
    assert after.last_error is not None
    assert "could not be read 4 times in a row" in after.last_error
    assert watch.freshness.overview().recovering == 1


def test_a_bmc_that_we_keep_busy_ourselves_is_not_blamed(conductor: Conductor, watch: Watch):
    """A slow collection of sensors holds the BMC's one turn; power waits for it, and the node is not given up."""
    with scripted_bmc() as bmc:
        node = a_node(
            conductor.database, driver="redfish", power_interface="redfish", power_state="power on",
            provision_state="active", driver_info=bmc.driver_info(),
        )  # fmt: skip
        assert watch.visit(node) is None
        bmc.script.held = {"/redfish/v1/Chassis"}
        request, known = Request("GET", "/redfish/v1/Chassis"), account(node)
        slow = IO.submit(
            BMCS.get(known).ask(known, request, Rank.SENSORS, Deadline(SystemClock(), 60)), "a slow collection"
        )
        until(lambda: bmc.script.sent("GET /redfish/v1/Chassis"))
        answer = watch.freshness.look(node.uuid, 0.0)
        until(lambda: watch.freshness.overview().outcomes.get("put off"), 30)
        assert not answer.done()
        bmc.let_go.set()
        slow.result(30)
        answer.result(30)
        assert "failed" not in watch.freshness.overview().outcomes
        assert watch.freshness.overview().open_breakers == 0


def test_a_power_fault_is_lifted_when_the_bmc_answers_again(conductor: Conductor, watch: Watch):
    node = a_node(
        conductor.database, power_state="power off", provision_state="active", maintenance=True, fault="power failure",
        maintenance_reason="x", last_error="y",
    )  # fmt: skip
    operators = a_node(conductor.database, maintenance=True, provision_state="active")
    watch.visit(node)
    watch.look(operators)
    after = nodes.get(conductor.database, node.uuid)
    assert (after.maintenance, after.fault, after.last_error) == (False, None, None)
    assert nodes.get(conductor.database, operators.uuid) == operators


@pytest.fixture
def slow() -> Iterator[None]:
    """Changes of power take 30 seconds."""
    config.CONF.set_override("power_delay", "30", "fake")
    yield
    config.CONF.clear_override("power_delay", "fake")


def test_a_lost_lock_stops_the_work(
    conductor: Conductor, held: HeldClock, slow: None, caplog: pytest.LogCaptureFixture
):
    node = a_node(conductor.database)
    change(conductor, node, "rebooting")
    until(lambda: conductor.pool.stats().busy == 0)
    with conductor.database.write() as connection:
        connection.execute(sa.text("UPDATE nodes SET reservation = NULL, lock_id = NULL"))
    held.pass_s(31)
    until(lambda: "was lost while rebooting was under way" in caplog.text)
    assert nodes.get(conductor.database, node.uuid).power_state is None
    assert history(conductor) == []


def test_a_machine_on_its_way_has_no_thread(conductor: Conductor, held: HeldClock, slow: None):
    """Twelve at a time, with four workers."""
    machines = [a_node(conductor.database) for _ in range(12)]
    for node in machines:
        until(lambda: conductor.pool.stats().busy == 0)
        change(conductor, node, "rebooting")
    until(lambda: conductor.pool.stats().busy == 0)
    rows = [nodes.get(conductor.database, node.uuid) for node in machines]
    assert {(row.reservation, row.target_power_state) for row in rows} == {("h1", "power on")}
    for _ in range(40):  # four go on at a time, and the others a moment later
        held.pass_s(1)
    until(lambda: all(nodes.get(conductor.database, node.uuid).power_state == "power on" for node in machines))
    assert len(history(conductor)) == 12


def test_what_finds_no_worker_for_long_goes_on_when_there_is_one(conductor: Conductor, held: HeldClock, slow: None):
    node = a_node(conductor.database)
    change(conductor, node, "rebooting")
    until(lambda: conductor.pool.stats().busy == 0)
    slots = [conductor.pool.slot(Work.ACTIONS, "busy") for _ in range(4)]
    for _ in range(45):  # longer than the agenda tries
        held.pass_s(1)
    assert nodes.get(conductor.database, node.uuid).reservation == "h1"
    for slot in slots:
        slot.__exit__(None, None, None)
    for _ in range(20):
        held.pass_s(1)
    assert settled(conductor, node).power_state == "power on"


def test_a_stop_gives_what_waits_a_thread_and_in_the_end_interrupts_it(conductor: Conductor, slow: None):
    node = a_node(conductor.database)
    change(conductor, node, "rebooting")
    until(lambda: conductor.pool.stats().busy == 0)
    conductor.agenda.close()
    assert conductor.pool.stats().busy == 1
    conductor.interrupted.set()
    after = settled(conductor, node)
    assert after.last_error is not None
    assert "was interrupted because the conductor is shutting down" in after.last_error


def test_a_stop_without_a_thread_to_give_says_so(conductor: Conductor, slow: None):
    node = a_node(conductor.database)
    change(conductor, node, "rebooting")
    until(lambda: conductor.pool.stats().busy == 0)
    slots = [conductor.pool.slot(Work.ACTIONS, "busy") for _ in range(4)]
    conductor.agenda.close()
    assert "lack of free conductor workers" in (settled(conductor, node).last_error or "")
    for slot in slots:
        slot.__exit__(None, None, None)


@pytest.mark.parametrize("falls_back", [True, False])
def test_a_machine_that_does_not_shut_down(conductor: Conductor, held: HeldClock, slow: None, *, falls_back: bool):
    config.CONF.set_override("soft_power_off_fallback", falls_back, "conductor")
    node = a_node(conductor.database, power_state="power on")
    config.CONF.set_override("power_delay", "1.1", "fake")  # of which the soft way may take one second
    power.change_power.run(conductor, node.uuid, PowerTarget.SOFT_REBOOT, 1)
    until(lambda: conductor.pool.stats().busy == 0)
    threading.Event().wait(1.1)
    held.pass_s(1.2)
    held.pass_s(1.2)
    after = settled(conductor, node)
    config.CONF.clear_override("soft_power_off_fallback", "conductor")
    if falls_back:
        assert (after.power_state, after.last_error) == ("power on", None)
    else:
        assert 'did not reach "soft rebooting" within 1 s' in (after.last_error or "")
