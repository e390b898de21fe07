"""Sensor notifications in the shape of Ironic's, told without a message bus.

Of the drivers that operators name in `[oslo_messaging_notifications]` these are spoken: `log` writes each message as
JSON to the log, under the logger of oslo.messaging's driver of that name; `prometheus_exporter` keeps a file for each
node in `location`, as ironic-prometheus-exporter's driver does; `noop` does nothing.

*Guarantees.* (1) `offer` never waits: what is told is told later, by a worker of the pool's house-keeping. (2) At most
`QUEUE_LIMIT` messages wait; beyond it the oldest is dropped, and counted. (3) Messages are told one at a time, in their
order. (4) A message that cannot be told is counted, and the first of a row of them logged. (5) What waits when the
conductor ends is lost: a newer one follows at the next collection. Lock order: `Notifier._lock` is taken alone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from ironic_lite import errors, metrics
from ironic_lite.clock import new_uuid
from ironic_lite.conductor import exporter
from ironic_lite.conductor.context import Work
from ironic_lite.conductor.reports import SensorReport, Subject
from ironic_lite.config import OptionalStr, Section, Texts
from ironic_lite.executors.taskpool import TaskPool

LOG = logging.getLogger(__name__)

QUEUE_LIMIT: Final = 1000
BATCH: Final = 100
SPOKEN: Final = ("log", "noop", "prometheus_exporter")

WAITING = metrics.gauge("ironic_lite_notifications_waiting", "Notifications that wait to be told.")
TOLD = metrics.counter(
    "ironic_lite_notifications_total", "Notifications by what became of them: told, dropped or failed.", "outcome"
)


class conf(Section, name="oslo_messaging_notifications"):
    """To whom."""

    driver = Texts(
        [],
        help="How notifications of sensors are told; may be given more than once: log (as JSON in the log), "
        "prometheus_exporter (a file for each node in location), noop. Others are warned of and left out: there is no "
        "message bus.",
    )
    location = OptionalStr(
        None, help="Directory of the files of the driver prometheus_exporter. Files of nodes that are gone stay there."
    )


class Message(NamedTuple):
    """What is told: one node's sensors."""

    subject: Subject
    report: SensorReport

    @property
    def event_type(self) -> str:
        """By which consumers choose."""
        return f"hardware.{self.subject.driver}.metrics"

    def document(self, host: str) -> dict[str, Any]:
        """As oslo.messaging's log driver writes it, around what Ironic tells."""
        at = self.report.collected_at.replace(tzinfo=None)
        return {
            "message_id": new_uuid(),
            "publisher_id": f"ironic-conductor.{host}",
            "event_type": self.event_type,
            "priority": "INFO",
            "payload": {
                "message_id": new_uuid(),
                "instance_uuid": self.subject.instance_uuid,
                "node_uuid": self.subject.uuid,
                "timestamp": f"{at:%Y-%m-%dT%H:%M:%S.%f}",
                "node_name": self.subject.name,
                "event_type": f"{self.event_type}.update",
                "payload": self.report.sensors,
            },
            "timestamp": f"{at:%Y-%m-%d %H:%M:%S.%f}",
        }


class Sink(Protocol):
    """One way to tell a message."""

    def tell(self, message: Message) -> None:
        """Tell it. What it raises is counted, and the first of a row of failures logged."""


class LogSink:
    """The log."""

    def __init__(self, host: str) -> None:
        self._host = host

    def tell(self, message: Message) -> None:
        logger = logging.getLogger(f"oslo.messaging.notification.{message.event_type}")
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", msgspec.json.encode(message.document(self._host)).decode())


class FileSink:
    """A file for each node, replaced as a whole, so that nobody reads half of one."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def tell(self, message: Message) -> None:
        subject = message.subject
        name = f"{subject.name or subject.uuid}-{message.event_type}".replace("/", "_")
        fresh = self._directory / f".{subject.uuid}.new"
        fresh.write_text(exporter.text(exporter.series(message)), "utf-8")
        fresh.replace(self._directory / name)


def sinks(host: str) -> tuple[Sink, ...]:
    """Those that the options name. Raises `ConfigurationError`."""
    found: list[Sink] = []
    for driver in dict.fromkeys(conf.driver):
        if driver not in SPOKEN:
            known = ", ".join(SPOKEN)
            LOG.warning("Notifications are not sent by driver %s; the drivers that are there: %s.", driver, known)
        elif driver == "log":
            found.append(LogSink(host))
        elif driver == "prometheus_exporter":
            found.append(_files())
    return tuple(found)


def _files() -> FileSink:
    if not conf.location:
        reason = "[oslo_messaging_notifications]driver prometheus_exporter needs a directory: set location beside it."
        raise errors.ConfigurationError(reason=reason)
    try:
        return FileSink(Path(conf.location))
    except OSError as exc:
        reason = f"[oslo_messaging_notifications]location {conf.location} can't be made: {exc.strerror}."
        raise errors.ConfigurationError(reason=reason) from exc


class Notifier:
    """Tells messages behind the back of who offers them."""

    def __init__(self, pool: TaskPool, sinks: Sequence[Sink], limit: int = QUEUE_LIMIT) -> None:
        self._pool, self._sinks, self._limit = pool, sinks, limit
        self._lock = threading.Lock()
        self._queue: deque[Message] = deque()
        self._at_work = False
        self._fails = False
        self._counts = dict.fromkeys(("told", "dropped", "failed"), 0)

    def offer(self, message: Message) -> None:
        """Take a message, if there is anybody to tell it to. By any thread."""
        if not self._sinks:
            return
        with self._lock:
            if len(self._queue) >= self._limit:
                self._queue.popleft()
                self._counts["dropped"] += 1
            self._queue.append(message)
            begins, self._at_work = not self._at_work, True
        if begins and not self._given():
            with self._lock:
                self._at_work = False  # the next one that is offered tries again

    def samples(self) -> Iterator[metrics.Sample]:
        """What it did so far."""
        with self._lock:
            waiting, counts = len(self._queue), dict(self._counts)
        yield WAITING.at(waiting)
        yield from (TOLD.at(count, outcome) for outcome, count in counts.items())

    def _given(self) -> bool:
        """Whether a worker was found that tells them."""
        try:
            with self._pool.slot(Work.HOUSE_KEEPING, "notifications") as slot:
                slot.run(self._tell_some)
        except errors.Unavailable as exc:
            LOG.debug("Notifications find no worker: %s", exc)
            return False
        return True

    def _tell_some(self) -> None:
        """Tell a number of messages, then give others a turn, if there is a place to wait for the next one."""
        while True:
            for _ in range(BATCH):
                with self._lock:
                    if not self._queue:
                        self._at_work = False
                        return
                    message = self._queue.popleft()
                self._tell(message)
            if self._given():
                return

    def _tell(self, message: Message) -> None:
        failure: Exception | None = None
        for sink in self._sinks:
            try:
                sink.tell(message)
            except Exception as exc:  # noqa: BLE001  # whatever it is: it is counted and told, and the others go on
                failure = exc
        with self._lock:
            self._counts["failed" if failure else "told"] += 1
        if failure is not None and not self._fails:
            LOG.warning("Notification of the sensors of node %s failed: %s", message.subject.uuid, failure)
        self._fails = failure is not None
