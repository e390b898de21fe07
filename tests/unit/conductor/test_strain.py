"""Rounds that take longer than their interval, pools that are short of workers: told once an hour, else nothing."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator

import pytest

from ironic_lite import errors
from ironic_lite.clock import Deadline, ManualClock, SystemClock
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.notifications import Notifier
from ironic_lite.conductor.schedule import Schedule
from ironic_lite.conductor.sensors import Collector
from ironic_lite.conductor.strain import Strain
from ironic_lite.db.engine import Database
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.pacing import PaceStats
from ironic_lite.executors.taskpool import TaskPool
from tests.builders import a_node
from tests.waiting import until

TOLD = re.compile(r"Set (.*)\. \((sensors-behind|sync-behind|workers-short)\)")


class Scene:
    """A pool, whose time moves when a test says so, and what watches it."""

    def __init__(self, limit: int = 20) -> None:
        self.clock = ManualClock()
        kinds = [
            Kind(Work.ACTIONS, cap=limit, critical=True),
            Kind(Work.POWER_SYNC, cap=8, queue=50),
            Kind(Work.POWER_RECOVERY, cap=8, queue=50),
            Kind(Work.SENSORS, cap=4, queue=50),
        ]
        self.pool = TaskPool("conductor", limit, kinds, self.clock, reserved=2)
        self.paces: list[PaceStats] = []
        self.strain = Strain(self.pool.stats, lambda: self.paces, self.clock)
        self.gate = threading.Event()

    def visits(self, number: int, kind: str = Work.POWER_SYNC) -> None:
        for _ in range(number):
            self.pool.submit(kind, "visit", lambda: None).result(10)

    def busy(self, number: int, kind: str = Work.ACTIONS) -> None:
        """Workers that are held until the gate opens."""
        for _ in range(number):
            self.pool.submit(kind, "held", self.gate.wait, 60)

    def opened(self) -> None:
        """Everything that was held or waits has ended."""
        self.gate.set()
        until(lambda: self.pool.stats().busy == 0 and self.pool.stats().queued == 0)
        self.gate.clear()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.gate.set()
    assert made.pool.drain(Deadline(SystemClock(), 10)) == []


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was advised since this was last asked."""
    found = [match[1] for record in caplog.records if (match := TOLD.search(record.getMessage()))]
    caplog.clear()
    return found


SYNC_12 = "[conductor]sync_power_state_workers to at least 12 and [conductor]periodic_max_workers to at least 12"


def test_each_cause_of_each_lane_is_told_once_an_hour(scene: Scene, caplog: pytest.LogCaptureFixture):
    said = []
    for number in range(122):  # two hours
        scene.paces = [pace("threads", running=8, limit=8, due=20, begun=40 * number)]
        if number >= 120:
            scene.paces.append(pace(Work.SENSORS, running=4, limit=4, due=100, begun=number))
        scene.strain.look()
        scene.clock.advance(60)
        said.append(told(caplog))
    assert [number for number, one in enumerate(said) if one] == [1, 61, 121]
    assert said[-1] == [SYNC_12, "[sensor_data]workers to at least 16"]


def test_actions_that_are_refused_ask_for_as_many_workers_more(scene: Scene, caplog: pytest.LogCaptureFixture):
    scene.strain.look()
    scene.busy(20)
    for _ in range(3):
        with pytest.raises(errors.NoFreeWorker):
            scene.pool.slot(Work.ACTIONS, "one too many")
    scene.clock.advance(60)
    scene.strain.look()
    assert "3 actions of clients were refused within 60 s because all 20 workers were busy." in caplog.text
    assert told(caplog) == ["[conductor]workers_pool_size to at least 23"]
    scene.opened()
    scene.clock.advance(3600)
    scene.strain.look()
    assert told(caplog) == []


def test_visits_that_wait_for_a_worker_ask_for_as_many_as_waited(scene: Scene, caplog: pytest.LogCaptureFixture):
    scene.strain.look()
    scene.busy(18)
    scene.busy(6, Work.POWER_SYNC)  # two of them at once, four must wait
    scene.clock.advance(30)
    scene.opened()
    scene.clock.advance(30)
    scene.strain.look()
    assert (
        "6 visits of the power sync waited 20.0 s on average for one of 20 workers, as others had them: within 60 "
        "s there were 2.0 too few."
    ) in caplog.text
    assert told(caplog) == ["[conductor]workers_pool_size to at least 22"]


def test_visits_that_get_no_worker_at_all_are_no_matter_of_their_own_options(
    scene: Scene, caplog: pytest.LogCaptureFixture
):
    scene.strain.look()
    scene.busy(20)
    scene.busy(6, Work.POWER_SYNC)
    scene.clock.advance(60)
    scene.strain.look()
    assert "6 visits of the power sync waited 60.0 s on average" in caplog.text
    assert told(caplog) == ["[conductor]workers_pool_size to at least 26"]
    scene.opened()
    scene.clock.advance(3600)
    scene.busy(1, Work.POWER_SYNC)
    scene.strain.look()
    assert told(caplog) == ["[conductor]workers_pool_size to at least 21"]


def test_a_short_wait_is_not_told(scene: Scene, caplog: pytest.LogCaptureFixture):
    scene.strain.look()
    scene.busy(18)
    scene.busy(6, Work.POWER_SYNC)
    scene.clock.advance(1)
    scene.opened()
    scene.clock.advance(59)
    scene.strain.look()
    assert told(caplog) == []


def test_second_looks_that_wait_for_the_power_syncs_own_cap_are_no_lack_of_workers(
    scene: Scene, caplog: pytest.LogCaptureFixture
):
    scene.strain.look()
    scene.busy(8 + 5, Work.POWER_SYNC)
    scene.clock.advance(60)
    scene.strain.look()
    assert told(caplog) == []
    scene.opened()


@pytest.fixture
def rows(scene: Scene, database: Database, conductor: Conductor) -> dict[str, Callable[[], None]]:
    """What the schedule does by itself, over ten nodes that are synced and ten whose BMC failed."""
    for _ in range(10):
        a_node(database, provision_state="active")
        a_node(database, provision_state="active", maintenance=True, fault="power failure")
    made = Conductor("h1", database, conductor.members, scene.pool, conductor.agenda, scene.clock)
    schedule = Schedule(made, Collector(made.sensors, Notifier(scene.pool, ()), scene.clock))
    return {row.name: row.work for row in schedule.rows()}


def pace(name: str, *, running: int, limit: int, due: int, begun: int) -> PaceStats:
    return PaceStats(name=name, running=running, limit=limit, due=due, begun=begun, lag_p99_s=12.0)


def test_a_lane_that_is_full_twice_in_a_row_says_how_much_room_would_do(scene: Scene, caplog: pytest.LogCaptureFixture):
    scene.paces = [pace("threads", running=8, limit=8, due=20, begun=100)]
    scene.strain.look()
    assert told(caplog) == [], "it may be a moment's"
    scene.clock.advance(60)
    scene.paces = [pace("threads", running=8, limit=8, due=20, begun=140)]
    scene.strain.look()
    assert (
        "The power sync began 40 visits by threads within 60 s, 8 at a time, and 20 nodes wait for theirs; the latest "
        "begin 12.0 s late: at this pace all would need 8 x 60 / 40 at a time."
    ) in caplog.text
    assert told(caplog) == [SYNC_12]


@pytest.mark.parametrize(
    "well",
    [
        pace("threads", running=8, limit=8, due=0, begun=140),
        pace("threads", running=7, limit=8, due=20, begun=140),
        pace("coroutines", running=64, limit=64, due=20, begun=140),  # its room grows by itself
        pace("probes", running=64, limit=64, due=20, begun=140),  # dead BMCs may wait
    ],
)
def test_a_lane_that_keeps_up_is_not_told(scene: Scene, well: PaceStats, caplog: pytest.LogCaptureFixture):
    for _ in range(3):
        scene.paces = [well]
        scene.strain.look()
        scene.clock.advance(60)
    assert told(caplog) == []


def test_the_schedule_looks_at_the_pool(
    scene: Scene, rows: dict[str, Callable[[], None]], caplog: pytest.LogCaptureFixture
):
    rows["house-keeping"]()
    scene.busy(20)
    with pytest.raises(errors.NoFreeWorker):
        scene.pool.slot(Work.ACTIONS, "one too many")
    rows["house-keeping"]()
    assert told(caplog) == ["[conductor]workers_pool_size to at least 21"]
