"""The statements on conductors. Who is alive is judged by the database's own clock."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ironic_lite.db.engine import Database, seconds_ago, utc_now
from ironic_lite.db.tables import conductors

c: Final = conductors.c

# hardware type -> kind of interface -> its enabled names, the default first
Drivers = dict[str, dict[str, list[str]]]


class Conductor(msgspec.Struct, frozen=True):
    """A conductor that serves: where, which group, which drivers."""

    hostname: str
    rpc_url: str
    conductor_group: str
    drivers: Drivers


def register(database: Database, conductor: Conductor) -> None:
    """Write our row and go online. A row that an earlier life of this host left is taken over."""
    values = msgspec.structs.asdict(conductor) | {"online": True, "updated_at": utc_now()}
    with database.write() as connection:
        done = connection.execute(sa.update(conductors).where(c.hostname == conductor.hostname).values(values))
        if done.rowcount == 0:
            connection.execute(sa.insert(conductors).values(created_at=utc_now(), **values))


def heartbeat(database: Database, hostname: str, *, online: bool) -> bool:
    """Say that we live. False if our row is gone."""
    with database.write() as connection:
        done = connection.execute(
            sa.update(conductors).where(c.hostname == hostname).values(online=online, updated_at=utc_now())
        )
    return done.rowcount == 1


def go_offline(database: Database, hostname: str) -> None:
    """Take no more nodes; the row stays, as Ironic's does, until it is purged."""
    with database.write() as connection:
        connection.execute(sa.update(conductors).where(c.hostname == hostname).values(online=False))


def is_alive(heartbeat_timeout_s: int) -> sa.ColumnElement[bool]:
    """Whether a row's conductor serves: online, and heard of within the timeout."""
    return sa.and_(c.online.is_(sa.true()), c.updated_at >= seconds_ago(heartbeat_timeout_s))


def alive(database: Database, heartbeat_timeout_s: int) -> list[Conductor]:
    """Every conductor that serves now, by host name."""
    query: sa.Select[Any] = (
        sa.select(c.hostname, c.rpc_url, c.conductor_group, c.drivers)
        .where(is_alive(heartbeat_timeout_s))
        .order_by(c.hostname)
    )
    with database.read() as connection:
        return [Conductor(*row) for row in connection.execute(query)]
