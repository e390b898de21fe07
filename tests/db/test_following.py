"""What the picture of the nodes is kept by: what changed lately, who is there, and the writing of many."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from ironic_lite.db import nodes
from ironic_lite.db.engine import Database, utc_now
from ironic_lite.db.nodes import Hold
from ironic_lite.db.tables import nodes as table
from tests.builders import a_node, a_row


def age(database: Database) -> None:
    """Let all rows be as if written an hour ago."""
    then = {"sqlite": "'2020-01-01 00:00:00.000000'"}.get(
        database.url.get_backend_name(), "TIMESTAMP '2020-01-01 00:00:00'"
    )
    with database.write() as connection:
        connection.execute(sa.text(f"UPDATE nodes SET created_at = {then}, updated_at = {then}"))


def changed(database: Database, seconds: int = 60) -> set[str]:
    return {one.uuid for one in nodes.changed_since(database, seconds)[0]}


def test_what_was_written_or_made_lately_is_found_and_nothing_else(database: Database):
    quiet, written, held = a_node(database), a_node(database), a_node(database)
    age(database)
    assert nodes.changed_since(database, 60) == ([], 3)
    nodes.change(database, written.uuid, 0, {"maintenance": True})
    nodes.take(database, held, Hold("h1", "x"), "power on", {})
    made = a_node(database)
    found, total = nodes.changed_since(database, 60)
    wanted = {written.uuid: 1, held.uuid: 1, made.uuid: 0}
    assert {one.uuid: one.revision for one in found} == wanted
    assert total == 4
    assert quiet.uuid in changed(database, 10**9)


def test_what_a_transaction_wrote_that_ended_after_the_last_turn_is_found_by_the_overlap(database: Database):
    """Its time is that of its statement: a turn between the two does not see it, and the next one must look back."""
    node = a_node(database)
    age(database)
    values = {"last_error": "x", "revision": 1, "updated_at": utc_now()}
    with database.write() as connection:
        connection.execute(sa.update(table).where(table.c.uuid == node.uuid).values(values))
        if database.url.get_backend_name() != "sqlite":  # a writer of its own keeps readers waiting for nothing there
            assert changed(database) == set(), "not yet"
        connection.execute(sa.select(sa.func.count()).select_from(table))
    assert changed(database) == {node.uuid}


def test_who_is_there_in_which_revision_and_whose(database: Database):
    first, second = a_node(database), a_node(database, conductor_group="rack1", driver="redfish")
    nodes.change(database, second.uuid, 0, {"maintenance": True})
    assert sorted(nodes.revisions(database)) == sorted(
        [(first.uuid, 0, "fake-hardware", ""), (second.uuid, 1, "redfish", "rack1")]
    )
    nodes.delete(database, first.uuid, 0)
    assert [uuid for uuid, *_ in nodes.revisions(database)] == [second.uuid]
    assert nodes.changed_since(database, 60)[1] == 1, "the count tells of the removal"


def test_some_are_those_that_exist(database: Database):
    first, second = a_node(database), a_node(database)
    a_node(database)
    gone = a_row()["uuid"]
    assert {node.uuid: node for node in nodes.some(database, [first.uuid, gone, second.uuid])} == {
        first.uuid: first,
        second.uuid: second,
    }
    assert nodes.some(database, []) == []


def test_each_change_is_made_only_to_a_row_that_is_free_and_as_it_was_read(database: Database):
    free, changed_since, held, also = (a_node(database) for _ in range(4))
    nodes.change(database, changed_since.uuid, 0, {"last_error": "x"})
    nodes.take(database, held, Hold("h1", "x"), "power on", {})
    before = [nodes.get(database, one.uuid) for one in (changed_since, held)]
    statements = list[str]()
    database.on_statement(statements.append)
    done = nodes.change_each(
        database,
        [
            (free.uuid, 0, {"power_state": "power on"}),
            (changed_since.uuid, 0, {"power_state": "power on"}),
            (held.uuid, 0, {"power_state": "power on"}),
            (a_row()["uuid"], 0, {"power_state": "power on"}),
            (also.uuid, 0, {"health": "OK", "boot_mode": "uefi"}),
        ],
    )
    assert done == {free.uuid, also.uuid}
    assert len([one for one in statements if one.startswith("UPDATE")]) == 5
    assert [nodes.get(database, one.uuid) for one in (changed_since, held)] == before
    assert nodes.get(database, free.uuid).revision == 1
    assert (nodes.get(database, free.uuid).power_state, nodes.get(database, also.uuid).health) == ("power on", "OK")


def test_changes_of_many_are_one_transaction(database: Database):
    node = a_node(database)
    with pytest.raises(KeyError):
        nodes.change_each(database, [(node.uuid, 0, {"health": "OK"}), ("~", 0, {"no such column": 1})])
    assert nodes.get(database, node.uuid) == node


def test_two_that_write_the_same_rows_never_cross(database: Database):
    """Each row is written by one of them, whatever order they were given."""
    rows = [a_node(database) for _ in range(60)]
    changes = [(node.uuid, 0, {"health": "OK"}) for node in rows]
    together = threading.Barrier(2)

    def write(given: list[tuple[str, int, dict[str, str]]]) -> set[str]:
        together.wait(10)
        return nodes.change_each(database, given)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(write, [changes, changes[::-1]])
    assert first | second == {node.uuid for node in rows}
    assert not first & second
