"""What the settings add up to, and what to set instead: arithmetic over numbers that are given, nothing is read here.

Each judgement is one function: silent when healthy, else a sentence with its arithmetic and the values that would make
it silent. No two of them pull an option in opposite directions, so that following their advice comes to an end.
`docs/advice.md` explains each cause.

Assumed, as nothing was measured yet when they are asked:
- a healthy BMC takes `VISIT_S` for a visit; `DEAD_SHARE` of the BMCs are dead at any time, and cost `poll_timeout`;
- a visit costs `VISIT_CPU_S` of processor time: of a thread 2 to 6 ms with a login over IPMI, 1.5 ms with sushy over a
  kept connection; of a coroutine 0.2 ms; and half of the processors should be left to all else;
- a transaction holds a connection to the database for `TRANSACTION_S`;
- memory: `SERVICE_MIB` for the three processes at rest (90 MiB of PSS on Python 3.11), `API_MIB` for each API process
  beyond the first, `WORKER_KIB` for each thread when all are at work (80 to 110 KiB stay in the heap for
  moderate work: a TLS GET, its JSON, a transaction), `BMC_KIB` for a kept TLS connection (34 KiB; sushy's
  objects, 40 KiB more, are kept for at most 1,000 BMCs). A tenth of the limit is left free.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Literal

import msgspec

from ironic_lite.conductor.kinds import HOUSE_KEEPING_AT_A_TIME, share

VISIT_S: Final = 0.5
DEAD_SHARE: Final = 0.05
VISIT_CPU_S: Final = {"threads": 0.005, "coroutines": 0.0003}
FOR_VISITS: Final = 0.5  # of the processors
TRANSACTION_S: Final = 0.1
SERVICE_MIB: Final = 100
API_MIB: Final = 30
WORKER_KIB: Final = 110
BMC_KIB: Final = 40
FREE_PERCENT: Final = 10  # of the memory
OWN_FILES: Final = 64  # logs, listeners, pipes, epoll: an idle conductor has 15
CLIENT_PATIENCE_S: Final = 30  # openstacksdk's and ironicclient's callers give up, or ask again, after that
ANSWER_S: Final = 5  # what a call needs beside its BMC: the database, the lock, the way back
BEATS: Final = 3  # a conductor that misses two heartbeats in a row is not dead yet
LARGE_POOL: Final = 300  # the default; beyond it a kind's cap is what is wrong, not the pool

# Each field that is an option, by the name that operators know.
OPTIONS: Final = {
    "workers_pool_size": "[conductor]workers_pool_size",
    "reserved_workers_pool_percentage": "[conductor]reserved_workers_pool_percentage",
    "sync_power_state_workers": "[conductor]sync_power_state_workers",
    "periodic_max_workers": "[conductor]periodic_max_workers",
    "sensor_workers": "[sensor_data]workers",
    "sync_power_state_interval": "[conductor]sync_power_state_interval",
    "poll_engine": "[conductor]poll_engine",
    "poll_concurrency": "[conductor]poll_concurrency",
    "poll_timeout": "[conductor]poll_timeout",
    "synchronous_call_timeout": "[conductor]synchronous_call_timeout",
    "heartbeat_interval": "[conductor]heartbeat_interval",
    "heartbeat_timeout": "[conductor]heartbeat_timeout",
    "rpc_threads": "[json_rpc]threads",
    "rpc_timeout": "[json_rpc]timeout",
    "max_pool_size": "[database]max_pool_size",
    "pool_timeout": "[database]pool_timeout",
    "statement_timeout": "[database]statement_timeout",
    "connection_cache_size": "[redfish]connection_cache_size",
}
# What is not an option but can be changed as well.
LIMITS: Final = {
    "memory_mib": "the memory limit of the service in MiB (systemd's MemoryMax, a container's limit)",
    "open_files": "the limit of open files (systemd's LimitNOFILE, ulimit -Hn)",
}


class Cause(StrEnum):
    """Why there is advice: what the log calls it and `docs/advice.md` explains."""

    SYNC_TOO_SLOW = "sync-too-slow"
    SYNC_STALLS = "sync-stalls"
    PROCESSORS = "processors"
    NO_EFFECT = "no-effect"
    ACTIONS_CROWDED_OUT = "actions-crowded-out"
    MEMORY = "memory"
    OPEN_FILES = "open-files"
    DATABASE = "database"
    HEARTBEAT = "heartbeat"
    CLIENTS_GIVE_UP = "clients-give-up"
    RPC_GIVES_UP = "rpc-gives-up"
    SYNC_BEHIND = "sync-behind"
    SENSORS_BEHIND = "sensors-behind"
    WORKERS_SHORT = "workers-short"


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The options by their names, and the surroundings. Sizes and times as the options have them.

    `nodes`: those of this conductor. `api_threads`: of each API process that shares the limits, one entry a process.
    `connections`: clients that JSON-RPC's server may have.
    """

    workers_pool_size: int
    reserved_workers_pool_percentage: int
    sync_power_state_workers: int
    periodic_max_workers: int
    sensor_workers: int
    sync_power_state_interval: int
    poll_engine: str
    poll_concurrency: int
    poll_timeout: int
    synchronous_call_timeout: int
    heartbeat_interval: int
    heartbeat_timeout: int
    rpc_threads: int
    rpc_timeout: int
    max_pool_size: int
    pool_timeout: int
    statement_timeout: int
    connection_cache_size: int
    nodes: int
    api_threads: tuple[int, ...]
    connections: int
    memory_mib: int
    open_files: int
    processors: float

    @property
    def open_to_all(self) -> int:
        """Workers that are not reserved for actions."""
        return self.workers_pool_size - share(self.workers_pool_size, self.reserved_workers_pool_percentage)

    @property
    def sync_workers(self) -> int:
        """Nodes that the power sync really visits at a time."""
        return min(self.sync_power_state_workers, self.periodic_max_workers)

    @property
    def recurring(self) -> int:
        """Workers that recurring work can hold at a time."""
        return self.sync_workers + self.periodic_max_workers + self.sensor_workers + HOUSE_KEEPING_AT_A_TIME

    @property
    def sync_room(self) -> int:
        """The most workers that power sync and power recovery may have each without crowding out actions."""
        left_to_actions = 0 if self.open_to_all < self.workers_pool_size else 1
        return (self.open_to_all - left_to_actions - self.sensor_workers - HOUSE_KEEPING_AT_A_TIME) // 2

    @property
    def smallest_pool(self) -> int:
        """Workers with which recurring work leaves the reserved ones, at least one, to actions."""
        percentage, wanted = self.reserved_workers_pool_percentage, self.recurring
        return next(size for size in itertools.count(wanted + 1) if size - share(size, percentage) >= wanted)

    @property
    def kept_bmcs(self) -> int:
        """BMCs to which a connection is kept."""
        return min(self.nodes, self.connection_cache_size)


class Change(msgspec.Struct, frozen=True):
    """One value to set; `name` is a field of `Setup`."""

    name: str
    bound: Literal["at least", "at most"]
    value: int

    def __str__(self) -> str:
        return f"{(OPTIONS | LIMITS)[self.name]} to {self.bound} {self.value}"


class Advice(msgspec.Struct, frozen=True):
    """What is wrong, with its arithmetic in whole sentences, and all that is to be set to mend it."""

    cause: Cause
    finding: str
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return f"{self.finding} Set {' and '.join(map(str, self.changes))}. ({self.cause})"


def judge(setup: Setup) -> list[Advice]:
    """All that is to be said about these settings; nothing when they are healthy."""
    return [advice for one in JUDGEMENTS if (advice := one(setup)) is not None]


def with_more_workers(setup: Setup, wanted: int) -> tuple[Change, ...]:
    """So many for the power sync: the smaller of two options is what counts."""
    fields = {name: getattr(setup, name) for name in ("sync_power_state_workers", "periodic_max_workers")}
    return tuple(Change(name, "at least", wanted) for name, value in fields.items() if value < wanted)


def _power_sync(setup: Setup) -> Advice | None:
    """Whether threads can visit every node once in an interval, with the dead BMCs that there always are."""
    if setup.poll_engine != "threads":
        return None
    workers, interval_s = setup.sync_workers, setup.sync_power_state_interval
    budget_s, healthy_s = workers * interval_s, setup.nodes * VISIT_S
    dead = math.ceil(setup.nodes * DEAD_SHARE)
    needed_s = healthy_s + dead * (setup.poll_timeout - VISIT_S)
    if interval_s == 0 or needed_s <= budget_s:
        return None
    has = (
        f"The power sync has {workers} workers x {interval_s} s = {budget_s} s for its visits in each interval; "
        f"{setup.nodes} healthy nodes need {setup.nodes} x {VISIT_S} s = {healthy_s:g} s"
    )
    wanted = min(math.ceil(needed_s / interval_s), max(workers, setup.sync_room))
    changes = with_more_workers(setup, wanted)
    if wanted * interval_s < needed_s:
        changes += (Change("sync_power_state_interval", "at least", math.ceil(needed_s / wanted)),)
    if healthy_s > budget_s:
        return Advice(Cause.SYNC_TOO_SLOW, f"{has}: no node is visited as often as it should be.", changes)
    borne = int((budget_s - healthy_s) / (setup.poll_timeout - VISIT_S))
    stalls = (
        f"{has}, and a dead BMC holds a worker for poll_timeout = {setup.poll_timeout} s: at most {borne} dead BMCs "
        f"can be borne, and {dead} ({DEAD_SHARE:.0%} of the nodes) must be expected."
    )
    return Advice(Cause.SYNC_STALLS, stalls, changes)


def _processors(setup: Setup) -> Advice | None:
    """Whether the processors, or the quota of them, can carry the visits."""
    visit_s = VISIT_CPU_S[setup.poll_engine]
    interval_s, needed_s = setup.sync_power_state_interval, setup.nodes * visit_s
    each_s = setup.processors * FOR_VISITS
    wanted = math.ceil(needed_s / each_s)
    if interval_s == 0 or interval_s >= wanted:
        return None
    finding = (
        f"The power sync's visits may need {setup.nodes} nodes x {visit_s * 1000:g} ms = {needed_s:g} s of "
        f"processor time in each interval of {interval_s} s, and half of {setup.processors:g} processors gives "
        f"{interval_s * each_s:g} s."
    )
    return Advice(Cause.PROCESSORS, finding, (Change("sync_power_state_interval", "at least", wanted),))


def _no_effect(setup: Setup) -> Advice | None:
    """Whether an option is overruled by another."""
    sync, all_recurring = setup.sync_power_state_workers, setup.periodic_max_workers
    if sync <= all_recurring:
        return None
    finding = (
        f"sync_power_state_workers = {sync} has no effect beyond periodic_max_workers = {all_recurring}: the power "
        f"sync visits {all_recurring} nodes at a time."
    )
    fits = sync <= setup.sync_room
    change = (
        Change("periodic_max_workers", "at least", sync)
        if fits
        else Change("sync_power_state_workers", "at most", all_recurring)
    )
    return Advice(Cause.NO_EFFECT, finding, (change,))


def _actions_crowded_out(setup: Setup) -> Advice | None:
    """Whether recurring work can take every worker that actions may use, but for the reserved ones."""
    size, open_to_all, wanted = setup.workers_pool_size, setup.open_to_all, setup.recurring
    if size >= setup.smallest_pool:
        return None
    finding = (
        f"Recurring work may hold power sync {setup.sync_workers} + power recovery {setup.periodic_max_workers} + "
        f"sensors {setup.sensor_workers} + house-keeping {HOUSE_KEEPING_AT_A_TIME} = {wanted} workers, and of {size} "
        f"only {size} - {size - open_to_all} reserved = {open_to_all} are not for actions alone: clients may be "
        "refused while BMCs hang."
    )
    if setup.smallest_pool <= LARGE_POOL:
        return Advice(
            Cause.ACTIONS_CROWDED_OUT, finding, (Change("workers_pool_size", "at least", setup.smallest_pool),)
        )
    third = max(1, (open_to_all - HOUSE_KEEPING_AT_A_TIME - 1) // 3)
    caps = ("sync_power_state_workers", "periodic_max_workers", "sensor_workers")
    changes = tuple(Change(name, "at most", third) for name in caps if getattr(setup, name) > third)
    return Advice(Cause.ACTIONS_CROWDED_OUT, finding, changes)


def _memory(setup: Setup) -> Advice | None:
    """Whether everything at work at the same time fits into the memory."""
    usable_kib = setup.memory_mib * 1024 * (100 - FREE_PERCENT) // 100
    processes_mib = SERVICE_MIB + API_MIB * max(0, len(setup.api_threads) - 1)
    threads = setup.rpc_threads + sum(setup.api_threads)
    base_kib, bmcs_kib = processes_mib * 1024 + threads * WORKER_KIB, setup.kept_bmcs * BMC_KIB
    needed_kib = base_kib + setup.workers_pool_size * WORKER_KIB + bmcs_kib
    if needed_kib <= usable_kib:
        return None
    finding = (
        f"The service may need {processes_mib} MiB at rest + ({setup.workers_pool_size} workers + {threads} threads of "
        f"JSON-RPC and API) x {WORKER_KIB} KiB + {setup.kept_bmcs} kept connections to BMCs x {BMC_KIB} KiB = "
        f"{needed_kib // 1024} MiB, and its limit is {setup.memory_mib} MiB, of which {FREE_PERCENT} % should stay "
        "free."
    )
    workers = (usable_kib - base_kib - bmcs_kib) // WORKER_KIB
    if workers >= setup.smallest_pool:
        return Advice(Cause.MEMORY, finding, (Change("workers_pool_size", "at most", workers),))
    fewest = min(setup.workers_pool_size, setup.smallest_pool)
    kept = (usable_kib - base_kib - fewest * WORKER_KIB) // BMC_KIB
    if kept < 1:
        enough = -(-needed_kib * 100 // ((100 - FREE_PERCENT) * 1024))
        return Advice(Cause.MEMORY, finding, (Change("memory_mib", "at least", enough),))
    fewer = (Change("workers_pool_size", "at most", fewest),) if fewest < setup.workers_pool_size else ()
    return Advice(Cause.MEMORY, finding, (*fewer, Change("connection_cache_size", "at most", kept)))


def _open_files(setup: Setup) -> Advice | None:
    """Whether every connection that may be there at a time has a file descriptor."""
    others = OWN_FILES + setup.connections + setup.max_pool_size
    to_bmcs = min(setup.nodes, setup.connection_cache_size + setup.workers_pool_size)
    if others + to_bmcs <= setup.open_files:
        return None
    finding = (
        f"The conductor may need {OWN_FILES} files of its own + {setup.connections} connections of JSON-RPC + "
        f"{setup.max_pool_size} to the database + {to_bmcs} to BMCs = {others + to_bmcs} open files, and may have "
        f"{setup.open_files}."
    )
    kept = setup.open_files - others - setup.workers_pool_size
    change = (
        Change("connection_cache_size", "at most", kept)
        if kept >= 1
        else Change("open_files", "at least", others + to_bmcs)
    )
    return Advice(Cause.OPEN_FILES, finding, (change,))


def _database(setup: Setup) -> Advice | None:
    """Whether the last of all threads gets a connection in time when all ask at once."""
    threads, size, patience_s = setup.workers_pool_size + setup.rpc_threads, setup.max_pool_size, setup.pool_timeout
    busy_s = threads * TRANSACTION_S
    wanted = math.ceil(busy_s / patience_s)
    if size >= wanted:
        return None
    finding = (
        f"{setup.workers_pool_size} workers + {setup.rpc_threads} threads of JSON-RPC share {size} connections to "
        f"the database: the last gets one after {threads} x {TRANSACTION_S} s / {size} = {busy_s / size:.1f} s, and "
        f"pool_timeout is {patience_s} s."
    )
    return Advice(Cause.DATABASE, finding, (Change("max_pool_size", "at least", wanted),))


def _heartbeat(setup: Setup) -> Advice | None:
    """Whether a conductor that lives can be taken for dead."""
    interval_s, timeout_s = setup.heartbeat_interval, setup.heartbeat_timeout
    late_s = interval_s + setup.pool_timeout + setup.statement_timeout
    wanted = max(BEATS * interval_s, late_s)
    if timeout_s >= wanted:
        return None
    finding = (
        f"A conductor counts as dead after heartbeat_timeout = {timeout_s} s, but {BEATS} heartbeats take {BEATS} x "
        f"{interval_s} s = {BEATS * interval_s} s, and one that waits for the database may come {interval_s} + "
        f"{setup.pool_timeout} + {setup.statement_timeout} = {late_s} s after the one before."
    )
    return Advice(Cause.HEARTBEAT, finding, (Change("heartbeat_timeout", "at least", wanted),))


def _clients_give_up(setup: Setup) -> Advice | None:
    """Whether clients still wait when a call that waits for a BMC is given up."""
    longest_s, call_s = CLIENT_PATIENCE_S - ANSWER_S, setup.synchronous_call_timeout
    if call_s <= longest_s:
        return None
    finding = (
        f"A call may wait for its BMC for synchronous_call_timeout = {call_s} s, and clients give up after "
        f"{CLIENT_PATIENCE_S} s, of which {ANSWER_S} s are for all else: they never learn what went wrong."
    )
    return Advice(Cause.CLIENTS_GIVE_UP, finding, (Change("synchronous_call_timeout", "at most", longest_s),))


def _rpc_gives_up(setup: Setup) -> Advice | None:
    """Whether the API still waits when a conductor gives up a call that waits for a BMC."""
    wanted = setup.synchronous_call_timeout + ANSWER_S
    if setup.rpc_timeout >= wanted:
        return None
    finding = (
        f"The API gives up on a conductor after {setup.rpc_timeout} s ([json_rpc]timeout), which may wait for a BMC "
        f"for synchronous_call_timeout = {setup.synchronous_call_timeout} s + {ANSWER_S} s for all else = {wanted} s."
    )
    return Advice(Cause.RPC_GIVES_UP, finding, (Change("rpc_timeout", "at least", wanted),))


JUDGEMENTS: Final[tuple[Callable[[Setup], Advice | None], ...]] = (
    _power_sync, _processors, _no_effect, _actions_crowded_out, _memory, _open_files, _database, _heartbeat,
    _clients_give_up, _rpc_gives_up,
)  # fmt: skip
