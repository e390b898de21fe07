"""Waiting for work from within work: the one way to do it in a pool's thread.

Guarantees: (1) such a wait needs no free worker to end: what still stands in line is run by who waits for it, in its
thread and on its place, and what runs has a thread, so a pool that is full of parents ends as well; (2) work that
would wait for itself is told at once, through whichever tasks and pools of the process the chain goes; (3) whoever
waits for what runs lends its place meanwhile, if the pool lends one more (`Admission`), and has it back before it goes
on, without waiting for it; (4) nothing is begun that the stack has no room for. Lock order: `_waits` is taken alone.

A task that a waiter runs itself takes no place of its own kind: each parent of another kind may bring one more above
the kind's cap, and in all no more run than the pool has places.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.executors.runner import HERE, Runner
from ironic_lite.executors.task import Task

_FRAMES: Final = 60  # what beginning, ending and waiting need of the stack at most, doubled
_waits = threading.Lock()  # who waits for whom changes only under it, so that of two who close a ring one sees it


def wait(futures: Iterable[Future[Any]], deadline: Deadline) -> list[Future[Any]]:
    """Wait until all have ended, their failures included; those that the deadline finds unfinished are returned.

    The deadline cuts no task short that the waiter runs itself: like a function that is called, it returns when it
    does, and the deadline is asked before each. Raises `WouldDeadlock`, and `RecursionError` before it begins what is
    nested too deep.
    """
    pending = [one for one in futures if not one.done()]
    runner = HERE.runner
    waiter = runner.task if runner is not None else None
    if runner is None or waiter is None:
        concurrent.futures.wait(pending, deadline.left_s())
    elif pending:
        _demand_stack(_FRAMES)
        _wait_within(runner, waiter, pending, deadline)
    return [one for one in pending if not one.done()]


def _wait_within(runner: Runner, waiter: Task[Any], pending: Sequence[Future[Any]], deadline: Deadline) -> None:
    with _waits:
        _demand_no_ring(waiter, pending)
        waiter.awaits = pending
    try:
        for one in pending:
            if isinstance(one, Task) and not deadline.passed():
                one.pool.run_here(one, runner)
        if not all(one.done() for one in pending):
            with runner.pool.lent(runner.line):
                concurrent.futures.wait(pending, deadline.left_s())
    finally:
        waiter.awaits = ()


def _demand_no_ring(waiter: Task[Any], pending: Sequence[Future[Any]]) -> None:
    """Go along who waits for whom, and raise `WouldDeadlock` if that leads back to the waiter."""
    came_from: dict[Task[Any], Task[Any]] = {}
    ahead = [(waiter, one) for one in pending]
    while ahead:
        before, one = ahead.pop()
        if not isinstance(one, Task) or one in came_from:
            continue
        came_from[one] = before
        if one is waiter:
            raise errors.WouldDeadlock(waiter=waiter.name, chain=_described(came_from, waiter))
        ahead.extend((one, further) for further in one.awaits)


def _described(came_from: dict[Task[Any], Task[Any]], waiter: Task[Any]) -> str:
    names, one = [waiter.name], came_from[waiter]
    while one is not waiter:
        names.append(one.name)
        one = came_from[one]
    return ", which waits for ".join(reversed(names))


def _demand_stack(frames: int) -> None:
    """Raise `RecursionError` here, where nothing is begun, if there is no room for so many more calls."""
    if frames:
        _demand_stack(frames - 1)
