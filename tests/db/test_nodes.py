"""The statements on nodes, on every database."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.clock import new_uuid
from ironic_lite.conductor.picture import Mode, mode
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database, seconds_ago
from ironic_lite.db.history import Event
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import node_history
from ironic_lite.db.tables import nodes as table
from tests.builders import a_node, a_row


def hold(host: str = "h1") -> Hold:
    return Hold(host, new_uuid())


def test_a_node_is_found_by_uuid_and_by_name(database: Database):
    node = a_node(database, name="n1", driver_info={"redfish_address": "https://x", "deep": {"list": [1, None, True]}})
    assert nodes.get(database, "n1") == nodes.get(database, node.uuid) == node
    assert node.driver_info["deep"] == {"list": [1, None, True]}
    with pytest.raises(errors.NodeNotFound, match="Node nowhere could not be found"):
        nodes.get(database, "nowhere")


@pytest.mark.parametrize("field", ["uuid", "name", "instance_uuid"])
def test_a_unique_value_is_taken_once_and_the_error_names_it(database: Database, field: str):
    value = new_uuid()
    a_node(database, **{field: value})
    with pytest.raises(errors.AlreadyExists, match=f"node with {field} {value} already exists"):
        nodes.insert(database, a_row(**{field: value}))


def test_a_change_needs_the_revision_that_was_seen(database: Database):
    node = a_node(database)
    nodes.change(database, node.uuid, node.revision, {"maintenance": True})
    assert nodes.get(database, node.uuid).maintenance
    with pytest.raises(errors.Conflict, match="changed by somebody else"):
        nodes.change(database, node.uuid, node.revision, {"maintenance": False})
    assert nodes.get(database, node.uuid).maintenance


def test_a_held_node_is_neither_changed_nor_deleted_nor_taken(database: Database):
    node = a_node(database)
    nodes.take(database, node, hold("h1"), "power on", {"target_power_state": "power on"})
    held = nodes.get(database, node.uuid)
    assert (held.reservation, held.lock_purpose, held.target_power_state) == ("h1", "power on", "power on")
    for refused in (
        lambda: nodes.change(database, node.uuid, held.revision, {"maintenance": True}),
        lambda: nodes.delete(database, node.uuid, held.revision),
        lambda: nodes.take(database, held, hold("h2"), "other", {}),
    ):
        with pytest.raises(errors.NodeLocked, match=r"locked by host h1 \(power on\)"):
            refused()
    assert nodes.get(database, node.uuid) == held


def test_who_lost_the_lock_writes_nothing(database: Database):
    node, first, second = a_node(database), hold("h1"), hold("h1")
    nodes.take(database, node, first, "one", {})
    nodes.release(database, node.uuid, first, "one", {}, None)
    nodes.take(database, nodes.get(database, node.uuid), second, "two", {})
    before = nodes.get(database, node.uuid)
    with pytest.raises(errors.LockLost):
        nodes.write(database, node.uuid, first, "one", {"power_state": "error"})
    with pytest.raises(errors.LockLost):
        nodes.release(database, node.uuid, first, "one", {"power_state": "error"}, Event("power", "INFO", "never"))
    assert nodes.get(database, node.uuid) == before
    assert not nodes.is_held(database, node.uuid, first)
    assert nodes.is_held(database, node.uuid, second)
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(node_history)).scalar() == 0


def test_result_release_and_history_are_one_transaction(database: Database):
    node, mine = a_node(database), hold()
    nodes.take(database, node, mine, "power on", {"target_power_state": "power on"})
    result = {"power_state": "power on", "target_power_state": None}
    nodes.release(database, node.uuid, mine, "power on", result, Event("power", "INFO", "On."))
    after = nodes.get(database, node.uuid)
    assert (after.power_state, after.target_power_state, after.reservation, after.lock_id) == (
        "power on", None, None, None,
    )  # fmt: skip
    with database.read() as connection:
        row = connection.execute(sa.select(node_history)).one()
    assert (row.event_type, row.severity, row.event, row.conductor) == ("power", "INFO", "On.", "h1")


def test_of_many_takers_one_wins(database: Database):
    node = a_node(database)
    together = threading.Barrier(12)
    outcome: Counter[str] = Counter()

    def take(number: int) -> str:
        together.wait(10)
        try:
            nodes.take(database, node, hold(f"h{number}"), "race", {}, Event("race", "INFO", f"h{number}"))
        except errors.NodeLocked:
            return "locked"
        return "won"

    with ThreadPoolExecutor(12) as pool:
        outcome.update(pool.map(take, range(12)))
    assert outcome == {"won": 1, "locked": 11}
    with database.read() as connection:
        assert connection.scalar(sa.select(node_history.c.event)) == nodes.get(database, node.uuid).reservation
        assert connection.scalar(sa.select(sa.func.count()).select_from(node_history)) == 1


def test_the_provision_state_carries_its_time(database: Database):
    node, mine = a_node(database), hold()
    assert node.provision_updated_at is None
    nodes.take(database, node, mine, "manage", {"provision_state": "verifying"})
    first = nodes.get(database, node.uuid).provision_updated_at
    nodes.write(database, node.uuid, mine, "manage", {"power_state": "power on"})
    assert first is not None
    assert nodes.get(database, node.uuid).provision_updated_at == first


def test_deleting_a_node_takes_what_belongs_to_it(database: Database):
    node, mine = a_node(database), hold()
    nodes.take(database, node, mine, "x", {})
    nodes.release(database, node.uuid, mine, "x", {}, Event("power", "INFO", "x"))
    nodes.delete(database, node.uuid, nodes.get(database, node.uuid).revision)
    with pytest.raises(errors.NodeNotFound):
        nodes.get(database, node.uuid)


def test_who_is_visited_by_the_power_sync(database: Database):
    visited = {a_node(database, provision_state=state).uuid for state in ("manageable", "active", "available")}
    held = a_node(database, provision_state="active")
    others = [
        held,
        a_node(database, provision_state="enroll"),
        a_node(database, provision_state="active", maintenance=True),
        a_node(database, provision_state="active", target_power_state="power on"),
    ]
    nodes.take(database, held, hold(), "x", {})
    rows = nodes.some(database, [*visited, *(node.uuid for node in others)])
    assert len(rows) == 7
    assert {row.uuid for row in rows if mode(row) == Mode.SYNC} == visited


def test_locks_are_found_by_host_in_any_case(database: Database):
    node = a_node(database)
    nodes.take(database, node, hold("Host-A"), "x", {})
    assert [one.uuid for one in nodes.locked_by(database, "host-a")] == [node.uuid]
    assert nodes.locked_by(database, "host-b") == []


def test_the_history_tells_the_states_and_how_long_the_one_before_took(database: Database):
    node = a_node(database)
    hold = Hold("h1", "one")
    started = Event("provisioning", "INFO", "verifying begins")
    nodes.take(
        database,
        node,
        hold,
        "manage",
        {"provision_state": "verifying", "target_provision_state": "manageable"},
        started,
    )
    with database.write() as connection:
        connection.execute(sa.update(table).values(provision_updated_at=seconds_ago(90)))
    nodes.write(database, node.uuid, hold, "manage", {}, Event("verify", "INFO", "a step"))
    done = {"provision_state": "manageable", "target_provision_state": None}
    nodes.release(database, node.uuid, hold, "manage", done, Event("provisioning", "INFO", "verified"))
    with database.read() as connection:
        rows = connection.execute(sa.select(node_history).order_by(node_history.c.id)).all()
    told = [(row.event, row.state, row.target_provision_state) for row in rows]
    assert told == [
        ("verifying begins", "verifying", "manageable"),
        ("a step", "verifying", "manageable"),
        ("verified", "manageable", None),
    ]
    assert (rows[0].duration_seconds, rows[1].duration_seconds) == (None, None)  # it was in no state before
    assert 90 <= rows[2].duration_seconds < 1000


def test_a_lock_that_is_not_taken_tells_the_history_nothing(database: Database):
    seen = a_node(database)
    nodes.change(database, seen.uuid, seen.revision, {"description": "x"})
    with pytest.raises(errors.ChangedMeanwhile):
        nodes.take(database, seen, Hold("h1", "one"), "manage", {}, Event("provisioning", "INFO", "no"))
    with pytest.raises(errors.LockLost):
        nodes.write(database, seen.uuid, Hold("h1", "one"), "manage", {}, Event("provisioning", "INFO", "no"))
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(node_history)) == 0


def test_instances_are_cleared_by_many_at_once(database: Database):
    """The end of an allocation and the change of its node refer to the same row: no database may fail for it."""
    node = a_node(database, instance_uuid=new_uuid())
    outcome: Counter[str] = Counter()

    def clear(_: int) -> str:
        seen = nodes.get(database, node.uuid)
        try:
            nodes.change(database, seen.uuid, seen.revision, {"instance_uuid": None})
        except errors.ChangedMeanwhile:
            return "late"
        return "cleared"

    with ThreadPoolExecutor(6) as pool:
        outcome.update(pool.map(clear, range(120)))
    assert outcome["cleared"] > 0
    assert outcome.total() == 120
