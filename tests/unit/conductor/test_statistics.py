"""A conductor asked about itself: by Prometheus however busy it is, by a client, and by the log when there is news."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from ironic_lite import commands, config, errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.cluster import rpc
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.conductor import sensors, statistics
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.freshness import Freshness
from ironic_lite.conductor.notifications import Notifier
from ironic_lite.db.engine import Database
from ironic_lite.executors.agenda import Agenda
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.web.listeners import listen
from ironic_lite.web.server import Server
from tests.parts.scrapes import scraped


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def conductor(database: Database) -> Iterator[Conductor]:
    """One that keeps house, too."""
    clock = SystemClock()
    kinds = [Kind(Work.ACTIONS, cap=4, critical=True), Kind(Work.HOUSE_KEEPING, cap=2, queue=8)]
    pool = TaskPool("conductor", 4, kinds, clock)
    made = Conductor("h1", database, Members(database, clock), pool, Agenda("agenda", pool, clock), clock)
    Freshness(made)
    yield made
    assert pool.drain(Deadline(clock, 10)) == []


@pytest.fixture
def metrics(conductor: Conductor) -> Iterator[Server]:
    collector = sensors.Collector(conductor.sensors, Notifier(conductor.pool, ()), conductor.clock)
    server = statistics.metrics_server(conductor, collector, listen("127.0.0.1", 0), BMCWaits("here", 4))
    server.start()
    yield server
    assert server.drain(3.0)


def fill(conductor: Conductor, gate: threading.Event) -> None:
    for number in range(conductor.pool.limit):
        conductor.pool.submit(Work.ACTIONS, f"power on of node {number}", gate.wait, 30)


def test_a_scrape_is_answered_while_every_worker_is_stuck(
    conductor: Conductor, metrics: Server, gate: threading.Event
) -> None:
    fill(conductor, gate)
    for refused in range(3):
        now = scraped(metrics.address[1])
        assert now.workers() == {"conductor"}
        assert now.value("ironic_lite_pool_busy", kind="actions") == conductor.pool.limit
        assert now.value("ironic_lite_pool_refused_total", kind="actions") == refused
        assert "power on of node" not in now.text
        with pytest.raises(errors.NoFreeWorker):
            conductor.pool.submit(Work.ACTIONS, "one too many", gate.wait, 30)


def test_a_scrape_costs_no_statement(conductor: Conductor, metrics: Server) -> None:
    statements: list[str] = []
    conductor.database.on_statement(statements.append)
    with conductor.database.read():
        now = scraped(metrics.address[1])
    assert now.value("ironic_lite_database_connections_busy") == 1
    assert now.value("ironic_lite_database_connections_limit") == 5
    assert scraped(metrics.address[1]).value("ironic_lite_database_connections_busy") == 0
    assert statements == []


def test_a_client_is_told_everything_over_json_rpc(conductor: Conductor, gate: threading.Event) -> None:
    fill(conductor, gate)
    method = statistics.conductor_statistics
    told = rpc.result(method, rpc.Dispatcher(conductor, BMCWaits("here", 4)).serve(rpc.request("req-1", method)))
    (pool,) = told.pools
    assert (pool.name, pool.busy, pool.limit) == ("conductor", conductor.pool.limit, conductor.pool.limit)
    assert pool.longest is not None
    assert pool.longest.startswith("power on of node ")
    assert told.process.rss_bytes > 1_000_000
    assert told.database.limit == 5


def test_the_log_is_told_once_of_what_was_done_and_nothing_of_house_keeping(
    conductor: Conductor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ironic_lite.conductor.statistics")
    diary = statistics.Diary(conductor)
    diary.write()
    conductor.pool.submit(Work.HOUSE_KEEPING, "sweeping", str).result(10)
    diary.write()
    assert caplog.messages == []
    conductor.pool.submit(Work.ACTIONS, "power on of node 1", str).result(10)
    diary.write()
    diary.write()
    (line,) = caplog.messages
    assert line.startswith("Pool conductor has 0 of 4 at work")
    assert "actions 1 done" in line
    assert "MiB in" in line


def test_the_log_is_told_as_often_as_the_option_says(conductor: Conductor) -> None:
    row = statistics.Diary(conductor).row()
    assert row.interval_s() == 300
    config.CONF.set_override("statistics_interval", 0, "conductor")
    assert row.interval_s() == 0
    config.CONF.clear_override("statistics_interval", "conductor")


def test_a_port_that_is_taken_costs_the_metrics_and_not_the_conductor(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config.CONF.set_override("metrics_port", other.getsockname()[1], "conductor")
        assert commands._metrics_listener() is None
    assert "Cannot listen on 127.0.0.1" in caplog.text
    assert "[conductor]metrics_port" in caplog.text
    free = commands._metrics_listener()
    assert free is not None
    free.close()
    caplog.clear()
    config.CONF.set_override("metrics_port", 0, "conductor")
    assert commands._metrics_listener() is None
    assert caplog.text == ""
    config.CONF.clear_override("metrics_port", "conductor")
