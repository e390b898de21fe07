"""CPU microseconds of a task, on one core, as JSON; run by the interpreter of a build, whose package it imports."""

from __future__ import annotations

import json
import os
import time

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool

WORKERS = 8
TASKS = 2000
REPETITIONS = 7


def round_trips(pool: TaskPool) -> None:
    for _ in range(TASKS):
        pool.submit("work", "regression", int).result()


def burst(pool: TaskPool) -> None:
    for task in [pool.submit("work", "regression", int) for _ in range(TASKS)]:
        task.result()


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pool = TaskPool("regression", WORKERS, [Kind("work", WORKERS, queue=TASKS)], SystemClock())
    found = {}
    for name, work in (("round trip", round_trips), ("burst", burst)):
        costs = []
        for _ in range(REPETITIONS):
            began = time.process_time()
            work(pool)
            costs.append((time.process_time() - began) / TASKS * 1e6)
        found[name] = min(costs)
    pool.drain(Deadline(SystemClock(), 10))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
