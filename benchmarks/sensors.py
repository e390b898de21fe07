"""What a collection of sensors costs: CPU and wall time of a whole fleet's, notifications included.

    python benchmarks/sensors.py                  # 1,000 BMCs that answer in 0.2 s, about a minute
    python benchmarks/sensors.py --bmcs 200 --sweeps 5

Each BMC is asked for its sensors at the same moment, which no conductor does (it spreads them over the interval): so
wall time is that of the slowest. The BMCs are a process of their own, so only the collector's CPU is counted; it
contains the making and writing of two notifications a node, one into a log file and one into a file for Prometheus.
Beside it the blocking way, through sushy in threads.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import logging
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polling

from ironic_lite import config
from ironic_lite.clock import Deadline
from ironic_lite.conductor import exporter
from ironic_lite.conductor.context import Work
from ironic_lite.conductor.notifications import FileSink, LogSink, Notifier
from ironic_lite.conductor.reports import Reports, Subject
from ironic_lite.conductor.sensors import Collector
from ironic_lite.domain.node import Node
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.redfish.management import RedfishManagement
from ironic_lite.drivers.redfish.power import RedfishPower
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool

IN_FLIGHT = 1000
BLOCKING_BMCS = 100
Sweep = Callable[[list[Node], Collector], None]


def by_coroutines(nodes: list[Node], collector: Collector) -> None:
    driver = RedfishManagement()

    async def sweep() -> None:
        places = asyncio.Semaphore(IN_FLIGHT)

        async def one(node: Node) -> None:
            async with places:
                await collector.visit(Subject(node.uuid, None, None, node.driver), driver, driver.target(node))

        await asyncio.gather(*(asyncio.create_task(one(node)) for node in nodes))

    IO.submit(sweep(), "sweep").result(polling.LIMIT_S)


def by_threads(nodes: list[Node], collector: Collector) -> None:
    with concurrent.futures.ThreadPoolExecutor(polling.THREADS) as threads:
        list(threads.map(collector.collect, nodes))


def measure(name: str, nodes: list[Node], sweep: Sweep, sweeps: int, directory: Path) -> None:
    """Print a cold sweep and the median of warm ones."""
    clock, kept = polling.CLOCK, Reports()
    pool = TaskPool("bench", 4, [Kind(Work.HOUSE_KEEPING, cap=2, queue=8)], clock)
    notifier = Notifier(pool, (LogSink("bench"), FileSink(directory / "files")), limit=len(nodes))
    collector = Collector(kept, notifier, clock)
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(sweeps + 1):
        began, cpu = time.perf_counter(), time.process_time()
        sweep(nodes, collector)
        while any(sample.value for sample in notifier.samples() if sample.family.name.endswith("waiting")):
            time.sleep(0.01)
        walls.append(time.perf_counter() - began)
        cpus.append((time.process_time() - cpu) * 1e3 / len(nodes))
    pool.drain(Deadline(clock, 10))
    told = kept.all()
    assert len(told) == len(nodes)
    assert not any(report.missing for _, report in told)
    for sweep_name, wall_s, cpu_ms in (
        ("cold", walls[0], cpus[0]),
        ("warm", statistics.median(walls[1:]), statistics.median(cpus[1:])),
    ):
        print(f"  {name:12} {sweep_name:14} {wall_s:6.2f} s, {cpu_ms:6.3f} ms of CPU a node")
    began = time.process_time()
    text = exporter.Exporter(kept, clock, lambda: 10**9).text()
    scrape_ms = (time.process_time() - began) * 1e3
    print(f"  {name:12} scrape of all  {scrape_ms:.0f} ms of CPU, {len(text) / 2**20:.1f} MiB")


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--bmcs", type=int, default=1000)
    args.add_argument("--sweeps", type=int, default=5)
    asked = args.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    config.load([], program="sensors", files=[])
    config.CONF.set_override("connection_cache_size", asked.bmcs, group="redfish")
    print(f"{asked.bmcs} BMCs that answer each request in {polling.LATENCY_S} s, median of {asked.sweeps} sweeps")
    with tempfile.TemporaryDirectory() as made, polling.fleet(asked.bmcs) as bmcs:
        directory = Path(made)
        logger = logging.getLogger("oslo.messaging.notification")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(logging.FileHandler(directory / "log"))
        nodes = [polling.node(number, bmc["url"], None) for number, bmc in enumerate(bmcs)]
        try:
            measure("coroutines", nodes, by_coroutines, asked.sweeps, directory)
            measure("threads", nodes[:BLOCKING_BMCS], by_threads, 1, directory)
        finally:
            RedfishPower().close_all(Deadline(polling.CLOCK, 30))


if __name__ == "__main__":
    main()
