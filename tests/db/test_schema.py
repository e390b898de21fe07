"""The migrations make exactly the tables that the code knows."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import ironic_lite.db
from ironic_lite import errors
from ironic_lite.db import migrate, nodes, tables
from ironic_lite.db.engine import Database
from tests.builders import a_node


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


def test_a_database_of_the_first_version_is_upgraded_and_keeps_its_rows(tmp_path: Path):
    url = sa.URL.create("sqlite", database=str(tmp_path / "old.sqlite"))
    migrate.upgrade(url, "0001")
    old = Database(url)
    with pytest.raises(errors.ConfigurationError, match="has schema 0001"):
        migrate.demand_current(old)
    uuid = a_node(old).uuid
    migrate.upgrade(url)
    migrate.demand_current(old)
    assert [one for one, *_ in nodes.revisions(old)] == [uuid]
    old.dispose()


def test_what_changed_lately_is_found_by_an_index(database: Database, migrated: sa.URL):
    indexes = {name: one["column_names"] for one in sa.inspect(sa.create_engine(migrated, poolclass=sa.NullPool))
               .get_indexes("nodes") if (name := one["name"])}  # fmt: skip
    assert indexes["ix_nodes_updated_at"] == ["updated_at"]
    assert indexes["ix_nodes_created_at"] == ["created_at"]
    if migrated.get_backend_name() != "sqlite":
        return
    statements = list[str]()
    database.on_statement(statements.append)
    nodes.changed_since(database, 60)
    with database.read() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statements[-1]}", ("2020", "2020")[: statements[-1].count("?")]
        )
        steps = " ".join(str(row) for row in plan)
    assert "SCAN nodes" not in steps, steps
