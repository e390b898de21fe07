"""When sensors are collected, over BMCs that answer for real: whose, how often, in which lane."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from ironic_lite import config
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.freshness import Freshness
from ironic_lite.conductor.notifications import Notifier
from ironic_lite.conductor.sensing import Sensing
from ironic_lite.conductor.sensors import Collector
from ironic_lite.db.engine import Database
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Provision
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from tests.parts.scripted_bmc import SYSTEM, ScriptedBmc, scripted_bmc
from tests.waiting import until

UUID = "22222222-0000-4000-8000-000000000001"
CHASSIS = "/redfish/v1/Chassis/1"
THERMAL = f"{CHASSIS}/Thermal"
CLOCK = SystemClock()
FAR_S = 10**7  # so that no turn comes within a test


@pytest.fixture
def bmc() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as running:
        running.script.system = {"Links": {"Chassis": [{"@odata.id": CHASSIS}]}}
        chassis = {"Id": "1", "Name": "c", "ChassisType": "Rack", "Thermal": {"@odata.id": THERMAL}}
        running.script.answers[CHASSIS] = (200, json.dumps(chassis).encode())
        running.script.answers[THERMAL] = (200, b'{"Fans": [{"MemberId": "F1", "Reading": 7}]}')
        yield running


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    made = TaskPool("conductor", 4, [Kind(Work.SENSORS, cap=2, only_reads=True)], CLOCK)
    yield made
    assert made.drain(Deadline(CLOCK, 10)) == []


class Scene:
    """The turns of a conductor, each second."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self.collector = Collector(conductor.sensors, Notifier(conductor.pool, ()), CLOCK)
        self.sensing = Sensing(conductor, self.collector)

    def lane(self, name: str) -> int:
        """How many collections it has begun."""
        return sum(lane.begun for lane in self.sensing.lanes() if lane.name == name)

    def due(self) -> int:
        """How many collections wait."""
        return sum(lane.due for lane in self.sensing.lanes())

    def has_turn(self) -> bool:
        """Whether a collection from the node is to begin some time; what was placed so far has been taken over."""

        async def nothing() -> None:
            """What was told to the loop before has been done."""

        IO.submit(nothing(), "barrier").result(30)
        return any(UUID in lane._dates for lane in self.sensing._lanes())


@pytest.fixture
def scene(database: Database, conductor: Conductor, pool: TaskPool) -> Iterator[Scene]:
    for name, value in (("send_sensor_data", True), ("interval", 1)):
        config.CONF.set_override(name, value, "sensor_data")
    made = Scene(Conductor("h1", database, conductor.members, pool, Agenda("none", pool, CLOCK), CLOCK))
    yield made
    made.sensing.stop()
    registry.close_all(Deadline(CLOCK, 10))
    for name in ("send_sensor_data", "interval", "poll_engine"):
        config.CONF.clear_override(name, "conductor" if name == "poll_engine" else "sensor_data")


def row(bmc: ScriptedBmc, **more: object) -> Node:
    given = {"provision_state": Provision.ACTIVE, "revision": 1, **more}
    return Node(uuid=UUID, driver="redfish", driver_info=bmc.driver_info(), **given)  # type: ignore[arg-type]


def fan(scene: Scene) -> object:
    report = scene.conductor.sensors.latest(UUID)
    return report.sensors["Fan"]["F1@1"]["reading"] if report else None


@pytest.mark.parametrize("engine", ["coroutines", "threads"])
def test_a_node_has_its_turns_in_the_lane_that_the_engine_says(bmc: ScriptedBmc, scene: Scene, engine: str) -> None:
    config.CONF.set_override("poll_engine", engine, "conductor")
    scene.sensing = Sensing(scene.conductor, scene.collector)
    scene.sensing.start()
    scene.sensing.place([row(bmc)], [])
    until(lambda: bmc.script.sent(f"GET {THERMAL}") >= 2 and fan(scene) == 7, 30)
    coroutines = scene.lane(f"{Work.SENSORS} by coroutines")
    assert (coroutines > 0, scene.lane(Work.SENSORS) > 0) == (engine == "coroutines", engine == "threads")
    assert bmc.script.most_under_way == 1


def test_a_slow_collection_is_neither_repeated_nor_overlapped(bmc: ScriptedBmc, scene: Scene) -> None:
    bmc.script.held = {THERMAL}
    scene.sensing.start()
    scene.sensing.place([row(bmc)], [])
    until(lambda: bmc.script.sent(f"GET {THERMAL}"), 30)
    scene.sensing.place([row(bmc, revision=2)], [])
    assert scene.has_turn()
    until(lambda: not scene.has_turn() or scene.due(), 30)
    assert bmc.script.sent(f"GET {SYSTEM}") == bmc.script.sent(f"GET {THERMAL}") == 1
    bmc.let_go.set()
    until(lambda: fan(scene) == 7, 30)


def test_a_node_is_left_alone_until_its_row_says_otherwise(bmc: ScriptedBmc, scene: Scene) -> None:
    config.CONF.set_override("interval", FAR_S, "sensor_data")
    scene.sensing.start()
    changes: tuple[dict[str, object], ...] = (
        {"provision_state": Provision.MANAGEABLE},
        {"maintenance": True},
        {"reservation": "h1"},
    )
    for number, change in enumerate(changes):
        scene.sensing.place([row(bmc, revision=2 * number + 1)], [])
        assert scene.has_turn(), change
        scene.sensing.place([row(bmc, revision=2 * number + 2, **change), row(bmc)], [])  # the second one is older
        assert not scene.has_turn(), change
    scene.sensing.place([row(bmc, revision=9)], [])
    assert scene.has_turn()


def test_what_is_gone_is_asked_nothing_more(bmc: ScriptedBmc, scene: Scene) -> None:
    config.CONF.set_override("interval", FAR_S, "sensor_data")
    scene.sensing.start()
    scene.sensing.place([row(bmc)], [])
    assert scene.has_turn()
    scene.sensing.place([], [UUID])
    assert not scene.has_turn()
    assert bmc.script.requests == []


def test_nothing_is_kept_of_anybody_without_the_option(bmc: ScriptedBmc, scene: Scene) -> None:
    config.CONF.set_override("send_sensor_data", False, "sensor_data")
    scene.sensing.start()
    scene.sensing.place([row(bmc)], [])
    assert scene.sensing.lanes() == ()
    assert not IO.running()


def test_rows_reach_it_by_way_of_the_power_sync(bmc: ScriptedBmc, scene: Scene) -> None:
    freshness = Freshness(scene.conductor)
    freshness.followers.append(scene.sensing.place)
    scene.sensing.start()
    freshness.place([row(bmc)])
    until(lambda: fan(scene) == 7, 30)


def test_a_thread_that_is_not_free_is_asked_again(bmc: ScriptedBmc, scene: Scene) -> None:
    config.CONF.set_override("poll_engine", "threads", "conductor")
    scene.sensing = Sensing(scene.conductor, scene.collector)
    with contextlib.ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(scene.conductor.pool.slot(Work.SENSORS, "something else"))
        scene.sensing.start()
        scene.sensing.place([row(bmc)], [])
        until(lambda: scene.lane(Work.SENSORS) >= 2, 30)
        assert bmc.script.requests == []
    until(lambda: fan(scene) == 7, 30)
