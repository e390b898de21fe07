"""The statements on keys: secrets that all processes of a cluster share, each made once and never changed."""

from __future__ import annotations

import sqlalchemy as sa

from ironic_lite.clock import new_secret
from ironic_lite.db.engine import Database, utc_now
from ironic_lite.db.tables import keys


def find(database: Database, name: str) -> str | None:
    """The key of that name; None if nobody has made it."""
    with database.read() as connection:
        return connection.execute(sa.select(keys.c.secret).where(keys.c.name == name)).scalar()


def find_or_make(database: Database, name: str) -> str:
    """The key of that name; of several who make it at the same time, all get the same."""
    found = find(database, name)
    if found is not None:
        return found
    made = new_secret()
    try:
        with database.write() as connection:
            connection.execute(sa.insert(keys).values(created_at=utc_now(), name=name, secret=made))
    except sa.exc.IntegrityError:  # somebody was faster
        return find_or_make(database, name)
    return made
