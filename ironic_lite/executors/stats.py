"""What a pool tells of itself: one picture, taken under the pool's lock; for Prometheus, and as a line of the log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from ironic_lite.executors.kinds import Line
from ironic_lite.metrics import Family, Sample, counter, gauge


class KindStats(msgspec.Struct, frozen=True):
    """One kind. Times are seconds over all its tasks so far; `busy` includes places set aside for slots.

    A task that is run by who waits for it is counted here when it ends, and takes no place: `busy` is without it.
    """

    name: str
    limit: int
    busy: int
    queued: int
    refused: int
    executed: int
    failed: int
    cancelled: int
    wait_s: float
    mean_wait_s: float
    max_wait_s: float
    run_s: float
    mean_run_s: float
    max_run_s: float
    longest: str | None
    longest_s: float


class PoolStats(msgspec.Struct, frozen=True):
    """The pool. Longest: the task that runs longest, and for how many seconds.

    Idle: threads that are parked; resident: those that do no tasks (loops); the rest of `threads` run one, or wait
    within one. Lent: places whose holders wait and that others may use; when these go on, `busy` may pass `limit`.
    """

    name: str
    limit: int
    reserved: int
    threads: int
    idle: int
    resident: int
    busy: int
    lent: int
    queued: int
    refused: int
    executed: int
    failed: int
    cancelled: int
    longest: str | None
    longest_s: float
    kinds: tuple[KindStats, ...]

    def samples(self) -> Iterator[Sample]:
        """The picture for Prometheus. Names of tasks are left out: they have no bound."""
        for family, of_pool_value in _OF_POOL:
            yield family.at(of_pool_value(self), self.name)
        for family, value in _OF_KIND:
            for kind in self.kinds:
                yield family.at(value(kind), self.name, kind.name)


class LoopStats(msgspec.Struct, frozen=True):
    """What a loop is doing. Lag: by how many seconds its last sample was late, and the latest of all was."""

    name: str
    limit: int
    in_flight: int
    refused: int
    done: int
    longest: str | None
    longest_s: float
    lag_s: float
    max_lag_s: float

    def samples(self) -> Iterator[Sample]:
        """The picture for Prometheus."""
        for family, value in _OF_LOOP:
            yield family.at(value(self), self.name)


def of_kind(line: Line, longest: tuple[str | None, float]) -> KindStats:
    """The counts of one kind."""
    return KindStats(
        name=line.kind.name,
        limit=line.own.limit,
        busy=line.own.used,
        queued=line.waiting(),
        refused=line.refused,
        executed=line.executed,
        failed=line.failed,
        cancelled=line.cancelled,
        wait_s=line.wait_s,
        mean_wait_s=line.wait_s / max(1, line.executed),
        max_wait_s=line.max_wait_s,
        run_s=line.run_s,
        mean_run_s=line.run_s / max(1, line.executed),
        max_run_s=line.max_run_s,
        longest=longest[0],
        longest_s=longest[1],
    )


def of_pool(
    bounds: tuple[str, int, int], now: tuple[int, int, int, int, int], kinds: tuple[KindStats, ...]
) -> PoolStats:
    """The sums. Bounds: name, limit, reserved; now: threads, idle, resident, busy, lent."""
    longest = max(kinds, key=lambda kind: kind.longest_s)
    return PoolStats(
        *bounds,
        *now,
        queued=sum(kind.queued for kind in kinds),
        refused=sum(kind.refused for kind in kinds),
        executed=sum(kind.executed for kind in kinds),
        failed=sum(kind.failed for kind in kinds),
        cancelled=sum(kind.cancelled for kind in kinds),
        longest=longest.longest,
        longest_s=longest.longest_s,
        kinds=kinds,
    )


_OF_POOL: Final[tuple[tuple[Family, Callable[[PoolStats], float]], ...]] = (
    (gauge("ironic_lite_pool_limit", "Tasks of all kinds that may run at a time.", "pool"), lambda pool: pool.limit),
    (
        gauge("ironic_lite_pool_reserved", "Places of the limit that only critical kinds may take.", "pool"),
        lambda pool: pool.reserved,
    ),
    (gauge("ironic_lite_pool_threads", "Threads that the pool has.", "pool"), lambda pool: pool.threads),
    (gauge("ironic_lite_pool_idle", "Threads of the pool that are parked.", "pool"), lambda pool: pool.idle),
    (gauge("ironic_lite_pool_resident", "Threads of the pool that run a loop.", "pool"), lambda pool: pool.resident),
    (
        gauge("ironic_lite_pool_lent", "Places whose tasks wait for others, and that these may use.", "pool"),
        lambda pool: pool.lent,
    ),
)


_OF_LOOP: Final[tuple[tuple[Family, Callable[[LoopStats], float]], ...]] = (
    (
        gauge("ironic_lite_loop_limit", "Coroutines that may be in flight at a time.", "loop"),
        lambda loop: loop.limit,
    ),
    (gauge("ironic_lite_loop_in_flight", "Coroutines that are in flight.", "loop"), lambda loop: loop.in_flight),
    (
        counter("ironic_lite_loop_refused_total", "Coroutines refused because the limit was reached.", "loop"),
        lambda loop: loop.refused,
    ),
    (counter("ironic_lite_loop_done_total", "Coroutines that ended, well or not.", "loop"), lambda loop: loop.done),
    (
        gauge("ironic_lite_loop_longest_seconds", "Age of the coroutine that is in flight longest.", "loop"),
        lambda loop: loop.longest_s,
    ),
    (
        gauge("ironic_lite_loop_lag_seconds", "How late the loop was when last looked at, or is now.", "loop"),
        lambda loop: loop.lag_s,
    ),
    (
        gauge("ironic_lite_loop_lag_seconds_max", "How late the loop was at most so far.", "loop"),
        lambda loop: loop.max_lag_s,
    ),
)


def _of_kind(
    declare: Callable[..., Family], name: str, about: str, value: Callable[[KindStats], float]
) -> tuple[Family, Callable[[KindStats], float]]:
    return declare(f"ironic_lite_pool_{name}", about, "pool", "kind"), value


_OF_KIND: Final = (
    _of_kind(gauge, "cap", "Tasks of the kind that may run at a time.", lambda kind: kind.limit),
    _of_kind(gauge, "busy", "Tasks that run, and places set aside for one.", lambda kind: kind.busy),
    _of_kind(gauge, "queued", "Tasks that wait for a place.", lambda kind: kind.queued),
    _of_kind(counter, "refused_total", "Tasks refused because the queue was full.", lambda kind: kind.refused),
    _of_kind(counter, "executed_total", "Tasks that ended, well or not.", lambda kind: kind.executed),
    _of_kind(counter, "failed_total", "Tasks that ended with an error.", lambda kind: kind.failed),
    _of_kind(counter, "cancelled_total", "Tasks cancelled before they began.", lambda kind: kind.cancelled),
    _of_kind(counter, "wait_seconds_total", "Time that tasks waited for their place.", lambda kind: kind.wait_s),
    _of_kind(counter, "run_seconds_total", "Time that tasks ran.", lambda kind: kind.run_s),
    _of_kind(gauge, "wait_seconds_max", "Longest wait of a task so far.", lambda kind: kind.max_wait_s),
    _of_kind(gauge, "run_seconds_max", "Longest run of a task so far.", lambda kind: kind.max_run_s),
    _of_kind(gauge, "longest_seconds", "Age of the task that runs longest now.", lambda kind: kind.longest_s),
)


def told(pool: PoolStats, before: PoolStats | None, *, routine: Collection[str] = ()) -> str:
    """What happened since the picture taken `before`, in one line; empty if nothing did.

    Kinds whose work is `routine` are told of only when a task of theirs failed or was refused.
    """
    earlier = {kind.name: kind for kind in before.kinds} if before else {}
    lines = [_kind_told(kind, earlier.get(kind.name), routine=kind.name in routine) for kind in pool.kinds]
    news = "; ".join(line for line in lines if line)
    at_work = sum(kind.busy for kind in pool.kinds if kind.name not in routine)
    head = f"Pool {pool.name} has {at_work} of {pool.limit} at work and {pool.threads} threads; since last told"
    return news and f"{head}: {news}."


def _kind_told(kind: KindStats, before: KindStats | None, *, routine: bool) -> str:
    executed, failed, refused, cancelled, wait_s, run_s = (
        now - then for now, then in zip(_counts(kind), _counts(before) if before else (0,) * 6, strict=True)
    )
    if not (failed or refused) and (routine or not (executed or cancelled or kind.busy or kind.queued)):
        return ""
    counts = {"failed": failed, "refused": refused, "cancelled": cancelled, "at work": kind.busy, "queued": kind.queued}
    more = "".join(f", {count} {what}" for what, count in counts.items() if count)
    times = (
        f" (mean wait {wait_s / executed:.2f} s and run {run_s / executed:.2f} s; "
        f"longest ever {kind.max_wait_s:.2f} s and {kind.max_run_s:.2f} s)"
        if executed
        else ""
    )
    now = f", among them {kind.longest} for {kind.longest_s:.0f} s" if kind.longest else ""
    return f"{kind.name} {executed} done{times}{more}{now}"


def _counts(kind: KindStats) -> tuple[float, ...]:
    return kind.executed, kind.failed, kind.refused, kind.cancelled, kind.wait_s, kind.run_s
