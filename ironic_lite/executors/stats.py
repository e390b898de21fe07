"""What a pool tells of itself: one picture, taken under the pool's lock."""

from __future__ import annotations

import msgspec

from ironic_lite.executors.kinds import Line


class KindStats(msgspec.Struct, frozen=True):
    """One kind. Times are seconds over all its tasks so far; `busy` includes places set aside for slots."""

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
    """The pool. Longest: the task that runs longest, and for how many seconds. Idle: threads that are parked."""

    name: str
    limit: int
    reserved: int
    threads: int
    idle: int
    busy: int
    queued: int
    refused: int
    executed: int
    failed: int
    cancelled: int
    longest: str | None
    longest_s: float
    kinds: tuple[KindStats, ...]


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


def of_pool(bounds: tuple[str, int, int], now: tuple[int, int, int], kinds: tuple[KindStats, ...]) -> PoolStats:
    """The sums. Bounds: name, limit, reserved; now: threads, idle, busy."""
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
