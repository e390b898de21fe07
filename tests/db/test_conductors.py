"""The statements on conductors, on every database."""

from __future__ import annotations

import datetime

import sqlalchemy as sa

from ironic_lite.db import conductors, tables
from ironic_lite.db.conductors import Conductor
from ironic_lite.db.engine import Database

ONE = Conductor("h1", "http://127.0.0.1:8089", "", {"fake-hardware": {"power": ["fake"]}})


def test_a_conductor_is_alive_until_it_goes_offline(database: Database):
    conductors.register(database, ONE)
    assert conductors.alive(database, 60) == [ONE]
    assert conductors.heartbeat(database, "h1", online=False)
    assert conductors.alive(database, 60) == []


def test_registering_again_takes_the_row_over(database: Database):
    conductors.register(database, ONE)
    moved = Conductor("h1", "http://127.0.0.1:9999", "rack1", {})
    conductors.register(database, moved)
    assert conductors.alive(database, 60) == [moved]


def test_a_conductor_without_heartbeat_is_dead(database: Database):
    conductors.register(database, ONE)
    with database.write() as connection:
        late = tables.conductors.c.updated_at
        row = connection.execute(sa.select(late)).scalar_one()
        connection.execute(sa.update(tables.conductors).values(updated_at=row - datetime.timedelta(seconds=61)))
    assert conductors.alive(database, 60) == []
    assert conductors.heartbeat(database, "h1", online=True)
    assert conductors.alive(database, 60) == [ONE]


def test_a_heartbeat_of_a_row_that_is_gone_says_so(database: Database):
    assert not conductors.heartbeat(database, "nobody", online=True)
