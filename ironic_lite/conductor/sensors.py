"""Sensors: collect them, keep what was told last, tell it on.

*Guarantees.* (1) A node's sensors are collected once at a time, whoever asks; a collection that takes long is neither
repeated nor overlapped. (2) It ends within `[sensor_data]wait_timeout`, and what was told by then is kept, with the
names of the parts that were not. (3) One that told nothing leaves the report before it, which grows old. (4) Neither
notifications nor a scrape are waited for. `Collector` is used by workers of the pool (`collect`) and on the I/O loop
(`visit`) alike. Lock order: `Collector._lock` is taken alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, Final

from ironic_lite import errors, metrics
from ironic_lite.clock import Clock, Deadline
from ironic_lite.cluster import rpc
from ironic_lite.conductor import reports
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.notifications import Message, Notifier
from ironic_lite.conductor.reports import Reports, SensorReport, Subject
from ironic_lite.config import Bool, Int, Section, Strings
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Provision
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Collected, SensorsPoller

LOG = logging.getLogger(__name__)

FAILURES: Final = (errors.BMCError, errors.Invalid, errors.DriverNotFound)

COLLECTIONS: Final = metrics.counter(
    "ironic_lite_sensors_collections_total", "Collections of sensors: whole, partial or failed.", "outcome"
)
UNDER_WAY: Final = metrics.gauge("ironic_lite_sensors_under_way", "Nodes whose sensors are being collected.")
KNOWN: Final = metrics.gauge("ironic_lite_sensors_nodes", "Nodes whose sensors are known.")
OLDEST: Final = metrics.gauge("ironic_lite_sensors_oldest_seconds", "Age of the oldest report of a node's sensors.")


class conf(Section, name="sensor_data"):
    """Which sensors, of which nodes, how often."""

    send_sensor_data = Bool(False, help="Whether sensors are collected at all.")
    interval = Int(600, min=1, help="Seconds between two collections of a node's sensors.")
    workers = Int(
        4,
        min=1,
        mutable=True,
        help="Nodes whose sensors are collected by threads at a time: with IPMI, or poll_engine = threads.",
    )
    wait_timeout = Int(
        300, min=1, mutable=True, help="Seconds that one node's collection may take; what was told by then is kept."
    )
    concurrency = Int(1000, min=1, mutable=True, help="Nodes whose sensors are collected by coroutines at a time.")
    data_types = Strings(["ALL"], help="Types of sensors that are kept, such as Temperature,Fan; ALL keeps every one.")
    enable_for_undeployed_nodes = Bool(False, help="Whether nodes that are not active are included.")
    enable_for_nodes = Bool(True, help="Whether sensors of nodes are collected; the only ones there are here.")
    history = Int(
        0, min=0, max=1000, mutable=True, help="Earlier collections of each node that are kept, about 10 KiB each."
    )
    metrics_series_limit = Int(
        50000,
        min=0,
        mutable=True,
        help="Series of sensors that /metrics tells at most, about 20 for a node; the nodes beyond are left out and "
        "counted. 0: none.",
    )


@rpc.quick_method
def latest_sensors(conductor: Conductor, node: str) -> SensorReport | None:
    """What was collected last from the node; None if nothing was yet. Asks neither BMC nor database."""
    return conductor.sensors.latest(node)


@rpc.quick_method
def earlier_sensors(conductor: Conductor, node: str) -> list[SensorReport]:
    """What was collected from the node before that, the latest first, as far as it is kept."""
    return conductor.sensors.earlier(node)


def interval_s() -> int:
    """Seconds between two collections of a node; 0: there are none."""
    return conf.interval if conf.send_sensor_data and conf.enable_for_nodes else 0


def wanted(node: Node) -> bool:
    """Whether the node's sensors are collected."""
    return conf.enable_for_undeployed_nodes or node.provision_state == Provision.ACTIVE


class Collector:
    """Collects, and keeps what is told."""

    def __init__(self, kept: Reports, notifier: Notifier, clock: Clock) -> None:
        self._reports, self._notifier, self._clock = kept, notifier, clock
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._counts = dict.fromkeys(("whole", "partial", "failed"), 0)

    def collect(self, node: Node) -> None:
        """Collect from one node; for a thread that may wait."""
        subject = Subject(node.uuid, node.name, node.instance_uuid, node.driver)
        with self._alone(subject) as ours:
            if ours:
                self._take(subject, registry.management(node).sensors(node, self._deadline()))

    async def visit(self, subject: Subject, poller: SensorsPoller, target: Any) -> None:
        """Collect from one node, on the I/O loop; `target` is what the poller made of the node."""
        with self._alone(subject) as ours:
            if ours:
                self._take(subject, await poller.collect(target, self._deadline()))

    def samples(self) -> Iterator[metrics.Sample]:
        """How it went so far, and what is known."""
        with self._lock:
            under_way, counts = len(self._under_way), dict(self._counts)
        told = self._reports.all()
        yield UNDER_WAY.at(under_way)
        yield KNOWN.at(len(told))
        now = self._clock.now()
        yield OLDEST.at(max(((now - report.collected_at).total_seconds() for _, report in told), default=0.0))
        yield from (COLLECTIONS.at(count, outcome) for outcome, count in counts.items())
        yield from self._notifier.samples()

    def _deadline(self) -> Deadline:
        return Deadline(self._clock, conf.wait_timeout)

    @contextlib.contextmanager
    def _alone(self, subject: Subject) -> Iterator[bool]:
        """Whether nobody else collects from the node while the block runs. What goes wrong in it is told here."""
        with self._lock:
            ours = subject.uuid not in self._under_way
            self._under_way.add(subject.uuid)
        try:
            yield ours
        except FAILURES as exc:
            self._count("failed")
            LOG.warning("Sensors of node %s could not be collected: %s", subject.label, exc)
        finally:
            if ours:
                with self._lock:
                    self._under_way.discard(subject.uuid)

    def _take(self, subject: Subject, told: Collected) -> None:
        kept, missing = reports.bounded(told, {kind.lower() for kind in conf.data_types})
        self._count("partial" if missing else "whole")
        before = self._reports.latest(subject.uuid)
        if missing and (before is None or before.missing.keys() != missing.keys()):
            LOG.info("Sensors of node %s are told in part; missing: %s", subject.label, missing)
        report = SensorReport(self._clock.now(), kept, missing)
        self._reports.keep(subject, report, conf.history)
        if kept:
            self._notifier.offer(Message(subject, report))

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._counts[outcome] += 1
