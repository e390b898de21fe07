"""Our TaskPool beside futurist's executor as Ironic uses it, and concurrent.futures: refusal, shutdown, price."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

import futurist

from choices.figures import cpu_us, tell
from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.kinds import Kind
from ironic_lite.executors.taskpool import TaskPool

LIMIT = 100
TRIES = 100
SHUTDOWN_LIMIT_S = 3.0
ROUND_TRIPS = 2000
IRONIC = "futurist.Dynamic, rejecting as Ironic does"
FUTURIST = "futurist.DynamicThreadPoolExecutor"
STDLIB = "concurrent.futures.ThreadPoolExecutor"
OURS = "ironic_lite TaskPool"

Work = Callable[[], object]
Submit = Callable[[Work], object]


def reject_as_ironic(executor: futurist.DynamicThreadPoolExecutor, backlog: int) -> None:
    """Ironic 39's rule: backlog, this one and all threads, idle ones too, must fit."""
    if backlog + 1 + executor.num_workers > LIMIT:
        raise futurist.RejectedSubmission


def a_pool(limit: int) -> TaskPool:
    return TaskPool("bench", limit, [Kind("work", limit)], SystemClock())


def ours(pool: TaskPool) -> Submit:
    def submit(work: Work) -> None:
        def run() -> None:
            work()

        pool.slot("work", "work").run(run)

    return submit


def accepts(submit: Submit, work: Work) -> bool:
    try:
        submit(work)
    except (futurist.RejectedSubmission, errors.NoFreeWorker):
        return False
    return True


def accepted_after_burst(submit: Submit) -> int:
    """Fill the pool, let it drain, and submit again, one after the other: how many are accepted."""
    begun, go, ended = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    def piece() -> None:
        begun.release()
        go.wait()
        ended.release()

    for _ in range(LIMIT):
        submit(piece)
        begun.acquire()  # or Ironic's rule refuses before the pool is full, as it counts what is being handed over
    go.set()
    for _ in range(LIMIT):
        ended.acquire()
    threading.Event().wait(0.3)  # longer than a thread needs from its work's end to being idle
    taken = 0
    for _ in range(TRIES):
        if accepts(submit, ended.release):
            ended.acquire()
            taken += 1
        threading.Event().wait(0.002)
    return taken


def shutdown_s(submit: Submit, shut_down: Work) -> float | str:
    """Seconds of a shutdown during which a running task submits another one."""
    running, shutting_down = threading.Event(), threading.Event()

    def submits_late() -> None:
        running.set()
        shutting_down.wait()
        threading.Event().wait(0.2)  # the shutdown waits for this task by now
        with contextlib.suppress(RuntimeError, errors.Stopping):
            submit(int)

    submit(submits_late)
    running.wait()
    closer = threading.Thread(target=shut_down, daemon=True)
    began = time.monotonic()
    closer.start()
    shutting_down.set()
    closer.join(SHUTDOWN_LIMIT_S)
    return f"not in {SHUTDOWN_LIMIT_S:.0f} s" if closer.is_alive() else time.monotonic() - began


def shutdowns() -> dict[str, float | str]:
    clock = SystemClock()
    dynamic = futurist.DynamicThreadPoolExecutor(max_workers=4)
    stdlib = concurrent.futures.ThreadPoolExecutor(4)
    pool = a_pool(4)
    return {
        FUTURIST: shutdown_s(dynamic.submit, dynamic.shutdown),
        STDLIB: shutdown_s(stdlib.submit, stdlib.shutdown),
        OURS: shutdown_s(ours(pool), lambda: pool.drain(Deadline(clock, 10))),
    }


def round_trip_us(submit: Submit) -> float:
    """CPU from submitting an empty task to knowing that it ran."""
    ran = threading.Semaphore(0)

    def round_trip() -> None:
        submit(ran.release)
        ran.acquire()

    return cpu_us(round_trip, ROUND_TRIPS)


def main() -> None:
    ironic = futurist.DynamicThreadPoolExecutor(max_workers=LIMIT, check_and_reject=reject_as_ironic)
    tell(
        f"accepted of {TRIES} after a full burst, limit {LIMIT}",
        {
            IRONIC: accepted_after_burst(ironic.submit),
            OURS: accepted_after_burst(ours(a_pool(LIMIT))),
        },
        baseline=IRONIC,
    )
    tell("seconds of shutdown(wait=True) while a task submits", shutdowns(), baseline=FUTURIST)
    # On one core: whether the scheduler spreads two threads over cores changes each of the three fourfold, by chance.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tell(
        "CPU µs for one task's round trip, 8 workers, one core",
        {
            STDLIB: round_trip_us(concurrent.futures.ThreadPoolExecutor(8).submit),
            FUTURIST: round_trip_us(futurist.DynamicThreadPoolExecutor(max_workers=8).submit),
            OURS: round_trip_us(ours(a_pool(8))),
        },
        baseline=STDLIB,
    )
    sys.stdout.flush()
    os._exit(0)  # the executor that hangs would hold the interpreter


if __name__ == "__main__":
    main()
