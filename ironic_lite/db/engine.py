"""The database of one process: a bounded pool of connections, and transactions that always end.

Guarantees: (1) a connection is waited for at most `pool_timeout`, and connecting and every statement end by the
deadlines of `deadlines.py`; (2) on SQLite there is one writer at a time in this process (`_writer`), so that threads
queue here and not in SQLite's busy loop; between processes its lock decides; each is waited for at most the statement
timeout; (3) a failure of the database becomes `DatabaseUnavailable`, without statement or password, and its connection
is thrown away; (4) nothing is kept open: a block that ends, however it ends, has committed or rolled back.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from ironic_lite import errors
from ironic_lite.config import Int, OptionalStr, Section
from ironic_lite.db.connections import Connections
from ironic_lite.db.deadlines import Limits, bounded_engine

MAX_REASON_CHARS: Final = 200


class conf(Section, name="database"):
    """Where the rows are."""

    connection = OptionalStr(
        None,
        secret=True,
        help="SQLAlchemy URL of the database, such as postgresql://user:password@host/ironic or "
        "mysql://user:password@host/ironic; without it, SQLite in [DEFAULT]state_path.",
    )
    max_pool_size = Int(20, min=1, help="Most connections that one process holds at a time.")
    pool_timeout = Int(10, min=1, help="Seconds that a thread waits for a free connection.")
    statement_timeout = Int(30, min=1, help="Seconds after which a statement is given up, by server and client.")


class default_conf(Section, name="DEFAULT"):
    """Where the service keeps its files."""

    state_path = OptionalStr(
        None,
        help="Directory of the service's own files; without it, systemd's $STATE_DIRECTORY, else /var/lib/ironic-lite "
        "for root, else ~/.local/state/ironic-lite.",
    )


def state_path() -> Path:
    """The directory of the service's own files (not made here)."""
    if default_conf.state_path:
        return Path(default_conf.state_path)
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return Path("/var/lib/ironic-lite") if os.geteuid() == 0 else Path.home() / ".local/state/ironic-lite"


def database_url() -> sa.URL:
    """The configured URL with the driver that we ship for its kind of database.

    Raises `ConfigurationError` for a kind that is not supported; the text never holds the URL's password.
    """
    if conf.connection is None:
        return sa.URL.create("sqlite", database=str(state_path() / "ironic.sqlite"))
    try:
        url = sa.make_url(conf.connection)
        driver = _DRIVERS[url.get_backend_name()]
    except (sa.exc.ArgumentError, KeyError):
        reason = f"[database]connection must be a SQLAlchemy URL of one of: {', '.join(_DRIVERS)}."
        raise errors.ConfigurationError(reason=reason) from None
    return url.set(drivername=driver)


_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}


class Database:
    """Connections to one database, made when first used. Never carried over a fork."""

    def __init__(self, url: sa.URL, *, pool_size: int = 5, pool_timeout_s: int = 10, timeout_s: int = 30) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._full = f"all {pool_size} connections of the pool were in use for {pool_timeout_s} s"
        self._writer = threading.Lock() if url.get_backend_name() == "sqlite" else None
        self._engine = bounded_engine(
            url,
            Limits(timeout_s),
            poolclass=sa.QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            pool_pre_ping=self._writer is None,
            json_serializer=_JSON.encode_text,
            json_deserializer=msgspec.json.decode,
            **({} if self._writer else {"isolation_level": "READ COMMITTED"}),
        )
        if self._writer:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection to read with; what one statement sees is consistent, two may see different moments.

        Raises `DatabaseUnavailable`.
        """
        with self._translated(), self._engine.connect() as connection, _thrown_away_if_it_fails(connection):
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction, committed when the block ends well.

        Raises `DatabaseUnavailable`; when the answer to the commit itself was lost, nobody knows whether it happened.
        """
        if self._writer and not self._writer.acquire(timeout=self._timeout_s):
            raise errors.DatabaseUnavailable(reason=f"no turn to write within {self._timeout_s} s")
        try:
            with (
                self._translated(),
                self._engine.connect() as connection,
                _thrown_away_if_it_fails(connection),
                connection.begin(),
            ):
                if self._writer:
                    _begin_sqlite(connection)
                yield connection
        finally:
            if self._writer:
                self._writer.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as exc:
            if not _is_unavailable(exc):
                raise
            reason = str(exc.orig).strip().partition("\n")[0][:MAX_REASON_CHARS]
            raise errors.DatabaseUnavailable(reason=reason.rstrip(".")) from exc
        except sa.exc.TimeoutError as exc:
            raise errors.DatabaseUnavailable(reason=self._full) from exc

    def on_statement(self, listener: Any) -> None:
        """Call `listener(statement: str)` before each statement: how the budget tests count."""

        def tell(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            listener(statement)

        sa.event.listen(self._engine, "before_cursor_execute", tell)

    def connections(self) -> Connections:
        """How much of the pool is in use."""
        pool = cast("sa.QueuePool", self._engine.pool)
        busy = pool.checkedout()
        return Connections(limit=pool.size(), open=busy + pool.checkedin(), busy=busy)

    def dispose(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()


class _JSON:
    _encoder: Final = msgspec.json.Encoder()

    @classmethod
    def encode_text(cls, value: Any) -> str:
        return cls._encoder.encode(value).decode()


def open_database() -> Database:
    """The configured database."""
    return Database(
        database_url(),
        pool_size=conf.max_pool_size,
        pool_timeout_s=conf.pool_timeout,
        timeout_s=conf.statement_timeout,
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: sqlite3's own comes too late to be IMMEDIATE
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Writers take SQLite's lock at once, so that a transaction never fails half way."""
    try:
        connection.connection.cursor().execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as exc:  # another process has the lock; nobody else wraps what we do ourselves
        raise sa.exc.OperationalError("BEGIN IMMEDIATE", None, exc) from exc


@contextmanager
def _thrown_away_if_it_fails(connection: sa.Connection) -> Iterator[None]:
    """A connection whose statement was given up is not used again, whatever it would answer."""
    try:
        yield
    except sa.exc.DBAPIError as exc:
        if _is_unavailable(exc):
            connection.invalidate(exc)
        raise


def _is_unavailable(exc: sa.exc.DBAPIError) -> bool:
    """Whether the database failed, not the statement."""
    return not isinstance(exc, _STATEMENTS_FAULT)


_STATEMENTS_FAULT: Final = (
    sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError, sa.exc.NotSupportedError,
)  # fmt: skip


class utc_now(sa.sql.functions.FunctionElement[Any]):
    """The database's own clock, UTC to the microsecond: the one clock that all conductors share."""

    inherit_cache = True
    type = sa.DateTime()


@compiles(utc_now, "sqlite")
def _now_sqlite(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"  # SQLite counts milliseconds; SQLAlchemy reads six digits


@compiles(utc_now, "postgresql")
def _now_postgresql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "(clock_timestamp() AT TIME ZONE 'UTC')"


@compiles(utc_now, "mysql", "mariadb")
def _now_mysql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "UTC_TIMESTAMP(6)"


class seconds_ago(sa.sql.functions.FunctionElement[Any]):
    """The database's clock, that many whole seconds earlier."""

    inherit_cache = True
    type = sa.DateTime()

    def __init__(self, seconds: int) -> None:
        super().__init__(sa.literal(seconds, sa.Integer()))


@compiles(seconds_ago, "sqlite")
def _ago_sqlite(element: seconds_ago, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || {seconds} || ' seconds')"


@compiles(seconds_ago, "postgresql")
def _ago_postgresql(element: seconds_ago, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() AT TIME ZONE 'UTC' - make_interval(secs => {seconds}))"


@compiles(seconds_ago, "mysql", "mariadb")
def _ago_mysql(element: seconds_ago, compiler: Any, **options: Any) -> str:
    return f"(UTC_TIMESTAMP(6) - INTERVAL {compiler.process(element.clauses, **options)} SECOND)"


class seconds_since(sa.sql.functions.FunctionElement[Any]):
    """Whole seconds from that moment to now, on the database's clock."""

    inherit_cache = True
    type = sa.Integer()


@compiles(seconds_since, "sqlite")
def _since_sqlite(element: seconds_since, compiler: Any, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"CAST(strftime('%s', 'now') - strftime('%s', {moment}) AS INTEGER)"


@compiles(seconds_since, "postgresql")
def _since_postgresql(element: seconds_since, compiler: Any, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"floor(extract(epoch FROM (clock_timestamp() AT TIME ZONE 'UTC') - {moment}))::integer"


@compiles(seconds_since, "mysql", "mariadb")
def _since_mysql(element: seconds_since, compiler: Any, **options: Any) -> str:
    return f"TIMESTAMPDIFF(SECOND, {compiler.process(element.clauses, **options)}, UTC_TIMESTAMP(6))"
