"""The migrations make exactly the tables that the code knows."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import ironic_lite.db
from ironic_lite.db import migrate, tables
from ironic_lite.db.engine import Database


def test_the_migrations_make_the_tables(database: Database, migrated: sa.URL):
    engine = sa.create_engine(migrated, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_newest_migration_is_the_one_that_the_code_demands(database: Database):
    scripts = ScriptDirectory(str(Path(ironic_lite.db.__path__[0]) / "migrations"))
    assert scripts.get_current_head() == migrate.HEAD
    assert migrate.version(database) == migrate.HEAD
    migrate.demand_current(database)


def test_one_select_tells_that_the_schema_is_current(database: Database):
    statements: list[str] = []
    database.on_statement(statements.append)
    migrate.demand_current(database)
    assert len(statements) == 1
