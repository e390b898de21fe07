"""A conductor on a real SQLite and a real pool, without a process around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ironic_lite import config
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.cluster.members import Members
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.freshness import Freshness
from ironic_lite.db import conductors, migrate
from ironic_lite.db.engine import Database
from ironic_lite.drivers.contact import IO
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from tests.clocks import HeldClock
from tests.parts.watching import Watch, watching

# Options of [conductor] that tests override.
CHANGED = (
    "force_power_state_during_sync", "power_state_sync_debounce", "sync_power_state_interval", "poll_engine",
    "power_state_sync_max_retries",
)  # fmt: skip


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty SQLite file with the schema of the migrations."""
    path = tmp_path_factory.mktemp("schema") / "empty.sqlite"
    migrate.upgrade(sa.URL.create("sqlite", database=str(path)))
    return path.read_bytes()


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """The defaults, and whatever a test sets with `config.CONF.set_override`."""
    config.load([], program="test", files=[])
    yield
    for name in CHANGED:
        config.CONF.clear_override(name, "conductor")
    config.CONF.reset()


@pytest.fixture
def database(schema: bytes, tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "ironic.sqlite"
    path.write_bytes(schema)
    opened = Database(sa.URL.create("sqlite", database=str(path)))
    yield opened
    opened.dispose()


@pytest.fixture
def held() -> HeldClock:
    """The agenda's clock, which only a test moves; every other wait is real."""
    return HeldClock()


@pytest.fixture
def conductor(database: Database, held: HeldClock) -> Iterator[Conductor]:
    clock = SystemClock()
    conductors.register(
        database, conductors.Conductor("h1", "http://127.0.0.1:1", "", {"fake-hardware": {}, "redfish": {}})
    )
    kinds = [Kind(kind, cap=4, queue=1000) for kind in (Work.POWER_SYNC, Work.POWER_RECOVERY, Work.WAITS)]
    kinds.append(Kind(Work.PROVISIONING, cap=4, critical=True))
    pool = TaskPool("conductor", 4, [Kind(Work.ACTIONS, cap=4, critical=True), *kinds], clock)
    agenda = Agenda("agenda", pool, held)
    agenda.start()
    made = Conductor("h1", database, Members(database, clock), pool, agenda, clock)
    Freshness(made)
    yield made
    agenda.stop(Deadline(clock, 10))
    assert pool.drain(Deadline(clock, 10)) == []
    assert made.programs.stop_all(Deadline(clock, 10)) == []
    IO.stop(Deadline(clock, 10))  # whoever asked a BMC began it


@pytest.fixture
def watch(conductor: Conductor) -> Iterator[Watch]:
    """Its power sync, at a test's pace: no turn but the first comes by itself."""
    config.CONF.set_override("sync_power_state_interval", 10**6, "conductor")
    with watching(conductor) as started:
        yield started
