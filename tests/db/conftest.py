"""One suite, three real databases: each test gets an empty schema made by the migrations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from ironic_lite.db import migrate, tables
from ironic_lite.db.engine import Database
from tests.parts.databases import KINDS, server


@pytest.fixture(scope="session", params=KINDS)
def migrated(request: pytest.FixtureRequest) -> Iterator[sa.URL]:
    """A server of each kind, whose database has the schema of the migrations."""
    with server(request.param) as url:
        if url.get_backend_name() == "mysql":
            engine = sa.create_engine(url, poolclass=sa.NullPool)
            with engine.begin() as connection:
                connection.execute(sa.text("CREATE DATABASE ironic CHARACTER SET utf8mb4"))
            url = url.set(database="ironic")  # noqa: PLW2901  # the same server, our own database
        migrate.upgrade(url)
        yield url


@pytest.fixture
def database(migrated: sa.URL) -> Iterator[Database]:
    """The database, empty."""
    opened = Database(migrated, pool_size=8, timeout_s=10)
    yield opened
    with opened.write() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(sa.delete(table))
    opened.dispose()
