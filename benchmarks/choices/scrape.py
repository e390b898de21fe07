"""The text of a scrape by hand beside prometheus_client: what the first one adds to a process, and what each one costs.

Both tell the same of one pool with five kinds, in a fresh interpreter that has imported what our processes import.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable

from choices.figures import cpu_us, tell
from ironic_lite.clock import SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool
from ironic_lite.metrics import Registry, exposition

ROUNDS = 5
OURS, LIBRARY = "metrics.py", "prometheus_client"
PROGRAM = """
import gc, json, sys, time
from choices import scrape
from ironic_lite import options
options.declare()
def private_mib():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
gc.collect()
before_s, before_mib = time.process_time(), private_mib()
scrape.SCRAPES[sys.argv[1]]()()
print(json.dumps([(time.process_time() - before_s) * 1000, private_mib() - before_mib]))
"""


def pool() -> TaskPool:
    return TaskPool("here", 300, [Kind(f"kind {number}", 8, 8) for number in range(5)], SystemClock())


def ours() -> Callable[[], object]:
    told = pool()
    registry = Registry("conductor")
    registry.add(lambda: told.stats().samples())
    return lambda: exposition([registry.collect()])


def library() -> Callable[[], object]:
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  # its price is the question
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric  # noqa: PLC0415
    from prometheus_client.registry import Collector  # noqa: PLC0415

    told = pool()

    class Told(Collector):
        def collect(self) -> Iterable[Metric]:
            families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
            for sample in told.stats().samples():
                one = sample.family
                if one.name not in families:
                    made = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
                    families[one.name] = made(one.name, one.help, labels=("worker", *one.labels))
                families[one.name].add_metric(["conductor", *(value for _, value in sample.labels)], sample.value)
            return families.values()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Told())
    return lambda: generate_latest(registry)


SCRAPES = {OURS: ours, LIBRARY: library}


def first(which: str) -> tuple[float, float]:
    """CPU milliseconds and private MiB of the first scrape: medians."""
    argv = [sys.executable, "-c", PROGRAM, which]
    found = [json.loads(subprocess.run(argv, capture_output=True, check=True).stdout) for _ in range(ROUNDS)]
    return statistics.median(ms for ms, _ in found), statistics.median(mib for _, mib in found)


def main() -> None:
    costs = {which: first(which) for which in SCRAPES}
    tell("private MiB that the first scrape adds", {who: mib for who, (_, mib) in costs.items()}, baseline=LIBRARY)
    tell("CPU ms of the first scrape, imports included", {who: ms for who, (ms, _) in costs.items()}, baseline=LIBRARY)
    tell(
        "CPU us of each scrape after it", {who: cpu_us(make(), 200) for who, make in SCRAPES.items()}, baseline=LIBRARY
    )


if __name__ == "__main__":
    main()
