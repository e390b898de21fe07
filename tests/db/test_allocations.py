"""Allocations and traits, on every database: who suits, who gets a node, and what goes with what."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from ironic_lite import config, errors
from ironic_lite.clock import Deadline, SystemClock, new_uuid
from ironic_lite.cluster.members import Members
from ironic_lite.conductor.allocations import LEFT_AFTER_S, create_allocation, settled
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.db import allocations, conductors, nodes, tables, traits
from ironic_lite.db.allocations import Candidate
from ironic_lite.db.engine import Database, seconds_ago
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.allocation import MAX_TRAITS, Allocation
from ironic_lite.domain.node import Node
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from tests.builders import a_node
from tests.waiting import until

a = tables.allocations.c


@pytest.fixture(autouse=True)
def host(database: Database) -> str:
    conductors.register(database, conductors.Conductor("h1", "http://127.0.0.1:1", "", {"fake-hardware": {}}))
    return "h1"


def free(database: Database, *with_traits: str, **given: Any) -> Node:
    """A node that suits whoever wants a big one."""
    row = {"provision_state": "available", "power_state": "power off", "resource_class": "big"}
    node = a_node(database, **(row | given))
    if with_traits:
        traits.change(database, node.uuid, node.revision, added=with_traits, removed=())
    return node


def wish(database: Database, **given: Any) -> Allocation:
    """An allocation that waits."""
    wanted = Allocation(**({"uuid": new_uuid(), "resource_class": "big"} | given))
    allocations.insert(database, wanted, "h1")
    return wanted


def told(database: Database, wanted: Allocation) -> Any:
    return allocations.fetch(database, wanted.uuid, (a.state, a.last_error, tables.nodes.c.uuid.label("node")))


def suiting(database: Database, wanted: Allocation) -> list[str]:
    return [one.uuid for one in allocations.candidates(database, wanted, 100)]


def test_traits_are_read_as_they_were_written_and_count_as_a_change(database: Database) -> None:
    node = a_node(database)
    longest = [f"CUSTOM_{number:02}_".ljust(255, "X") for number in range(MAX_TRAITS)]
    traits.change(database, node.uuid, node.revision, added=longest, removed=())
    [told] = nodes.fetch(database, node.uuid, (traits.OF_NODE,))
    assert sorted(told) == longest
    after = nodes.get(database, node.uuid)
    assert after.revision == node.revision + 1
    traits.change(database, node.uuid, after.revision, added=["CUSTOM_A"], removed=longest)
    assert nodes.fetch(database, node.uuid, (traits.OF_NODE,)).traits == ["CUSTOM_A"]
    assert not nodes.fetch(database, a_node(database).uuid, (traits.OF_NODE,)).traits


def test_traits_of_a_node_that_is_held_or_changed_meanwhile_stay(database: Database) -> None:
    node = free(database, "CUSTOM_A")
    with pytest.raises(errors.ChangedMeanwhile):
        traits.change(database, node.uuid, node.revision, added=["CUSTOM_B"], removed=["CUSTOM_A"])
    now = nodes.get(database, node.uuid)
    nodes.take(database, now, Hold("h1", new_uuid()), "power on", {})
    with pytest.raises(errors.NodeLocked):
        traits.change(database, node.uuid, now.revision + 1, added=["CUSTOM_B"], removed=["CUSTOM_A"])
    assert nodes.fetch(database, node.uuid, (traits.OF_NODE,)).traits == ["CUSTOM_A"]


def test_a_node_suits_that_has_every_trait_and_whatever_else(database: Database) -> None:
    free(database)
    free(database, "CUSTOM_A")
    both = free(database, "CUSTOM_A", "CUSTOM_B", "CUSTOM_C").uuid
    assert suiting(database, wish(database, traits=["CUSTOM_A", "CUSTOM_B"])) == [both]
    assert suiting(database, wish(database, traits=["CUSTOM_A", "CUSTOM_B", "CUSTOM_D"])) == []
    assert len(suiting(database, wish(database))) == 3


UNSUITED: dict[str, dict[str, Any]] = {
    "have another resource class": {"resource_class": None},
    "belong to others": {"owner": "else"},
    "are in use already": {"instance_uuid": new_uuid()},
    "are not available": {"provision_state": "manageable"},
    "are in maintenance": {"maintenance": True},
    "have an unknown power state": {"power_state": None},
}


def test_each_node_that_does_not_suit_is_counted_under_its_first_reason(database: Database) -> None:
    mine = [free(database, "CUSTOM_A", **({"owner": "me"} | given)).uuid for given in UNSUITED.values()]
    mine.append(free(database, owner="me").uuid)
    good, locked = (free(database, "CUSTOM_A", **given) for given in ({"owner": "me"}, {"lessee": "me"}))
    free(database, "CUSTOM_A", owner="me")
    nodes.take(database, nodes.get(database, locked.uuid), Hold("h1", new_uuid()), "power on", {})
    wanted = wish(database, traits=["CUSTOM_A"], owner="me", candidate_nodes=[*mine, good.uuid, locked.uuid])
    found = allocations.candidates(database, wanted, 100)
    assert [(one.uuid, one.is_locked) for one in found] == [(good.uuid, False), (locked.uuid, True)]
    counted: dict[str | None, int] = dict.fromkeys((*UNSUITED, "are not among the candidates", "lack traits"), 1)
    assert allocations.obstacles(database, wanted) == counted | {None: 2}


def test_the_node_of_its_name_comes_first_and_the_others_in_any_order(database: Database) -> None:
    for _ in range(6):
        free(database)
    named = free(database, name="web-1").uuid
    wanted = wish(database, name="web-1")
    orders = {tuple(suiting(database, wanted)) for _ in range(12)}
    assert {order[0] for order in orders} == {named}
    assert len(orders) > 1  # 720 orders; one in 10^31 that all twelve are equal


def test_a_node_that_was_given_carries_the_uuid_and_the_traits(database: Database) -> None:
    node = free(database, "CUSTOM_A", instance_info={"kept": 1})
    wanted = wish(database, traits=["CUSTOM_A"])
    assert settled(database, wanted.uuid, is_last=False)
    assert tuple(told(database, wanted)) == ("active", None, node.uuid)
    row = nodes.fetch(
        database, node.uuid, (tables.nodes.c.instance_uuid, tables.nodes.c.instance_info, allocations.OF_NODE)
    )
    assert tuple(row) == (wanted.uuid, {"kept": 1, "traits": ["CUSTOM_A"]}, wanted.uuid)
    assert settled(database, wanted.uuid, is_last=False)  # who comes later finds nothing to do


def test_why_there_is_no_node_is_said_with_figures(database: Database) -> None:
    free(database, resource_class="small")
    free(database, maintenance=True)
    wanted = wish(database, traits=["CUSTOM_A"], owner=None)
    assert settled(database, wanted.uuid, is_last=False)
    row = told(database, wanted)
    assert (row.state, row.node) == ("error", None)
    assert row.last_error == (
        f"Allocation {wanted.uuid} gets no node (resource class big; traits CUSTOM_A): "
        "of 2 nodes 1 have another resource class, 1 lack traits."
    )


def test_a_locked_node_is_waited_for_and_told_of_in_the_end(database: Database) -> None:
    node, hold = free(database), Hold("h1", new_uuid())
    nodes.take(database, node, hold, "power on", {})
    first, second = wish(database), wish(database)
    assert not settled(database, first.uuid, is_last=False)
    assert told(database, first).state == "allocating"
    assert settled(database, second.uuid, is_last=True)
    assert "of 1 nodes 1 suit but were locked by other work" in told(database, second).last_error
    nodes.release(database, node.uuid, hold, "power on", {}, None)
    assert settled(database, first.uuid, is_last=False)
    assert told(database, first).node == node.uuid


def test_a_node_that_changed_after_it_suited_is_not_given(database: Database) -> None:
    node, wanted = free(database), wish(database)
    [found] = allocations.candidates(database, wanted, 10)
    nodes.change(database, node.uuid, node.revision, {"maintenance": True})
    with pytest.raises(errors.ChangedMeanwhile):
        allocations.take(database, wanted, found)
    nodes.change(database, node.uuid, node.revision + 1, {"maintenance": False})
    [found] = allocations.candidates(database, wanted, 10)
    allocations.delete(database, wanted.uuid, 0)
    with pytest.raises(errors.AllocationNotFound):
        allocations.take(database, wanted, found)
    assert nodes.get(database, node.uuid).instance_uuid is None
    assert settled(database, wanted.uuid, is_last=False)


def test_an_instance_of_another_node_can_not_be_given_twice(database: Database) -> None:
    node, wanted = free(database), wish(database)
    a_node(database, instance_uuid=wanted.uuid)
    assert settled(database, wanted.uuid, is_last=False)
    assert f"node with instance_uuid {wanted.uuid} already exists" in told(database, wanted).last_error
    assert nodes.get(database, node.uuid).instance_uuid is None


@pytest.mark.parametrize(
    "clear",
    [
        lambda database, node: nodes.change(database, node.uuid, node.revision, {"instance_uuid": None}),
        lambda database, node: under_lock(database, node, nodes.write),
        lambda database, node: under_lock(database, node, nodes.release),
        lambda database, node: nodes.delete(database, node.uuid, node.revision),
    ],
)
def test_whoever_clears_the_instance_ends_the_allocation(
    database: Database, clear: Callable[[Database, Node], None]
) -> None:
    node, wanted = free(database, "CUSTOM_A"), wish(database)
    assert settled(database, wanted.uuid, is_last=False)
    clear(database, nodes.get(database, node.uuid))
    with pytest.raises(errors.AllocationNotFound):
        told(database, wanted)


def under_lock(database: Database, node: Node, write: Callable[..., None]) -> None:
    hold, more = Hold("h1", new_uuid()), (None,) if write is nodes.release else ()
    nodes.take(database, node, hold, "deleted", {})
    write(database, node.uuid, hold, "deleted", {"instance_uuid": None}, *more)


def test_who_may_not_clear_the_instance_leaves_the_allocation(database: Database) -> None:
    node, wanted = free(database), wish(database)
    assert settled(database, wanted.uuid, is_last=False)
    now = nodes.get(database, node.uuid)
    with pytest.raises(errors.ChangedMeanwhile):
        nodes.change(database, node.uuid, node.revision, {"instance_uuid": None})
    with pytest.raises(errors.LockLost):
        nodes.write(database, node.uuid, Hold("h1", new_uuid()), "deleted", {"instance_uuid": None})
    assert told(database, wanted).node == node.uuid
    assert nodes.get(database, node.uuid) == now


def test_the_schema_keeps_an_allocation_and_its_nodes_instance_together(database: Database) -> None:
    """Whatever a program that knows no allocations does."""
    node, wanted = free(database), wish(database)
    assert settled(database, wanted.uuid, is_last=False)
    n = tables.nodes.c
    node_id = sa.select(n.id).where(n.uuid == node.uuid).scalar_subquery()
    for wrong in (
        sa.update(tables.nodes).where(n.uuid == node.uuid).values(instance_uuid=None),
        sa.update(tables.nodes).where(n.uuid == node.uuid).values(instance_uuid=new_uuid()),
        sa.update(tables.allocations).where(a.uuid == wanted.uuid).values(uuid=new_uuid()),
        sa.update(tables.allocations).where(a.uuid == wish(database).uuid).values(node_id=node_id),
    ):
        with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
            connection.execute(wrong)


def test_a_node_in_use_gets_an_allocation_once(database: Database) -> None:
    node = free(database, provision_state="active", instance_uuid=new_uuid())
    assert node.instance_uuid is not None
    wanted = Allocation(uuid=node.instance_uuid, resource_class="big")
    with database.read() as connection:
        [identity] = connection.scalars(sa.select(tables.nodes.c.id))
    found = Candidate(identity, node.uuid, node.revision, {}, is_locked=False)
    allocations.backfill(database, wanted, found)
    assert tuple(told(database, wanted)) == ("active", None, node.uuid)
    again = Candidate(identity, node.uuid, node.revision + 1, {}, is_locked=False)
    with pytest.raises(errors.AlreadyExists, match=r"An allocation with (uuid|node_id) .* already exists"):
        allocations.backfill(database, wanted, again)


def test_names_and_uuids_of_allocations_are_taken_once(database: Database) -> None:
    first = wish(database, name="one")
    with pytest.raises(errors.AlreadyExists, match="allocation with name one already exists"):
        wish(database, name="one")
    with pytest.raises(errors.AlreadyExists, match=f"allocation with uuid {first.uuid} already exists"):
        wish(database, uuid=first.uuid)
    second = wish(database, name="two")
    with pytest.raises(errors.AlreadyExists, match="with name one"):
        allocations.change(database, second.uuid, 0, {"name": "one"})
    allocations.change(database, second.uuid, 0, {"extra": {"k": [1]}})
    with pytest.raises(errors.ChangedMeanwhile):
        allocations.change(database, second.uuid, 0, {"extra": {}})
    with pytest.raises(errors.ChangedMeanwhile):
        allocations.delete(database, second.uuid, 0)
    allocations.delete(database, second.uuid, 1)
    with pytest.raises(errors.AllocationNotFound):
        allocations.change(database, second.uuid, 1, {"extra": {}})


def test_what_was_left_waiting_is_taken_up_by_one(database: Database) -> None:
    fresh, left = wish(database), [wish(database).uuid for _ in range(3)]
    done = wish(database, resource_class="none").uuid
    assert settled(database, done, is_last=True)
    with database.write() as connection:
        old = sa.update(tables.allocations).where(a.uuid.in_([*left, done]))
        connection.execute(old.values(created_at=seconds_ago(LEFT_AFTER_S + 1), updated_at=None))
    conductors.register(database, conductors.Conductor("h2", "http://127.0.0.1:2", "", {}))
    together = threading.Barrier(2)

    def look(host: str) -> list[str]:
        together.wait(10)
        return allocations.take_up(database, host, LEFT_AFTER_S, 10)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(look, ("h1", "h2"))
    assert sorted([*first, *second]) == sorted(left)
    assert sorted(allocations.of_host(database, "h1")) == sorted([*first, fresh.uuid])
    assert sorted(allocations.of_host(database, "h2")) == sorted(second)


WISHES, NODES, HOSTS = 24, 6, 3


@pytest.fixture
def cluster(database: Database) -> Iterator[list[Conductor]]:
    """Conductors that share nothing but the database."""
    config.load([], program="test", files=[])
    clock = SystemClock()
    made = []
    for number in range(HOSTS):
        host, own = f"h{number}", Database(database.url, pool_size=8, timeout_s=20)
        conductors.register(own, conductors.Conductor(host, f"http://127.0.0.1:{number + 1}", "", {}))
        pool = TaskPool(host, 8, [Kind(Work.ACTIONS, cap=8, queue=WISHES)], clock)
        agenda = Agenda(host, pool, clock)
        agenda.start()
        made.append(Conductor(host, own, Members(own, clock), pool, agenda, clock))
    yield made
    for one in made:
        one.agenda.stop(Deadline(clock, 10))
        assert one.pool.drain(Deadline(clock, 20)) == []
        one.database.dispose()
    config.CONF.reset()


def test_of_many_who_race_for_few_nodes_each_node_goes_to_one(database: Database, cluster: list[Conductor]) -> None:
    given = [free(database, "CUSTOM_A").uuid for _ in range(NODES)]
    wanted = [Allocation(uuid=new_uuid(), resource_class="big", traits=["CUSTOM_A"]) for _ in range(WISHES)]

    def ask(number: int) -> None:
        create_allocation.run(cluster[number % HOSTS], wanted[number])

    with ThreadPoolExecutor(WISHES) as clients:
        list(clients.map(ask, range(WISHES)))

    def rows() -> list[Any]:
        return [told(database, one) for one in wanted]

    until(lambda: all(one.state != "allocating" for one in rows()), 60)
    ended = rows()
    assert Counter(one.state for one in ended) == {"active": NODES, "error": WISHES - NODES}
    assert sorted(one.node for one in ended if one.state == "active") == sorted(given)
    assert {one.last_error for one in ended if one.state == "active"} == {None}
    instances = {nodes.get(database, uuid).instance_uuid for uuid in given}
    assert instances == {one.uuid for one, row in zip(wanted, ended, strict=True) if row.state == "active"}
