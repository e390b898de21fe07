"""The picture of the nodes follows their table, and answers for a row that is no more change nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from ironic_lite import config
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.conductor import powersync
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.picture import Way
from ironic_lite.db import conductors, nodes
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import NeedsThread, Reading
from tests.builders import a_node, a_row
from tests.parts.watching import Watch


def synced(conductor: Conductor, **given: object) -> Node:
    return a_node(conductor.database, **{"provision_state": "active", "power_state": "power on", **given})


def known(watch: Watch) -> set[str]:
    return set(watch.freshness.all_known())


def test_new_changed_removed_and_moved_nodes_are_followed(conductor: Conductor, watch: Watch):
    stays, removed, moves = (synced(conductor) for _ in range(3))
    watch.follow()
    assert known(watch) == {stays.uuid, removed.uuid, moves.uuid}
    comes = synced(conductor)
    nodes.delete(conductor.database, removed.uuid, removed.revision)
    nodes.change(conductor.database, moves.uuid, moves.revision, {"conductor_group": "elsewhere"})
    nodes.change(conductor.database, stays.uuid, stays.revision, {"maintenance": True})
    watch.follow()
    assert watch.freshness.all_known() == {stays.uuid: 1, comes.uuid: 0}
    assert watch.freshness.overview().synced == 1


def test_a_node_that_was_removed_and_made_anew_is_another_one(conductor: Conductor, watch: Watch):
    node = synced(conductor)
    nodes.change(conductor.database, node.uuid, 0, {"last_error": "x"})
    watch.follow()
    nodes.delete(conductor.database, node.uuid, 1)
    nodes.insert(conductor.database, a_row(uuid=node.uuid, provision_state="active", power_state="power off"))
    watch.follow()
    view = watch.freshness.known(node.uuid)
    assert view is not None
    assert (view.revision, view.power_state) == (0, "power off")


def test_a_turn_with_nothing_new_reads_no_table(conductor: Conductor, watch: Watch):
    synced(conductor)
    watch.follow()
    statements = list[str]()
    conductor.database.on_statement(statements.append)
    watch.follow()
    assert len([one for one in statements if "FROM nodes" in one]) == 2, "the clock with the count, and what changed"


def test_what_is_known_already_is_not_read_again(conductor: Conductor, watch: Watch):
    """Or a fleet that was written to a moment ago would be read from end to end, turn after turn."""
    ours, theirs = (synced(conductor) for _ in range(2))
    watch.follow()
    nodes.change(conductor.database, ours.uuid, 0, {"health": "OK"})
    conductor.wrote(ours, {"health": "OK"})
    watch.settle()
    statements = list[str]()
    conductor.database.on_statement(statements.append)
    watch.follow()
    assert not [one for one in statements if "driver_info" in one], "no row is read, but who is in which revision"
    nodes.change(conductor.database, theirs.uuid, 0, {"health": "OK"})
    statements.clear()
    watch.follow()
    watch.follow()
    assert len([one for one in statements if "driver_info" in one]) == 1
    assert watch.freshness.all_known() == {ours.uuid: 1, theirs.uuid: 1}


def test_when_the_ring_changes_the_nodes_of_others_are_let_go(conductor: Conductor, watch: Watch):
    here = {synced(conductor).uuid for _ in range(30)}
    watch.follow()
    assert known(watch) == here
    conductors.register(conductor.database, conductors.Conductor("h2", "http://127.0.0.1:2", "", {"fake-hardware": {}}))
    conductor.members.forget()
    watch.follow()
    assert known(watch) == {uuid for uuid in here if conductor.owns(uuid, "fake-hardware", "")}
    assert known(watch) < here


def test_what_we_write_ourselves_is_seen_at_once(conductor: Conductor, watch: Watch):
    node = synced(conductor)
    watch.follow()
    written = conductor.wrote(node, {"maintenance": True})
    watch.settle()
    assert watch.freshness.all_known() == {node.uuid: written.revision}
    assert watch.freshness.overview().synced == 0


@pytest.mark.parametrize(
    "stale",
    [
        lambda conductor, node: powersync.settle(conductor, {node.uuid: (0, Reading(power=Power.OFF, health="OK"))}),
        lambda conductor, node: powersync.recover(conductor, node.uuid, 0, Reading(power=Power.OFF)),
    ],
    ids=["news", "recovery"],
)
@pytest.mark.parametrize("forces", [False, True])
def test_an_answer_of_before_somebody_changed_the_row_writes_nothing(
    conductor: Conductor,
    watch: Watch,
    stale: Callable[[Conductor, Node], None],
    forces: bool,  # noqa: FBT001
):
    config.CONF.set_override("force_power_state_during_sync", forces, "conductor")
    for change in ({}, {"maintenance": True, "fault": "power failure"}):
        node = synced(conductor, power_state="power off", **change)
        watch.follow()
        # A client's power action, from its beginning to its end, while the answer was on its way.
        hold = Hold("h1", "x")
        nodes.take(conductor.database, node, hold, "power on", {})
        nodes.release(conductor.database, node.uuid, hold, "power on", {"power_state": "power on"}, None)
        before = nodes.get(conductor.database, node.uuid)
        stale(conductor, node)
        watch.settle()
        after = nodes.get(conductor.database, node.uuid)
        assert after.power_state == "power on"
        assert after.revision <= before.revision + 2, "at most the recovery of what the BMC says now"


def test_a_bmc_that_needs_a_thread_is_asked_by_one_and_tried_on_the_loop_each_time(conductor: Conductor, watch: Watch):
    node = synced(conductor)
    watch.follow()
    tried = list[Deadline]()

    async def poll(deadline: Deadline) -> Reading:
        tried.append(deadline)
        raise NeedsThread

    view = watch.freshness.known(node.uuid)
    assert view is not None
    IO.call(
        watch.freshness._place,
        [msgspec.structs.replace(view, revision=1, way=Way(1, "somewhere", poll), node=None)],
        [],
    )
    watch.settle()
    for times in (2, 3):
        assert watch.look(node) is None
        seen = watch.freshness.seen(node.uuid)
        assert seen is not None
        assert seen.by == "threads"
        assert len(tried) == times
    assert [lane.running for lane in watch.freshness.lanes()] == [0, 0, 0, 0]


def test_the_whole_table_is_compared_now_and_then(conductor: Conductor, watch: Watch):
    node = synced(conductor)
    watch.follow()
    following = watch._following
    with conductor.database.write() as connection:  # as somebody with a wrong clock would
        connection.exec_driver_sql(
            "UPDATE nodes SET maintenance = 1, revision = 7, created_at = '2020-01-01 00:00:00.000000'"
        )
    watch.follow()
    assert watch.freshness.all_known() == {node.uuid: 0}
    following._compared_at = SystemClock().monotonic() - 601
    watch.follow()
    assert watch.freshness.all_known() == {node.uuid: 7}
