"""What a task costs: our TaskPool beside futurist's executors and concurrent.futures, alternating in one run.

    python benchmarks/executors.py

CPU microseconds of the process for one task: round trips (submit, wait for the result) and bursts (submit many, wait
for all); threads after the burst; wake-ups a second of the threads that are left idle. On one core, as whether the
scheduler spreads two threads over cores changes every figure fourfold, by chance.
"""

from __future__ import annotations

import concurrent.futures
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import futurist

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool

WORKERS = 8
ROUNDS = 7
TASKS = 2000
IDLE_FOR_S = 4.0
STDLIB = "concurrent.futures"

Submit = Callable[[Callable[[], Any]], concurrent.futures.Future[Any]]


class Candidate(NamedTuple):
    """One executor: how a task is given to it, and how it ends."""

    name: str
    submit: Submit
    close: Callable[[], object]


def task_pool() -> Candidate:
    pool = TaskPool("bench", WORKERS, [Kind("work", WORKERS, queue=TASKS)], SystemClock(), idle_s=2.0)

    def submit(work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
        return pool.submit("work", "bench", work)

    return Candidate("TaskPool", submit, lambda: pool.drain(Deadline(SystemClock(), 10)))


def candidates() -> list[Candidate]:
    stdlib = concurrent.futures.ThreadPoolExecutor(WORKERS)
    plain = futurist.ThreadPoolExecutor(WORKERS)
    dynamic = futurist.DynamicThreadPoolExecutor(WORKERS)
    return [
        Candidate(STDLIB, stdlib.submit, stdlib.shutdown),
        Candidate("futurist", plain.submit, plain.shutdown),
        Candidate("futurist dynamic", dynamic.submit, dynamic.shutdown),
        task_pool(),
    ]


def round_trips(submit: Submit) -> None:
    for _ in range(TASKS):
        submit(int).result()


def burst(submit: Submit) -> None:
    for future in [submit(int) for _ in range(TASKS)]:
        future.result()


def cpu_us(work: Callable[[Submit], None], submit: Submit) -> float:
    began = time.process_time()
    work(submit)
    return (time.process_time() - began) / TASKS * 1e6


def switches() -> int:
    """How often this process's threads went to sleep so far."""
    text = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
    lines = [line for one in text for line in one.splitlines() if line.startswith("voluntary_ctxt_switches")]
    return sum(int(line.split()[1]) for line in lines)


def left_idle(candidate: Candidate) -> tuple[int, float]:
    """Threads after a burst of tasks that block, and wake-ups a second once idle threads had time to go."""
    before, gate = threading.active_count(), threading.Event()
    held = [candidate.submit(gate.wait) for _ in range(WORKERS)]
    gate.set()
    for one in held:
        one.result()
    threads = threading.active_count() - before
    never = threading.Event()
    never.wait(IDLE_FOR_S)
    first = switches()
    never.wait(IDLE_FOR_S)
    return threads, (switches() - first - 1) / IDLE_FOR_S  # one is our own wait


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    figures: dict[str, dict[str, list[float]]] = {}
    for number in range(ROUNDS + 1):
        for one in candidates():
            found = figures.setdefault(one.name, {"round trip": [], "burst": []})
            for name, work in (("round trip", round_trips), ("burst", burst)):
                cost = cpu_us(work, one.submit)
                if number:  # the first round warms up
                    found[name].append(cost)
            one.close()
    print(
        f"{'':18} {'round trip µs':>14} {'x stdlib':>9} {'burst µs':>9} {'x stdlib':>9} {'threads':>8} {'wakes/s':>8}"
    )
    medians = {name: {key: statistics.median(found[key]) for key in found} for name, found in figures.items()}
    threading.Event().wait(2.0)  # futurist's threads end within a second of their own polling
    for one in candidates():
        mine, base = medians[one.name], medians[STDLIB]
        threads, wakes = left_idle(one)
        one.close()
        threading.Event().wait(2.0)
        ratios = [mine[key] / base[key] for key in ("round trip", "burst")]
        print(
            f"{one.name:18} {mine['round trip']:14.1f} {ratios[0]:9.2f} {mine['burst']:9.1f} {ratios[1]:9.2f} "
            f"{threads:8} {wakes:8.2f}"
        )


if __name__ == "__main__":
    main()
