"""Collections of sensors: what is kept of them, and that a node has one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ironic_lite import config, errors
from ironic_lite.clock import Deadline, ManualClock
from ironic_lite.conductor import reports, sensors
from ironic_lite.conductor.notifications import Message, Notifier
from ironic_lite.conductor.reports import Reports, SensorReport, Subject
from ironic_lite.conductor.sensors import Collector
from ironic_lite.domain.node import Node
from ironic_lite.drivers.interfaces import Collected, Sensors
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool

TOLD: Sensors = {"Extra": {"Model": "R1"}, "Fan": {"F1": {"reading": 1}}, "Temperature": {"0": {"reading_celsius": 41}}}
SUBJECT = Subject("u1", "n1", None, "redfish")


class Poller:
    """Tells what it is to tell; with `hold`, not before it may."""

    def __init__(self, told: Collected | errors.Error) -> None:
        self.told = told
        self.asked = 0
        self.begun = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.timeout_s = 0.0

    def target(self, node: Node) -> Any:
        """Nothing is needed."""

    async def collect(self, target: Any, deadline: Deadline) -> Collected:
        self.asked += 1
        self.begun.set()
        self.timeout_s = deadline.timeout_s
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.told, errors.Error):
            raise self.told
        return self.told


class Told(Notifier):
    """Keeps the messages that it is offered."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(TaskPool("none", 1, [Kind("none", cap=1)], clock), ())
        self.messages: list[Message] = []

    def offer(self, message: Message) -> None:
        self.messages.append(message)


class Scene:
    """A collector, what it keeps, and whom it tells."""

    def __init__(self) -> None:
        self.clock, self.reports = ManualClock(), Reports()
        self.notifier = Told(self.clock)
        self.collector = Collector(self.reports, self.notifier, self.clock)

    def visit(self, told: Collected | errors.Error) -> SensorReport | None:
        asyncio.run(self.collector.visit(SUBJECT, Poller(told), None))
        return self.reports.latest("u1")

    def counts(self) -> dict[str, float]:
        mine = (one for one in self.collector.samples() if one.family.name.startswith("ironic_lite_sensors"))
        return {one.labels[0][1] if one.labels else one.family.name[20:]: one.value for one in mine}


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def options() -> Iterator[None]:
    yield
    for name in ("data_types", "history", "wait_timeout", "send_sensor_data", "enable_for_nodes"):
        config.CONF.clear_override(name, "sensor_data")


def test_what_is_told_is_kept_and_told_on(scene: Scene) -> None:
    report = scene.visit(Collected(TOLD))
    assert report == SensorReport(scene.clock.now(), TOLD)
    assert scene.notifier.messages == [Message(SUBJECT, report)]
    assert scene.counts() == {"under_way": 0, "nodes": 1, "oldest_seconds": 0.0, "whole": 1, "partial": 0, "failed": 0}


def test_a_partial_report_is_kept_with_what_is_missing(scene: Scene) -> None:
    report = scene.visit(Collected({"Fan": TOLD["Fan"]}, {"Power": "it did not answer in time"}))
    assert report is not None
    assert report.missing == {"Power": "it did not answer in time"}
    assert scene.counts()["partial"] == 1


def test_a_failure_leaves_the_report_before_it_which_grows_old(scene: Scene) -> None:
    first = scene.visit(Collected(TOLD))
    scene.clock.advance(60)
    failure = errors.BMCUnreachable(node="n1", address="a", reason="it did not answer in time")
    assert scene.visit(failure) is first
    assert len(scene.notifier.messages) == 1
    assert scene.counts() | {"whole": 1, "failed": 1, "oldest_seconds": 60.0} == scene.counts()


def test_a_node_without_sensors_is_told_to_nobody(scene: Scene) -> None:
    assert scene.visit(Collected({})) is not None
    assert scene.notifier.messages == []


def test_a_node_has_one_collection_at_a_time_whoever_asks(scene: Scene) -> None:
    async def both() -> None:
        slow, other = Poller(Collected(TOLD)), Poller(Collected({}))
        slow.hold = asyncio.Event()
        first = asyncio.create_task(scene.collector.visit(SUBJECT, slow, None))
        await slow.begun.wait()
        await scene.collector.visit(SUBJECT, other, None)
        blocked = threading.Thread(target=scene.collector.collect, args=(node(),))  # noqa: TID251  # another caller
        blocked.start()
        blocked.join(30)
        assert not blocked.is_alive()
        assert other.asked == 0
        assert scene.reports.latest("u1") is None
        slow.hold.set()
        await first

    asyncio.run(both())
    report = scene.reports.latest("u1")
    assert report is not None
    assert report.sensors == TOLD
    assert scene.counts()["whole"] == 1
    scene.visit(Collected({}))
    assert scene.counts()["whole"] == 2


def node(**more: Any) -> Node:
    return Node(uuid="u1", driver="fake-hardware", **more)


def test_a_driver_without_sensors_and_one_that_is_not_there(scene: Scene) -> None:
    scene.collector.collect(node())
    assert scene.reports.latest("u1") == SensorReport(scene.clock.now(), {})
    scene.collector.collect(Node(uuid="u2", driver="nobody"))
    assert scene.counts()["failed"] == 1
    assert scene.counts()["under_way"] == 0


def test_a_collection_may_take_as_long_as_the_option_says(scene: Scene, options: None) -> None:
    poller = Poller(Collected(TOLD))
    config.CONF.set_override("wait_timeout", 7, "sensor_data")
    asyncio.run(scene.collector.visit(SUBJECT, poller, None))
    assert poller.timeout_s == 7


@pytest.mark.parametrize(("types", "kept"), [(["ALL"], TOLD), (["fan", "Drive"], {"Fan": TOLD["Fan"]}), ([], {})])
def test_only_the_wanted_types_are_kept(scene: Scene, options: None, types: list[str], kept: Any) -> None:
    config.CONF.set_override("data_types", types, "sensor_data")
    report = scene.visit(Collected(TOLD))
    assert report is not None
    assert report.sensors == kept


def test_earlier_reports_are_kept_if_wanted(scene: Scene, options: None) -> None:
    def collected(*readings: int) -> list[Any]:
        for reading in readings:
            scene.visit(Collected({"Fan": {"F1": {"reading": reading}}}))
        return [one.sensors["Fan"]["F1"]["reading"] for one in scene.reports.earlier("u1")]

    assert collected(1, 2) == []
    config.CONF.set_override("history", 2, "sensor_data")
    assert collected(3) == [2]
    assert collected(4, 5) == [4, 3]
    config.CONF.set_override("history", 0, "sensor_data")
    assert collected(6) == []


def test_nodes_that_are_gone_are_forgotten(scene: Scene, options: None) -> None:
    config.CONF.set_override("history", 2, "sensor_data")
    for _ in range(2):
        scene.visit(Collected(TOLD))
    scene.reports.forget_all_but({"u2"})
    assert (scene.reports.latest("u1"), scene.reports.earlier("u1"), scene.reports.all()) == (None, [], [])


def test_a_report_has_a_bound_whatever_a_bmc_says() -> None:
    entry = {f"field{number}": "x" * 1000 for number in range(100)} | {"reading": ["a"] * 1000}
    told = Collected(
        {"Extra": dict(entry), **{kind: {f"{'i' * 500}{number}": entry for number in range(700)} for kind in "AB"}},
        {f"part{number}": "y" * 1000 for number in range(100)},
    )
    kept, missing = reports.bounded(told, {"all"})
    assert [len(kept[kind]) for kind in "AB"] == [1, 1]  # the long names are one and the same now
    assert all(len(fields) == reports.FIELDS_LIMIT for kind in "AB" for fields in kept[kind].values())
    assert max(len(value) for value in kept["Extra"].values()) == reports.TEXT_LIMIT
    assert missing["B"] == "only the first 1000 sensors are kept"
    assert "A" not in missing
    assert len(missing) == reports.MISSING_LIMIT + 1


def test_half_a_character_does_no_harm() -> None:
    kept, missing = reports.bounded(
        Collected({"Fan": {"\ud83d": {"a": "\ud83d", "b": "°C"}}}, {"P": "\udc00"}), {"all"}
    )
    assert kept == {"Fan": {"?": {"a": "?", "b": "°C"}}}
    assert missing == {"P": "?"}


def test_numbers_stay_numbers_and_what_is_no_scalar_becomes_a_text() -> None:
    kept, _ = reports.bounded(Collected({"Fan": {"F1": {"a": 1, "b": 2.5, "c": None, "d": True, "e": [1]}}}), {"all"})
    assert kept == {"Fan": {"F1": {"a": 1, "b": 2.5, "c": None, "d": True, "e": "[1]"}}}


@pytest.mark.parametrize(("send", "for_nodes", "interval_s"), [(False, True, 0), (True, True, 600), (True, False, 0)])
def test_when_there_are_collections(*, options: None, send: bool, for_nodes: bool, interval_s: int) -> None:
    config.CONF.set_override("send_sensor_data", send, "sensor_data")
    config.CONF.set_override("enable_for_nodes", for_nodes, "sensor_data")
    assert sensors.interval_s() == interval_s
