"""What a conductor tells of itself: to clients, to Prometheus on a port of its own, and in the log."""

from __future__ import annotations

import logging
import socket
from typing import Final

import msgspec

from ironic_lite.cluster import rpc
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.conductor import sensors
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.exporter import Exporter
from ironic_lite.conductor.overview import Overview
from ironic_lite.config import Host, Int, Port, Section
from ironic_lite.db.connections import Connections
from ironic_lite.drivers import contact
from ironic_lite.drivers.ipmi import dropped
from ironic_lite.executors.recurring import Recurring
from ironic_lite.executors.stats import LoopStats, PoolStats, told
from ironic_lite.metrics import Registry, exposition
from ironic_lite.usage import Usage
from ironic_lite.web import scrape
from ironic_lite.web.server import Server
from ironic_lite.web.stats import ServerStats

LOG: Final = logging.getLogger(__name__)
WORKER: Final = "conductor"


class conf(Section, name="conductor"):
    """Where, how often."""

    metrics_host_ip = Host("127.0.0.1", help="Address on which a conductor serves its own /metrics.")
    metrics_port = Port(9608, help="Port on which a conductor serves its own /metrics; 0: nowhere.")
    statistics_interval = Int(
        300,
        min=0,
        mutable=True,
        help="Seconds between two lines of the log on what the workers did; none when they did nothing; 0: never.",
    )


class Statistics(msgspec.Struct, frozen=True):
    """One moment of a conductor."""

    process: Usage
    pools: tuple[PoolStats, ...]
    servers: tuple[ServerStats, ...]
    database: Connections
    loops: tuple[LoopStats, ...]
    power: Overview


@rpc.quick_method
def conductor_statistics(conductor: Conductor) -> Statistics:
    """What this conductor is doing, and has done since its start. Asks neither BMC nor database."""
    return Statistics(
        process=conductor.process.usage(),
        pools=(conductor.pool.stats(),),
        servers=tuple(server.stats() for server in conductor.servers),
        database=conductor.database.connections(),
        loops=contact.IO.stats(),
        power=conductor.freshness.overview(),
    )


def registry(conductor: Conductor, bmc_waits: BMCWaits) -> Registry:
    """Whom a scrape of this conductor asks."""
    made = Registry(WORKER)
    made.add(conductor.process.samples)
    made.add(lambda: conductor.pool.stats().samples())
    made.add(lambda: (sample for server in conductor.servers for sample in server.stats().samples()))
    made.add(lambda: conductor.database.connections().samples())
    made.add(bmc_waits.samples)
    made.add(lambda: (sample for source in conductor.sources for sample in source()))
    made.add(lambda: (sample for loop in contact.IO.stats() for sample in loop.samples()))
    made.add(lambda: conductor.freshness.overview().samples())
    made.add(dropped.samples)
    return made


def metrics_server(
    conductor: Conductor, collector: sensors.Collector, listener: socket.socket, bmc_waits: BMCWaits
) -> Server:
    """The server of this conductor's /metrics, which costs one thread and wakes up when it is asked."""
    asked = registry(conductor, bmc_waits)
    exporter = Exporter(conductor.sensors, conductor.clock, lambda: sensors.conf.metrics_series_limit)
    asked.add(collector.samples)
    asked.add(exporter.samples)

    def made() -> bytes:
        told = exporter.text()
        return (exposition([asked.collect()]) + told).encode()

    page = scrape.Page(made)
    return Server("metrics", listener, page, threads=0, limits=scrape.LIMITS)


class Diary:
    """Tells the log from time to time what the pool did, if it did anything but keep house."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._before: PoolStats | None = None

    def row(self) -> Recurring:
        """The recurring work."""
        return Recurring("statistics", lambda: conf.statistics_interval, self.write, Work.HOUSE_KEEPING)

    def write(self) -> None:
        """One line, or none."""
        now = self._conductor.pool.stats()
        line = told(now, self._before, routine=(Work.HOUSE_KEEPING,))
        self._before = now
        if line:
            used = self._conductor.process.usage()
            LOG.info("%s The process uses %.0f MiB in %d threads.", line, used.rss_bytes / 2**20, used.threads)
