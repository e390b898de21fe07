"""Notifications of sensors: what they say, to whom, and that nobody ever waits for them."""

from __future__ import annotations

import datetime
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ironic_lite import config, errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.conductor import notifications
from ironic_lite.conductor.context import Work
from ironic_lite.conductor.notifications import FileSink, LogSink, Message, Notifier, Sink
from ironic_lite.conductor.reports import SensorReport, Subject
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from tests.waiting import until

AT = datetime.datetime(2026, 1, 1, 0, 0, 10, 500000)  # noqa: DTZ001  # UTC without a zone, as everywhere here
SENSORS = {"Temperature": {"0@1": {"reading_celsius": 41, "physical_context": "CPU", "state": "Enabled"}}}
SECTION = "oslo_messaging_notifications"
CLOCK = SystemClock()


def message(uuid: str = "u1", name: str | None = "n1", driver: str = "redfish") -> Message:
    return Message(Subject(uuid, name, "i1", driver), SensorReport(AT, SENSORS))


class Kept:
    """Keeps what it is told, when the gate is open; fails as long as `problem` says so."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.problem: Exception | None = None

    def tell(self, message: Message) -> None:
        self.entered.set()
        self.gate.wait(30)
        if self.problem is not None:
            raise self.problem
        self.told.append(message.subject.uuid)


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.gate.set()


@pytest.fixture
def pool(kept: Kept) -> Iterator[TaskPool]:
    made = TaskPool("test", 2, [Kind(Work.HOUSE_KEEPING, cap=1)], CLOCK)
    yield made
    kept.gate.set()
    assert made.drain(Deadline(CLOCK, 10)) == []


def counts(notifier: Notifier) -> dict[str, float]:
    return {sample.labels[0][1] if sample.labels else "waiting": sample.value for sample in notifier.samples()}


def test_a_message_has_ironics_shape() -> None:
    document = message().document("h1")
    assert all(re.fullmatch(r"[0-9a-f-]{36}", one.pop("message_id")) for one in (document, document["payload"]))
    assert document == {
        "publisher_id": "ironic-conductor.h1",
        "event_type": "hardware.redfish.metrics",
        "priority": "INFO",
        "payload": {
            "instance_uuid": "i1",
            "node_uuid": "u1",
            "node_name": "n1",
            "timestamp": "2026-01-01T00:00:10.500000",
            "event_type": "hardware.redfish.metrics.update",
            "payload": SENSORS,
        },
        "timestamp": "2026-01-01 00:00:10.500000",
    }


def test_a_whole_second_has_its_microseconds_too() -> None:
    whole = Message(message().subject, SensorReport(AT.replace(microsecond=0), {}))
    assert whole.document("h1")["payload"]["timestamp"] == "2026-01-01T00:00:10.000000"


def test_the_log_gets_it_as_json(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "oslo.messaging.notification"):
        LogSink("h1").tell(message(driver="ipmi"))
    [record] = caplog.records
    assert (record.name, record.levelname) == ("oslo.messaging.notification.hardware.ipmi.metrics", "INFO")
    assert json.loads(record.getMessage())["payload"]["payload"] == SENSORS


def test_a_node_has_a_file_that_is_replaced_as_a_whole(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "made" / "here")
    for one in (message(), message(), message("u2", None, "ipmi"), message("u3", "a/b")):
        sink.tell(one)
    files = {path.name: path.read_text() for path in (tmp_path / "made" / "here").iterdir()}
    assert set(files) == {"n1-hardware.redfish.metrics", "u2-hardware.ipmi.metrics", "a_b-hardware.redfish.metrics"}
    assert 'baremetal_temp_cpu_celsius{node_name="n1"' in files["n1-hardware.redfish.metrics"]


def test_messages_are_told_in_their_order(kept: Kept, pool: TaskPool) -> None:
    notifier = Notifier(pool, (kept,))
    kept.gate.set()
    wanted = [f"u{number}" for number in range(3 * notifications.BATCH + 7)]
    for uuid in wanted:
        notifier.offer(message(uuid))
    until(lambda: kept.told == wanted)
    until(lambda: counts(notifier) == {"waiting": 0, "told": len(wanted), "dropped": 0, "failed": 0})


def test_nobody_waits_and_the_oldest_are_dropped(kept: Kept, pool: TaskPool) -> None:
    notifier = Notifier(pool, (kept,), limit=3)
    notifier.offer(message("u0"))
    assert kept.entered.wait(30)  # and hangs there
    for number in range(1, 6):
        notifier.offer(message(f"u{number}"))
    assert counts(notifier) == {"waiting": 3, "told": 0, "dropped": 2, "failed": 0}
    kept.gate.set()
    until(lambda: counts(notifier)["told"] == 4)
    assert kept.told == ["u0", "u3", "u4", "u5"]


def test_a_full_pool_makes_messages_wait_for_the_next_one(kept: Kept, pool: TaskPool) -> None:
    notifier = Notifier(pool, (kept,))
    kept.gate.set()
    with pool.slot(Work.HOUSE_KEEPING, "something else"):
        notifier.offer(message("u1"))
    assert counts(notifier)["waiting"] == 1
    notifier.offer(message("u2"))
    until(lambda: kept.told == ["u1", "u2"])


def test_what_fails_is_counted_and_told_once_in_a_row(
    kept: Kept, pool: TaskPool, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(pool, (kept,))
    kept.gate.set()

    def told(problem: Exception | None, times: int) -> None:
        kept.problem = problem
        wanted = counts(notifier)["told"] + counts(notifier)["failed"] + times
        for _ in range(times):
            notifier.offer(message())
        until(lambda: counts(notifier)["told"] + counts(notifier)["failed"] == wanted)

    told(OSError("no space"), 2)
    told(None, 1)
    told(ValueError("no space"), 1)
    assert counts(notifier) == {"waiting": 0, "told": 1, "dropped": 0, "failed": 3}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "Notification of the sensors of node u1 failed: no space"
    ] * 2


def test_whatever_a_sink_raises_the_next_message_is_told(kept: Kept, pool: TaskPool) -> None:
    notifier = Notifier(pool, (kept,))
    kept.gate.set()
    kept.problem = TypeError("nobody thought of that")
    notifier.offer(message("u1"))
    until(lambda: counts(notifier)["failed"] == 1)
    kept.problem = None
    notifier.offer(message("u2"))
    until(lambda: kept.told == ["u2"])


def test_without_anybody_to_tell_nothing_is_kept(pool: TaskPool) -> None:
    notifier = Notifier(pool, ())
    notifier.offer(message())
    assert counts(notifier) == {"waiting": 0, "told": 0, "dropped": 0, "failed": 0}


@pytest.fixture
def drivers() -> Iterator[None]:
    yield
    for name in ("driver", "location"):
        config.CONF.clear_override(name, SECTION)


def named(*drivers: str, location: Path | None = None) -> list[type[Sink]]:
    config.CONF.set_override("driver", list(drivers), SECTION)
    config.CONF.set_override("location", str(location) if location else None, SECTION)
    return [type(sink) for sink in notifications.sinks("h1")]


def test_the_options_name_the_drivers(drivers: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert named() == named("noop") == []
    assert named("log", "log", "prometheus_exporter", location=tmp_path) == [LogSink, FileSink]
    assert caplog.messages == []
    assert named("messagingv2", "log") == [LogSink]
    assert caplog.messages == [
        "Notifications are not sent by driver messagingv2; the drivers that are there: log, noop, prometheus_exporter."
    ]


def test_files_need_a_place(drivers: None, tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="location"):
        named("prometheus_exporter")
    (tmp_path / "file").touch()
    with pytest.raises(errors.ConfigurationError, match="location"):
        named("prometheus_exporter", location=tmp_path / "file" / "below")
