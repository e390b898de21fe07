"""Power that changes by itself is written once, when it is true: proven on a ledger that the database itself keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from ironic_lite import config
from ironic_lite.conductor import kinds, power
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import PowerTarget
from tests.builders import a_node
from tests.clocks import HeldClock
from tests.parts.scripted_bmc import RESET, SYSTEM, ScriptedBmc, scripted_bmc
from tests.parts.watching import Watch
from tests.waiting import until

READ = f"GET {SYSTEM}"
DEBOUNCE_S = 5
NOTE = "BEGIN INSERT INTO ledger (was, became, sets_power) VALUES (OLD.power_state, NEW.power_state, {}); END"
TRIGGERS = (
    "CREATE TABLE ledger (id INTEGER PRIMARY KEY, was TEXT, became TEXT, sets_power INTEGER)",
    f"CREATE TRIGGER any_write AFTER UPDATE ON nodes {NOTE.format(0)}",
    f"CREATE TRIGGER power_write AFTER UPDATE OF power_state ON nodes {NOTE.format(1)}",
)


class Ledger:
    """What was written to rows of nodes, however it got there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.write() as connection:
            for statement in TRIGGERS:
                connection.execute(sa.text(statement))

    def writes(self) -> int:
        """Rows of nodes that were written."""
        return len(self._rows(0))

    def power(self) -> list[tuple[str, str]]:
        """Each time that a statement set the power state: before and after."""
        return self._rows(1)

    def _rows(self, sets_power: int) -> list[tuple[str, str]]:
        query = sa.text("SELECT was, became FROM ledger WHERE sets_power = :sets_power ORDER BY id")
        with self._database.read() as connection:
            return [(row.was, row.became) for row in connection.execute(query, {"sets_power": sets_power})]


@pytest.fixture
def bmc() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as started:
        yield started


@pytest.fixture
def node(conductor: Conductor, bmc: ScriptedBmc) -> Node:
    """A machine that is on, and recorded as that."""
    config.CONF.set_override("force_power_state_during_sync", False, "conductor")
    return a_node(
        conductor.database, driver="redfish", power_interface="redfish", power_state="power on", boot_mode="bios",
        health="Warning", provision_state="active", driver_info=bmc.driver_info(),
    )  # fmt: skip


@pytest.fixture
def ledger(conductor: Conductor, node: Node) -> Ledger:
    return Ledger(conductor.database)


class Pace:
    """The steps of the power sync, and of the agenda's time."""

    def __init__(self, watch: Watch, held: HeldClock) -> None:
        self.conductor, self.visit, self._settle, self.held = watch.conductor, watch.visit, watch.settle, held

    def pass_s(self, seconds: float) -> None:
        """Let the agenda's time pass, and whatever fell due be done."""
        self.held.pass_s(seconds)
        self._settle()


@pytest.fixture
def pace(watch: Watch, held: HeldClock) -> Pace:
    return Pace(watch, held)


def recorded(conductor: Conductor, node: Node) -> str | None:
    return nodes.get(conductor.database, node.uuid).power_state


def test_off_then_on_within_the_delay_writes_nothing(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace
):
    statements = list[str]()
    conductor.database.on_statement(statements.append)
    bmc.script.power = "Off"
    pace.visit(node)
    bmc.script.power = "On"
    pace.pass_s(DEBOUNCE_S + 1)
    assert bmc.script.sent(READ) == 2, "it was looked at again"
    assert ledger.writes() == 0
    assert [one for one in statements if not one.startswith(("SELECT", "PRAGMA"))] == []


def test_off_that_stays_is_written_exactly_once_and_not_before_the_delay_is_over(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace
):
    bmc.script.power = "Off"
    pace.visit(node)
    pace.pass_s(DEBOUNCE_S - 0.1)
    for _ in range(3):  # other visits meanwhile see it too, and put nothing off
        pace.visit(node)
    assert ledger.writes() == 0
    pace.pass_s(0.1)
    assert (ledger.writes(), ledger.power()) == (1, [("power on", "power off")])
    pace.visit(node)
    pace.pass_s(10 * DEBOUNCE_S)
    assert ledger.writes() == 1
    assert bmc.script.sent(READ) == 4 + 1 + 1


@pytest.mark.parametrize("moment", ["before the reading", "after the reading"])
def test_on_that_arrives_as_the_second_look_starts_ends_in_the_true_state(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace, moment: str
):
    bmc.script.power = "Off"
    pace.visit(node)
    arrived = threading.Event()

    def arrives() -> None:
        bmc.script.power = "On"
        arrived.set()

    if moment == "before the reading":
        conductor.database.on_statement(lambda statement: arrives() if "nodes.uuid IN" in statement else None)
    else:
        bmc.script.meanwhile[READ] = arrives
    pace.pass_s(DEBOUNCE_S)
    assert arrived.is_set()
    between = [("power on", "power off")] if moment == "after the reading" else []
    assert ledger.power() == between
    pace.visit(node)  # the next one of the power sync
    pace.pass_s(DEBOUNCE_S)
    assert recorded(conductor, node) == "power on"
    assert ledger.power() == between + [("power off", "power on")] * len(between)
    assert ledger.writes() == len(ledger.power())


@pytest.mark.parametrize("forces", [False, True])
def test_a_hard_reboot_through_our_api_writes_each_state_once(
    node: Node,
    bmc: ScriptedBmc,
    ledger: Ledger,
    pace: Pace,
    forces: bool,  # noqa: FBT001
):
    conductor = pace.conductor
    config.CONF.set_override("force_power_state_during_sync", forces, "conductor")
    pace.visit(node)
    commanded = threading.Event()

    def takes_its_time() -> None:
        bmc.script.power = "Off"
        if bmc.script.sent(f"POST {RESET}") == 2:  # off, and on again
            commanded.set()

    bmc.script.meanwhile[f"POST {RESET}"] = takes_its_time
    power.change_power.run(conductor, node.uuid, PowerTarget.REBOOT)
    assert commanded.wait(10)
    # Somebody wants to know meanwhile, and a hint comes: the machine is off, and nothing follows from it.
    reading = conductor.freshness.look(node.uuid, 0.0).result(10).reading
    assert reading is not None
    assert reading.power == "power off"
    conductor.freshness.hint(node.uuid)
    pace.held.pass_s(DEBOUNCE_S)
    bmc.script.power = "On"
    pace.held.pass_s(10)  # by when the driver looks again
    until(lambda: nodes.get(conductor.database, node.uuid).reservation is None)
    pace.pass_s(DEBOUNCE_S)
    pace.visit(node)
    pace.pass_s(DEBOUNCE_S)
    assert ledger.power() == [("power on", "power on")]
    assert ledger.writes() == 2, "the lock, and the result"
    assert bmc.script.sent(f"POST {RESET}") == 2


def test_a_machine_is_brought_back_only_if_it_stays_off(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace
):
    config.CONF.set_override("force_power_state_during_sync", True, "conductor")
    bmc.script.power = "Off"
    pace.visit(node)
    bmc.script.power = "On"
    pace.pass_s(DEBOUNCE_S)
    assert (bmc.script.sent(f"POST {RESET}"), ledger.writes()) == (0, 0)

    bmc.script.power = "Off"
    pace.visit(node)
    assert bmc.script.sent(f"POST {RESET}") == 0
    pace.pass_s(DEBOUNCE_S)
    until(lambda: nodes.get(conductor.database, node.uuid).reservation is None)
    assert bmc.script.sent(f"POST {RESET}") == 1
    assert (bmc.script.power, recorded(conductor, node)) == ("On", "power on")
    assert ledger.power() == [("power on", "power on")]


def test_a_delay_of_zero_writes_at_once(conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace):
    config.CONF.set_override("power_state_sync_debounce", 0, "conductor")
    bmc.script.power = "Off"
    pace.visit(node)
    assert (ledger.writes(), ledger.power()) == (1, [("power on", "power off")])


def test_what_is_not_power_is_written_at_once(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace
):
    with conductor.database.write() as connection:
        connection.execute(sa.text("UPDATE nodes SET health = 'OK'"))
    pace.visit(node)
    assert nodes.get(conductor.database, node.uuid).health == "Warning"
    assert ledger.power() == []
    assert bmc.script.sent(READ) == 1


@pytest.mark.parametrize("what", ["held", "in maintenance", "deleted", "another's"])
def test_the_second_look_leaves_alone_what_somebody_took_up_meanwhile(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, pace: Pace, what: str
):
    bmc.script.power = "Off"
    pace.visit(node)
    database = conductor.database
    if what == "held":
        nodes.take(database, nodes.get(database, node.uuid), Hold("h1", "x"), "cleaning", {})
    elif what == "deleted":
        nodes.delete(database, node.uuid, nodes.get(database, node.uuid).revision)
    else:
        change = {"maintenance": True} if what == "in maintenance" else {"conductor_group": "elsewhere"}
        nodes.change(database, node.uuid, nodes.get(database, node.uuid).revision, change)
    ledger = Ledger(database)
    pace.pass_s(DEBOUNCE_S)
    assert ledger.writes() == 0
    assert bmc.script.sent(READ) == 1


def test_a_difference_that_nobody_can_look_at_later_is_said_and_left_to_the_next_visit(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace, caplog: pytest.LogCaptureFixture
):
    bmc.script.power = "Off"
    conductor.agenda.close()
    pace.visit(node)
    assert ledger.writes() == 0
    assert "changed its power by itself, and the next visit sees to it: The agenda is shutting down" in caplog.text


def test_a_rack_that_loses_its_power_at_once_is_all_written(
    conductor: Conductor, node: Node, bmc: ScriptedBmc, ledger: Ledger, pace: Pace
):
    rack = [node] + [
        a_node(
            conductor.database, driver="redfish", power_interface="redfish", power_state="power on", boot_mode="bios",
            health="Warning", provision_state="active", driver_info=bmc.driver_info(),
        )
        for _ in range(19)
    ]  # fmt: skip
    conductor.pool.set_caps([one for one in kinds.kinds() if one.name == Work.POWER_SYNC])
    bmc.script.power = "Off"
    for one in rack:
        pace.visit(one)
    pace.pass_s(DEBOUNCE_S)
    assert ledger.power() == [("power on", "power off")] * 20
