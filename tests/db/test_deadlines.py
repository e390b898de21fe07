"""Databases that hang, freeze, vanish or hold locks: every caller gets its error, and every thread comes back."""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock, new_secret
from ironic_lite.db.engine import Database
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from tests.parts.databases import Server, running_server
from tests.parts.tcp_proxy import TcpProxy, tcp_proxy
from tests.waiting import until

SERVERS = ("postgresql", "mariadb")
THREADS, CONNECTIONS, STATEMENTS = 4, 3, 8
# Far above what the deadlines of these databases (1 s) add up to, and far below for ever.
AT_MOST_S = 40
HANGS = {
    "postgresql": "SELECT pg_sleep(10000)",
    "mysql": "SELECT SLEEP(10000)",
    "sqlite": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
}
WHO = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}


def opened(url: sa.URL, timeout_s: int = 1) -> Database:
    return Database(url, pool_size=CONNECTIONS, pool_timeout_s=1, timeout_s=timeout_s)


@pytest.fixture(scope="module", params=SERVERS)
def started(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running_server(request.param) as running:
        yield running


@pytest.fixture
def server(started: Server) -> Iterator[Server]:
    """A server that tests may harm; each gets it whole and without tables of another."""
    yield started
    started.thaw()
    tidy = Database(started.url)
    with tidy.write() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS t"))
    tidy.dispose()


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    pool = TaskPool("callers", THREADS, [Kind("ask", cap=THREADS)], SystemClock())
    yield pool
    assert pool.drain(Deadline(SystemClock(), AT_MOST_S)) == []


def backends(database: Database) -> set[int]:
    """Who is at the other end of each connection of the pool."""
    found: set[int] = set()

    def asked_all() -> bool:
        try:
            with ExitStack() as stack:
                held = [stack.enter_context(database.read()) for _ in range(CONNECTIONS)]
                who = sa.text(WHO[database.url.get_backend_name()])
                found.update({one.execute(who).scalar_one() for one in held})
        except errors.DatabaseUnavailable:  # a connection that took longer than its second, on a busy machine
            return False
        return True

    until(asked_all, AT_MOST_S)
    return found


def asked(pool: TaskPool, database: Database, statement: str, times: int) -> list[str]:
    """What each of so many callers got: more of them than there are threads, and more of those than connections."""
    outcomes: list[str] = []

    def ask() -> None:
        try:
            with database.read() as connection:
                outcomes.append(f"answer {connection.execute(sa.text(statement)).scalar()}")
        except errors.DatabaseUnavailable as exc:
            outcomes.append(str(exc))

    def begins() -> bool:
        try:
            with pool.slot("ask", "ask") as slot:
                slot.run(ask)
        except errors.NoFreeWorker:
            return False
        return True

    for _ in range(times):
        until(begins, AT_MOST_S)
    until(lambda: pool.stats().busy == 0, AT_MOST_S)
    return outcomes


def assert_answers(pool: TaskPool, database: Database) -> None:
    """The next task has its answer. On a busy machine even a connection may take longer than its second, so: soon."""
    until(lambda: asked(pool, database, "SELECT 1", 1) == ["answer 1"], AT_MOST_S)


def assert_all_refused(outcomes: list[str], expected: int = STATEMENTS) -> None:
    assert len(outcomes) == expected
    assert all(one.startswith("The database is not available: ") for one in outcomes), outcomes


def test_statements_that_never_end(server: Server, pool: TaskPool):
    database = opened(server.url)
    before = backends(database)
    outcomes = asked(pool, database, HANGS[server.url.get_backend_name()], STATEMENTS)
    assert_all_refused(outcomes)
    assert any("statement timeout" in one or "max_statement_time" in one for one in outcomes), outcomes
    assert_answers(pool, database)
    assert not backends(database) & before
    database.dispose()


def test_a_query_that_runs_away_in_sqlite(tmp_path, pool: TaskPool):
    database = opened(sa.URL.create("sqlite", database=str(tmp_path / "file")))
    with database.read() as connection:
        before = connection.connection.driver_connection
    assert_all_refused(asked(pool, database, HANGS["sqlite"], STATEMENTS))
    assert_answers(pool, database)
    assert isinstance(before, sqlite3.Connection)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        before.execute("SELECT 1")
    database.dispose()


def test_a_server_that_is_frozen(server: Server, pool: TaskPool):
    database = opened(server.url)
    before = backends(database)
    server.freeze()
    assert_all_refused(asked(pool, database, "SELECT 1", STATEMENTS))
    server.thaw()
    assert_answers(pool, database)
    assert not backends(database) & before
    database.dispose()


def test_a_server_that_is_frozen_from_the_start(server: Server, pool: TaskPool):
    server.freeze()
    database = opened(server.tcp_url(server.port))
    assert_all_refused(asked(pool, database, "SELECT 1", THREADS), THREADS)
    server.thaw()
    assert_answers(pool, database)
    database.dispose()


def test_a_link_that_is_cut(server: Server, pool: TaskPool):
    with tcp_proxy(server.port) as link:
        database = opened(server.tcp_url(link.port))
        before = backends(database)
        link.cut()
        assert_all_refused(asked(pool, database, "SELECT 1", STATEMENTS))
        link.mend()
        assert_answers(pool, database)
        assert not backends(database) & before
        database.dispose()


def test_a_server_that_is_killed(server: Server, pool: TaskPool):
    database = opened(server.tcp_url(server.port))
    before = backends(database)
    server.kill()
    assert_all_refused(asked(pool, database, "SELECT 1", STATEMENTS))
    server.start()
    # Ids of connections begin again with a server's life: that these are new ones, its death has proven.
    assert before
    assert_answers(pool, database)
    database.dispose()


Harm = Callable[[Server, TcpProxy], Any]


@pytest.mark.parametrize(
    ("harm", "mend", "at_commit"),
    [
        (lambda server, _link: server.freeze(), lambda server, _link: server.thaw(), False),
        (lambda _server, link: link.cut(), lambda _server, link: link.mend(), True),
    ],
    ids=["frozen-in-statement", "cut-in-commit"],
)
def test_in_the_middle_of_a_transaction(server: Server, harm: Harm, mend: Harm, *, at_commit: bool):
    """No check of an idle connection helps here: the statement itself has to end, and the commit."""
    with tcp_proxy(server.port) as link:
        database = opened(server.tcp_url(link.port))
        with database.write() as connection:
            connection.execute(sa.text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))

        def use() -> None:
            with database.write() as connection:
                connection.execute(sa.text("INSERT INTO t VALUES (1)"))
                harm(server, link)
                if not at_commit:
                    connection.execute(sa.text("INSERT INTO t VALUES (2)"))

        with pytest.raises(errors.DatabaseUnavailable):
            use()
        assert in_use(database) == 0
        mend(server, link)
        if not at_commit:  # the answer to a commit may be lost after it was done
            until(lambda: inserts(database, 1), AT_MOST_S)
        database.dispose()


def inserts(database: Database, value: int) -> bool:
    try:
        with database.write() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (:value)"), {"value": value})
    except errors.DatabaseUnavailable:
        return False  # the server has not noticed yet that the other transaction is gone
    return True


def in_use(database: Database) -> int:
    pool = database._engine.pool
    assert isinstance(pool, sa.QueuePool)
    return pool.checkedout()


def test_a_transaction_in_which_nothing_is_asked_loses_its_locks(server: Server):
    """As when its process is frozen: the server ends it, and the rows are free for others."""
    database, other = opened(server.url), opened(server.url, timeout_s=30)
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE t (x INTEGER PRIMARY KEY)"))

    def sleep_in_it() -> None:
        with database.write() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (1)"))
            until(lambda: inserts(other, 1), AT_MOST_S)
            connection.execute(sa.text("INSERT INTO t VALUES (2)"))

    with pytest.raises(errors.DatabaseUnavailable):
        sleep_in_it()
    with other.read() as connection:
        assert connection.scalars(sa.text("SELECT x FROM t")).all() == [1]
    for one in (database, other):
        one.dispose()


LOCKED = {
    "postgresql": "canceling statement due to lock timeout",
    "mysql": "Lock wait timeout exceeded",
    "sqlite": "database is locked",
}


def test_who_waits_for_a_lock_gets_its_error_and_the_holder_goes_on(migrated: sa.URL):
    holder, waiter = opened(migrated, timeout_s=30), opened(migrated, timeout_s=3)
    with holder.write() as connection:
        connection.execute(sa.text("CREATE TABLE held (x INTEGER PRIMARY KEY, y VARCHAR(99))"))
        connection.execute(sa.text("INSERT INTO held VALUES (1, 'a')"))

    secret = new_secret()

    def wait() -> None:
        with waiter.write() as connection:
            connection.execute(sa.text("UPDATE held SET y = :y"), {"y": secret})

    with holder.write() as connection:
        connection.execute(sa.text("UPDATE held SET y = 'b'"))
        with pytest.raises(errors.DatabaseUnavailable, match=LOCKED[migrated.get_backend_name()]) as caught:
            wait()
    # What a statement is given may be a BMC's password, and a traceback goes to the log.
    assert secret not in "".join(traceback.format_exception(caught.value))
    assert in_use(waiter) == 0
    wait()
    with holder.write() as connection:
        assert connection.execute(sa.text("SELECT y FROM held")).scalar() == secret
        connection.execute(sa.text("DROP TABLE held"))
    for one in (holder, waiter):
        one.dispose()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_block_that_raises_leaves_nothing_open(migrated: sa.URL, kind: str):
    database, other = opened(migrated), opened(migrated)
    with other.write() as connection:
        connection.execute(sa.text("CREATE TABLE left_open (x INTEGER)"))

    def fail() -> None:
        with getattr(database, kind)() as connection:
            connection.execute(sa.text("SELECT * FROM left_open"))
            if kind == "write":
                connection.execute(sa.text("INSERT INTO left_open VALUES (1)"))
            raise ZeroDivisionError

    for _ in range(2 * CONNECTIONS):
        with pytest.raises(ZeroDivisionError):
            fail()
    assert in_use(database) == 0
    with other.write() as connection:  # an open transaction would keep the table from us
        assert connection.execute(sa.text("SELECT count(*) FROM left_open")).scalar() == 0
        connection.execute(sa.text("DROP TABLE left_open"))
    for one in (database, other):
        one.dispose()


def test_a_pool_that_is_used_up_says_so(migrated: sa.URL):
    database = opened(migrated)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(database.read())
        with pytest.raises(errors.DatabaseUnavailable, match="all 3 connections of the pool were in use for 1 s"):
            stack.enter_context(database.read())
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    database.dispose()


@pytest.mark.parametrize("drivername", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_failure_never_tells_the_password(drivername: str):
    with tcp_proxy(0) as nobody:
        nobody.cut()
        url = sa.URL.create(drivername, "ironic", "s3cret", "127.0.0.1", nobody.port, "ironic")
        database = opened(url)
        with pytest.raises(errors.DatabaseUnavailable) as caught, database.read():
            pytest.fail("It connected to nobody.")
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))
        database.dispose()
