"""Power: requests, refusals, the sync, and what it does with BMCs that fail."""

from __future__ import annotations

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


def test_a_lost_lock_stops_the_work_before_the_hardware(conductor: Conductor, caplog: pytest.LogCaptureFixture):
    node = a_node(conductor.database)
    config.CONF.set_override("power_delay", "0.5", "fake")
    try:
        change(conductor, node, "power on")
        with conductor.database.write() as connection:
            connection.execute(sa.text("UPDATE nodes SET reservation = NULL, lock_id = NULL"))
        until(lambda: conductor.pool.stats().busy == 0)
    finally:
        config.CONF.clear_override("power_delay", "fake")
    assert "was lost while power on was under way" in caplog.text
    assert nodes.get(conductor.database, node.uuid).power_state is None
    assert history(conductor) == []


def test_stopping_interrupts_what_waits(conductor: Conductor):
    node = a_node(conductor.database)
    config.CONF.set_override("power_delay", "30", "fake")
    try:
        change(conductor, node, "rebooting")
        conductor.interrupted.set()
        after = settled(conductor, node)
    finally:
        config.CONF.clear_override("power_delay", "fake")
    assert after.last_error is not None
    assert "was interrupted because the conductor is shutting down" in after.last_error
