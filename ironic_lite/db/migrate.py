"""The schema's versions. alembic is imported only when there is something to change."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.db.engine import Database

# The newest revision under migrations/versions: one SELECT and this literal tell whether alembic is needed.
HEAD: Final = "0006"
_VERSION: Final = sa.text("SELECT version_num FROM alembic_version")


def version(database: Database) -> str | None:
    """The schema's revision; None if there is no schema. One SELECT."""
    try:
        with database.read() as connection:
            found = connection.execute(_VERSION).scalar()
    except (errors.DatabaseUnavailable, sa.exc.ProgrammingError) as exc:
        if _is_missing_table(exc):
            return None
        raise
    return str(found) if found is not None else None


def demand_current(database: Database) -> None:
    """Raise `ConfigurationError` unless the schema is the one that this code was written for."""
    found = version(database)
    if found != HEAD:
        is_there = f"has schema {found}" if found else "has no schema"
        raise errors.ConfigurationError(
            reason=f"The database {is_there}, and this version needs {HEAD}: run `ironic-lite-dbsync upgrade`."
        )


def prepare_directory(url: sa.URL) -> None:
    """Make the directory of a SQLite file. Raises `ConfigurationError` if that is not allowed."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return
    directory = Path(url.database).parent
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as exc:
        reason = f"The state directory {directory} can't be made ({exc.strerror}): set [DEFAULT]state_path."
        raise errors.ConfigurationError(reason=reason) from exc


def upgrade(url: sa.URL, revision: str = "head") -> None:
    """Bring the schema to the revision, creating what is missing. Raises `ConfigurationError` if it is unknown."""
    from alembic import command, config, util  # noqa: PLC0415  # 8 MiB that only this needs

    prepare_directory(url)
    settings = config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.attributes["url"] = url
    try:
        command.upgrade(settings, revision)
    except util.CommandError as exc:
        why = f"{exc}; if a newer version of ironic_lite made it, only that one can use it"
        raise errors.ConfigurationError(reason=f"The database can't be upgraded: {why}.") from exc


def _is_missing_table(exc: Exception) -> bool:
    cause = exc.__cause__ if isinstance(exc, errors.DatabaseUnavailable) else exc
    text = str(cause).lower()
    return any(sign in text for sign in ("no such table", "does not exist", "doesn't exist"))
