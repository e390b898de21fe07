"""How a conductor finds nodes for allocations: in the background, again and again for a while, and after its death."""

from __future__ import annotations

from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.clock import new_uuid
from ironic_lite.conductor import allocations, provision
from ironic_lite.conductor.allocations import LEFT_AFTER_S, RETRIES_S, create_allocation
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.db import allocations as db
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database, seconds_ago
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import allocations as table
from ironic_lite.db.tables import nodes as nodes_table
from ironic_lite.domain.allocation import Allocation
from ironic_lite.domain.node import Node
from ironic_lite.domain.provision import Event
from tests.builders import a_node
from tests.clocks import HeldClock
from tests.waiting import until


def free(database: Database) -> Node:
    return a_node(database, provision_state="available", power_state="power off", resource_class="big")


def wish() -> Allocation:
    return Allocation(uuid=new_uuid(), resource_class="big")


def told(database: Database, wanted: Allocation) -> Any:
    columns = (table.c.state, table.c.last_error, nodes_table.c.uuid.label("node"))
    return db.fetch(database, wanted.uuid, columns)


def settled(database: Database, wanted: Allocation) -> Any:
    until(lambda: told(database, wanted).state != "allocating")
    return told(database, wanted)


def test_a_node_is_found_in_the_background(conductor: Conductor) -> None:
    node, wanted = free(conductor.database), wish()
    create_allocation.run(conductor, wanted)
    assert tuple(settled(conductor.database, wanted)) == ("active", None, node.uuid)


def test_no_worker_no_allocation(conductor: Conductor) -> None:
    slots = [conductor.pool.slot(Work.ACTIONS, "other work") for _ in range(4)]
    wanted = wish()
    with pytest.raises(errors.NoFreeWorker):
        create_allocation.run(conductor, wanted)
    for slot in slots:
        slot.__exit__(None, None, None)
    with pytest.raises(errors.AllocationNotFound):
        told(conductor.database, wanted)
    db.insert(conductor.database, wanted, "h1")
    with pytest.raises(errors.AlreadyExists):
        create_allocation.run(conductor, wanted)
    assert conductor.pool.stats().busy == 0


def test_a_locked_node_is_tried_again_without_a_thread_until_it_is_free(conductor: Conductor, held: HeldClock) -> None:
    node, hold, wanted = free(conductor.database), Hold("h2", new_uuid()), wish()
    nodes.take(conductor.database, node, hold, "power on", {})
    create_allocation.run(conductor, wanted)
    for pause_s in RETRIES_S[:3]:
        until(lambda: conductor.pool.stats().busy == 0)
        assert told(conductor.database, wanted).state == "allocating"
        held.pass_s(pause_s)
    until(lambda: conductor.pool.stats().busy == 0)
    nodes.release(conductor.database, node.uuid, hold, "power on", {}, None)
    held.pass_s(RETRIES_S[3])
    assert tuple(settled(conductor.database, wanted)) == ("active", None, node.uuid)


def test_a_node_that_stays_locked_is_given_up_in_the_end(conductor: Conductor, held: HeldClock) -> None:
    node, wanted = free(conductor.database), wish()
    nodes.take(conductor.database, node, Hold("h2", new_uuid()), "power on", {})
    create_allocation.run(conductor, wanted)
    for pause_s in RETRIES_S:
        until(lambda: conductor.pool.stats().busy == 0)
        assert told(conductor.database, wanted).state == "allocating"
        held.pass_s(pause_s)
    ended = settled(conductor.database, wanted)
    assert (ended.state, "1 suit but were locked by other work" in ended.last_error) == ("error", True)


def test_an_allocation_that_is_deleted_while_it_waits_is_let_go(conductor: Conductor, held: HeldClock) -> None:
    node, hold, wanted = free(conductor.database), Hold("h2", new_uuid()), wish()
    nodes.take(conductor.database, node, hold, "power on", {})
    create_allocation.run(conductor, wanted)
    until(lambda: conductor.pool.stats().busy == 0)
    db.delete(conductor.database, wanted.uuid, 0)
    nodes.release(conductor.database, node.uuid, hold, "power on", {}, None)
    executed = conductor.pool.stats().executed
    held.pass_s(RETRIES_S[0])
    until(lambda: conductor.pool.stats().executed == executed + 1)
    held.pass_s(3600)
    assert conductor.pool.stats().executed == executed + 1
    assert nodes.get(conductor.database, node.uuid).instance_uuid is None


def test_what_an_earlier_life_left_is_taken_up(conductor: Conductor) -> None:
    node, wanted = free(conductor.database), wish()
    db.insert(conductor.database, wanted, "h1")
    allocations.resume(conductor)
    assert tuple(settled(conductor.database, wanted)) == ("active", None, node.uuid)


def test_what_nobody_works_on_is_taken_up_after_a_while(conductor: Conductor) -> None:
    node, wanted, look = free(conductor.database), wish(), allocations.left_behind(conductor)
    db.insert(conductor.database, wanted, "gone")  # there is no such conductor any more
    look.work()
    assert conductor.pool.stats().executed == 0
    with conductor.database.write() as connection:
        connection.execute(table.update().values(created_at=seconds_ago(LEFT_AFTER_S + 1)))
    look.work()
    assert tuple(settled(conductor.database, wanted)) == ("active", None, node.uuid)


def test_undeploying_its_node_ends_an_allocation(conductor: Conductor) -> None:
    node, wanted = free(conductor.database), wish()
    create_allocation.run(conductor, wanted)
    settled(conductor.database, wanted)
    now = nodes.get(conductor.database, node.uuid)
    nodes.change(conductor.database, node.uuid, now.revision, {"provision_state": "active"})
    provision.change_provision_state.run(conductor, node.uuid, Event.DELETE)
    until(lambda: nodes.get(conductor.database, node.uuid).provision_state == "available")
    assert nodes.get(conductor.database, node.uuid).instance_uuid is None
    with pytest.raises(errors.AllocationNotFound):
        told(conductor.database, wanted)


def test_a_stopping_conductor_leaves_it_to_the_next_life(conductor: Conductor) -> None:
    node, wanted = free(conductor.database), wish()
    nodes.take(conductor.database, node, Hold("h2", new_uuid()), "power on", {})
    db.insert(conductor.database, wanted, "h1")
    conductor.agenda.close()
    allocations.attempt(conductor, wanted.uuid)
    assert told(conductor.database, wanted).state == "allocating"
    assert db.of_host(conductor.database, "h1") == [wanted.uuid]
