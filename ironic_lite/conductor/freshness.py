"""How old the picture of a machine's power may get: who is asked next, and what an answer sets off.

*Guarantees.* (1) Each node that is ours and free is asked so often that its power is known at most
`sync_power_state_interval` ago, as long as its BMC answers; a BMC that fails is asked less often, in a lane of its own
with few places, so that no number of dead ones puts off a healthy one. (2) A node has one question under way at a time;
who wants a fresh answer meanwhile shares it. (3) An answer counts only if the node's row is, for all this process
knows, as it was when the BMC was asked; it triggers no action by itself: whatever writes or acts reads the row anew, in
the pool (`conductor.powersync`). (4) Nothing here asks the database. (5) What fails while our own network or
processor is at fault (`conductor.fate`) is held against nobody.
All state is used on the I/O loop alone; other threads come in by `IO.call`, so they never wait here and no lock is
needed. `known` and `all_known` read one reference and may be called by any thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.conductor import powersync
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.context import conf as context_conf
from ironic_lite.conductor.fate import AT_LEAST, WINDOW_S, SharedFate
from ironic_lite.conductor.picture import Bmc, Mode, Seen, View, news, view
from ironic_lite.config import Int, Section, Str
from ironic_lite.db import nodes
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import NeedsThread, Reading
from ironic_lite.executors.pacing import Pacer, PaceStats, next_turn

LOG = logging.getLogger(__name__)

# A tenth of the interval is for the answer to come in, so that no state is older than the interval.
PERIOD_PART: Final = 0.9
PROBES: Final = 64
CATCH_UP_S: Final = 2.0  # in which a backlog is worked off, if the bound allows it
LEAST_IN_FLIGHT: Final = 64
AGAIN_S: Final = 1.0  # when no thread is free
FLUSH_S: Final = 0.25
FLUSH_ROWS: Final = 500
FAILURES: Final = (errors.BMCError, errors.Invalid, errors.DriverNotFound)
ENGINES: Final = ("coroutines", "threads")


class conf(Section, name="conductor"):
    """How fresh, and how."""

    sync_power_state_interval = Int(
        60, min=0, help="Seconds that the recorded power state of a node may be old, while its BMC answers; 0: no sync."
    )
    power_failure_recovery_interval = Int(
        300, min=0, help="Seconds between two visits to a node that is in maintenance because its BMC failed; 0: never."
    )
    poll_engine = Str(
        "coroutines",
        choices=ENGINES,
        help="What asks BMCs for their power: coroutines on one thread where the driver has them, or threads alone.",
    )
    poll_concurrency = Int(
        5000, min=1, mutable=True, help="BMCs that coroutines may be asking at a time; threads are bounded as ever."
    )


class FreshnessStats(msgspec.Struct, frozen=True):
    """What is known of the nodes that are ours, and what is being done about it. Ages in seconds.

    `late`: their power is older than `sync_power_state_interval`. `unseen`: never answered yet. `open_breakers`: their
    BMCs are only probed. `second_looks`: differences that wait for one. `unwritten`: nodes of which something is new.
    """

    nodes: int
    synced: int
    recovering: int
    late: int
    unseen: int
    oldest_s: float
    open_breakers: int
    second_looks: int
    unwritten: int
    outcomes: dict[str, int]
    lanes: tuple[PaceStats, ...]


class Lane:
    """One of the ways to ask, with room of its own. `kind` is the pool's, for those that take a thread."""

    def __init__(self, name: str, kind: Work | None, limit: Callable[[], int], owner: Freshness) -> None:
        self.kind = kind
        self.pacer = Pacer(name, functools.partial(owner.visit, self), limit, owner.fate_is_late)


class Freshness:
    """The questions of one conductor."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        conductor.freshness = self
        self._threads = conf.poll_engine == "threads"
        self._seen: dict[str, Seen] = {}
        self._bmcs: weakref.WeakValueDictionary[str, Bmc] = weakref.WeakValueDictionary()
        self._fate = SharedFate()
        self._accused: deque[tuple[float, Seen, errors.Error]] = deque()
        self._verdict: asyncio.TimerHandle | None = None
        self._news: dict[str, Reading] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self._usual_s = 1.0  # how long a question takes of late
        self._outcomes: Counter[str] = Counter()
        self._running = False
        self._lanes: dict[tuple[bool, bool], Lane] = {}  # by (takes a thread, probes)

    # For any thread.

    def start(self) -> None:
        """Ask whoever is put before us from here on."""
        self._running = True
        IO.call(self._open)

    def stop(self) -> None:
        """Ask nobody any more; answers that come count for nothing."""
        if self._running:
            self._running = False
            IO.call(self._close)

    def place(self, rows: Iterable[Node], gone: Iterable[str] = ()) -> None:
        """Take over rows as they were read or written; an older row than the one we have is ignored."""
        views = [view(row, self.known(row.uuid), threads=self._threads) for row in rows]
        gone = list(gone)
        if self._running and (views or gone):
            IO.call(self._place, views, gone)

    def known(self, uuid: str) -> View | None:
        """What we take the node's row to be."""
        seen = self._seen.get(uuid)
        return seen.view if seen is not None else None

    def all_known(self) -> dict[str, int]:
        """The revision of each node that we have."""
        return {uuid: seen.view.revision for uuid, seen in list(self._seen.items())}

    def hint(self, uuid: str) -> None:
        """Something may have happened to the machine: ask now."""
        if self._running:
            IO.call(self._ask_now, uuid)

    def second_look(self, row: Node | None, uuid: str) -> None:
        """Ask again and let the answer decide, if the row is still to be compared; None if it is not."""
        if row is not None:
            self.place([row])
        if self._running:
            IO.call(self._look_again, uuid, row is not None)

    def look(self, uuid: str, max_age_s: float) -> concurrent.futures.Future[Seen]:
        """The node as it is known when that is at most so old; all who ask at the same time share one question.

        The future's result is for reading. It raises the `BMC...` errors, `NodeNotFound`, `Stopping`.
        """
        answer: concurrent.futures.Future[Seen] = concurrent.futures.Future()
        if not self._running or not IO.call(self._answer_when_seen, uuid, max_age_s, answer):
            answer.set_exception(errors.Stopping(what="The power sync"))
        return answer

    def stats(self) -> FreshnessStats:
        """One moment of it. Asks nobody."""
        every, now = list(self._seen.values()), self._now()
        synced = [seen for seen in every if seen.view.mode == Mode.SYNC]
        ages = [now - seen.at for seen in synced if seen.at is not None]
        return FreshnessStats(
            nodes=len(every),
            synced=len(synced),
            recovering=sum(seen.view.mode == Mode.RECOVERY for seen in every),
            late=sum(age > conf.sync_power_state_interval for age in ages),
            unseen=len(synced) - len(ages),
            oldest_s=max(ages, default=0.0),
            open_breakers=sum(seen.bmc.is_open for seen in every),
            second_looks=sum(seen.suspect or seen.second_look for seen in every),
            unwritten=len(self._news),
            outcomes=dict(self._outcomes),
            lanes=tuple(lane.pacer.stats() for lane in self._lanes.values()),
        )

    # On the loop.

    def _open(self) -> None:
        pool = self._conductor.pool
        self._lanes = {
            (False, False): Lane("coroutines", None, self._room, self),
            (False, True): Lane("probes", None, lambda: PROBES, self),
            (True, False): Lane("threads", Work.POWER_SYNC, lambda: pool.cap(Work.POWER_SYNC), self),
            (True, True): Lane("probing threads", Work.POWER_RECOVERY, lambda: pool.cap(Work.POWER_RECOVERY), self),
        }

    def _close(self) -> None:
        for lane in self._lanes.values():
            lane.pacer.stop()
        for timer in (self._verdict, self._flushing):
            if timer is not None:
                timer.cancel()
        for seen in self._seen.values():
            self._tell(seen, errors.Stopping(what="The power sync"))

    def fate_is_late(self, lag_s: float) -> None:
        """A tick began so late."""
        self._fate.late(self._now(), lag_s)

    def _now(self) -> float:
        return self._conductor.clock.monotonic()

    def _room(self) -> int:
        """As many at a time as keeps up with the turns, and works off what is late (Little's law)."""
        lane = self._lanes[False, False].pacer
        rate = len(self._seen) / self._period_s(Mode.SYNC) if conf.sync_power_state_interval else 0.0
        wanted = self._usual_s * (rate + lane.due() / CATCH_UP_S)
        return min(conf.poll_concurrency, max(LEAST_IN_FLIGHT, int(2 * wanted)))

    def _place(self, views: list[View], gone: list[str]) -> None:
        for uuid in gone:
            self._forget(uuid)
        for one in views:
            seen = self._seen.get(one.uuid)
            if seen is None:
                seen = self._seen[one.uuid] = Seen(one, self._bmc(one.way.address))
                self._plan(seen, at_once=True)
            elif one.revision > seen.view.revision:
                self._take_over(seen, one)

    def _take_over(self, seen: Seen, new: View) -> None:
        old, seen.view = seen.view, new
        if new.way.address != old.way.address:
            seen.bmc, seen.at = self._bmc(new.way.address), None
        if new.mode != old.mode:
            seen.suspect = seen.second_look = False
            seen.failures = 0
        if new.mode != old.mode or new.way is not old.way:
            # Whoever has had it is done: see what it is now.
            self._plan(seen, at_once=True)

    def _bmc(self, address: str) -> Bmc:
        bmc = self._bmcs.get(address)
        if bmc is None:
            bmc = self._bmcs[address] = Bmc()
        return bmc

    def _forget(self, uuid: str) -> None:
        seen = self._seen.pop(uuid, None)
        if seen is not None:
            self._leave(seen)
            self._tell(seen, errors.NodeNotFound(node=uuid))

    def _leave(self, seen: Seen) -> None:
        if seen.lane is not None:
            seen.lane.pacer.forget(seen.view.uuid)
            seen.lane = None

    def _period_s(self, mode: Mode) -> float:
        interval_s = {
            Mode.SYNC: conf.sync_power_state_interval,
            Mode.RECOVERY: conf.power_failure_recovery_interval,
            Mode.NONE: 0,
        }[mode]
        return PERIOD_PART * interval_s

    def _plan(self, seen: Seen, *, at_once: bool = False) -> None:
        """Give the node its next turn; `at_once` if its BMC is not one that is left alone."""
        period_s = self._period_s(seen.view.mode)
        if not period_s:
            self._leave(seen)
            return
        now = self._now()
        if seen.bmc.is_open:
            self._ask_at(seen, now + seen.bmc.pause_s(period_s))
        elif at_once and seen.view.mode == Mode.SYNC:
            self._ask_at(seen, now)
        else:
            self._ask_at(seen, next_turn(seen.view.uuid, now, period_s))

    def _ask_at(self, seen: Seen, date: float, *, thread: bool = False) -> None:
        probing = seen.bmc.is_open or seen.view.mode == Mode.RECOVERY
        lane = self._lanes[thread or seen.view.way.poll is None, probing]
        if lane is not seen.lane:
            self._leave(seen)
            seen.lane = lane
        lane.pacer.at(seen.view.uuid, date)

    def _ask_now(self, uuid: str) -> None:
        seen = self._seen.get(uuid)
        if seen is not None and seen.view.mode != Mode.NONE:
            self._ask_at(seen, self._now())

    def _look_again(self, uuid: str, wanted: bool) -> None:  # noqa: FBT001  # by position, through the loop
        seen = self._seen.get(uuid)
        if seen is None:
            return
        seen.suspect = False
        if wanted and seen.view.mode == Mode.SYNC:
            seen.second_look = True
            self._ask_at(seen, self._now())

    def _answer_when_seen(self, uuid: str, max_age_s: float, answer: concurrent.futures.Future[Seen]) -> None:
        seen = self._seen.get(uuid)
        if seen is None:
            answer.set_exception(errors.NodeNotFound(node=uuid))
        elif seen.at is not None and self._now() - seen.at <= max_age_s and seen.bmc.failures == 0:
            answer.set_result(seen)
        else:
            seen.waiters = [*(seen.waiters or ()), answer]
            if seen.lane is None or not seen.lane.pacer.visits(uuid):
                self._ask_at(seen, self._now())

    def _tell(self, seen: Seen, problem: BaseException | None = None) -> None:
        """Let those go on who wait for the answer."""
        waiters, seen.waiters = seen.waiters, None
        for one in waiters or ():
            if one.set_running_or_notify_cancel():
                one.set_exception(problem) if problem is not None else one.set_result(seen)

    async def visit(self, lane: Lane, uuid: str) -> None:
        """One question, and what comes of it."""
        seen = self._seen.get(uuid)
        if seen is None or (seen.view.mode == Mode.NONE and not seen.waiters):
            return
        bmc = seen.bmc
        if bmc.asked:
            bmc.queue = bmc.queue or deque()
            bmc.queue.append(uuid)
            return
        bmc.asked = True
        try:
            await self._visit(lane, seen)
        finally:
            bmc.asked = False
            self._next_of(bmc)

    def _next_of(self, bmc: Bmc) -> None:
        """Ask the node that waits longest for this BMC."""
        if bmc.queue:
            uuid = bmc.queue.popleft()
            bmc.queue = bmc.queue or None
            seen = self._seen.get(uuid)
            if seen is not None:
                self._ask_at(seen, self._now())

    async def _visit(self, lane: Lane, seen: Seen) -> None:
        asked, decides, began = seen.view, seen.second_look, self._now()
        outcome: Reading | errors.Error
        try:
            outcome = await self._ask(lane, seen)
        except NeedsThread:
            self._ask_at(seen, self._now(), thread=True)
            return
        except errors.Unavailable:
            self._ask_at(seen, self._now() + AGAIN_S, thread=lane.kind is not None)
            return
        except FAILURES as exc:
            outcome = exc
        if not self._running or self._seen.get(asked.uuid) is not seen:
            return
        self._usual_s += (self._now() - began - self._usual_s) / 32
        if seen.view is not asked:  # the answer may be of before: it counts for nothing
            self._outcomes["stale"] += 1
            self._ask_at(seen, self._now())
            return
        if isinstance(outcome, Reading):
            self._answered(seen, outcome, began, decides=decides)
        else:
            self._failed(seen, outcome)

    async def _ask(self, lane: Lane, seen: Seen) -> Reading:
        asked = seen.view
        if asked.way.problem is not None:
            raise asked.way.problem
        clock = self._conductor.clock
        if lane.kind is None and asked.way.poll is not None:
            return await asked.way.poll(Deadline(clock, seen.bmc.timeout_s(context_conf.poll_timeout)))
        kind = lane.kind or Work.POWER_SYNC
        return await asyncio.wrap_future(
            self._conductor.pool.submit(kind, f"{kind} of {asked.label}", self._read, asked)
        )

    def _read(self, asked: View) -> Reading:
        """In a thread."""
        node = asked.node or nodes.get(self._conductor.database, asked.uuid)
        return registry.power(node).read(node, self._conductor.poll_deadline())

    def _answered(self, seen: Seen, reading: Reading, began: float, *, decides: bool) -> None:
        bmc, now = seen.bmc, self._now()
        if bmc.answers:
            self._fate.visited(now, failed=False)
        was_open = bmc.is_open
        bmc.answered(now - began)
        self._outcomes["answered"] += 1
        seen.at, seen.reading, seen.failures = now, reading, 0
        if was_open:
            self._answers_again(bmc)
        self._plan(seen)
        if seen.view.mode == Mode.RECOVERY:
            if reading.power is not None:
                self._in_pool(Work.POWER_RECOVERY, powersync.recover, seen.view.uuid, reading)
        elif seen.view.mode == Mode.SYNC:
            self._compare(seen, reading, decides=decides)
        self._tell(seen)

    def _answers_again(self, bmc: Bmc) -> None:
        """The breaker is closed: all its nodes come back at once."""
        for seen in self._seen.values():
            if seen.bmc is bmc:
                LOG.info("The BMC at %s answers again.", seen.view.way.address)
                self._plan(seen, at_once=True)

    def _compare(self, seen: Seen, reading: Reading, *, decides: bool) -> None:
        """Hand over what differs; a power state that differs from the recorded one is looked at twice."""
        found = news(seen.view, reading)
        if decides:
            seen.second_look = False
        if not found:
            return
        delay_s = powersync.conf.power_state_sync_debounce
        if "power" in found and seen.view.power is not None and delay_s and not decides:
            if not seen.suspect and not seen.second_look:
                seen.suspect = powersync.look_again_later(self._conductor, seen.view, delay_s)
            del found["power"]
        if found:
            told = {"power": None, "boot_mode": None, "health": None} | found
            self._news[seen.view.uuid] = Reading(**told)
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        """Give what is new to one worker, some hundred nodes at a time."""
        self._flushing = None
        batch = {uuid: self._news.pop(uuid) for uuid in list(self._news)[:FLUSH_ROWS]}
        if self._news:
            self._flush_soon()
        if batch:
            self._in_pool(Work.POWER_SYNC, powersync.settle, batch)

    def _failed(self, seen: Seen, problem: errors.Error) -> None:
        if isinstance(problem, errors.BMCUnreachable):
            seen.bmc.was_silent()
        if seen.bmc.answers:
            self._fate.visited(self._now(), failed=True)
        self._outcomes["failed"] += 1
        self._plan(seen)
        self._tell(seen, problem)
        self._accused.append((self._now(), seen, problem))
        self._judge()

    def _judge(self) -> None:
        """Hold failures against their BMCs, once it is sure that they are not our own. In a small fleet, at once."""
        self._verdict = None
        now = self._now()
        wait_s = WINDOW_S if len(self._seen) >= AT_LEAST else 0.0
        while self._accused and self._accused[0][0] <= now - wait_s:
            at, seen, problem = self._accused.popleft()
            if not self._fate.is_ours(at, now):
                self._convict(seen, problem)
        if self._accused:
            self._verdict = asyncio.get_running_loop().call_at(self._accused[0][0] + wait_s, self._judge)

    def _convict(self, seen: Seen, problem: errors.Error) -> None:
        if self._seen.get(seen.view.uuid) is not seen:
            return
        seen.failures += 1
        was_open = seen.bmc.is_open
        seen.bmc.failed()
        if seen.view.mode == Mode.RECOVERY:
            LOG.info("Power recovery: node %s still fails: %s", seen.view.label, problem)
        elif seen.view.mode == Mode.SYNC:
            LOG.warning("Power sync: visit %d of node %s failed: %s", seen.failures, seen.view.label, problem)
            if seen.failures > powersync.conf.power_state_sync_max_retries:
                self._in_pool(Work.POWER_SYNC, powersync.give_up, seen.view.uuid, seen.failures, problem)
        if seen.bmc.is_open and not was_open:
            LOG.warning("The BMC at %s is asked less often until it answers again.", seen.view.way.address)
            self._plan(seen)

    def _in_pool(self, kind: Work, work: Callable[..., None], *arguments: object) -> None:
        try:
            with self._conductor.pool.slot(kind, f"{kind}: {work.__name__}") as slot:
                slot.run(work, self._conductor, *arguments)
        except errors.Unavailable as exc:
            LOG.warning("What the power sync found is left to the next visit: %s", exc)
