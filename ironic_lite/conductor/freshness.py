"""How old the picture of a machine's power may get: who is asked next, and what an answer sets off.

*Guarantees.* (1) Each node that is ours and free is asked so often that its power is known at most
`sync_power_state_interval` ago, as long as its BMC answers; a BMC that fails is asked less often, in a lane of its own
with few places, so that no number of dead ones puts off a healthy one. (2) A node has one question under way at a time;
who wants a fresh answer meanwhile shares it. (3) An answer counts only if the node's row is, for all this process
knows, as it was when the BMC was asked; it triggers no action by itself: whatever writes or acts reads the row anew, in
the pool (`conductor.powersync`). (4) Nothing here asks the database. (5) What fails while our own network or
processor is at fault (`conductor.fate`) is held against nobody.
All state is used on the I/O loop alone; other threads come in by `IO.call`, so they never wait here and no lock is
needed. What only reads (`known`, `seen`, `every`, `overview`, `lanes`) may be called by any thread.
"""

from __future__ import annotations

import concurrent.futures
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ironic_lite import errors
from ironic_lite.conductor import powersync
from ironic_lite.conductor.asking import ask
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.context import conf as context_conf
from ironic_lite.conductor.findings import Findings
from ironic_lite.conductor.lanes import Lane, Lanes
from ironic_lite.conductor.overview import Overview
from ironic_lite.conductor.picture import Bmc, Mode, Seen, View, news, view
from ironic_lite.conductor.verdict import Verdicts
from ironic_lite.config import Int, Section, Str
from ironic_lite.domain.node import Node
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import NeedsThread, Reading
from ironic_lite.executors.pacing import PaceStats
from ironic_lite.executors.turns import next_turn

LOG = logging.getLogger(__name__)

# A tenth of the interval is for the answer to come in, so that no state is older than the interval.
PERIOD_PART: Final = 0.9
AGAIN_S: Final = 1.0  # when no thread is free, or other requests of ours keep the BMC busy
FAILURES: Final = (errors.BMCError, errors.Invalid, errors.DriverNotFound)


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
        choices=("coroutines", "threads"),
        help="What asks BMCs for their power: coroutines on one thread where the driver has them, or threads alone.",
    )


class Freshness:
    """The questions of one conductor."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        conductor.freshness = self
        self.followers: Final[list[Callable[[list[Node], list[str]], None]]] = []  # who is told of rows, too
        self._threads = conf.poll_engine == "threads"
        self._seen: dict[str, Seen] = {}
        self._bmcs: weakref.WeakValueDictionary[str, Bmc] = weakref.WeakValueDictionary()
        self._verdicts = Verdicts(conductor.clock, self._convict, lambda: len(self._seen))
        self._findings = Findings(conductor)
        self._outcomes: Counter[str] = Counter()
        # Read once: an option costs microseconds each time.
        self._periods_s = {
            Mode.SYNC: PERIOD_PART * conf.sync_power_state_interval,
            Mode.RECOVERY: PERIOD_PART * conf.power_failure_recovery_interval,
            Mode.NONE: 0.0,
        }
        self._timeout_s = context_conf.poll_timeout
        self._running = False
        self._lanes: Lanes = None  # type: ignore[assignment]  # until `_open`, which comes before all else on the loop

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
        rows, gone = list(rows), list(gone)
        for follower in self.followers:
            follower(rows, gone)
        if self._running and (rows or gone):
            IO.call(self._place, [view(row, self.known(row.uuid), threads=self._threads) for row in rows], gone)

    def known(self, uuid: str) -> View | None:
        """What we take the node's row to be."""
        seen = self._seen.get(uuid)
        return seen.view if seen is not None else None

    def seen(self, uuid: str) -> Seen | None:
        """What is known of the node; for reading."""
        return self._seen.get(uuid)

    def every(self) -> list[Seen]:
        """All nodes; for reading."""
        return list(self._seen.values())

    def demand_answers(self, uuid: str) -> None:
        """Raise `BMCLeftAlone` for a BMC that nobody should wait for; and have it asked, in case it is mended."""
        seen = self._seen.get(uuid)
        if seen is not None and seen.bmc.is_open:
            self.hint(uuid)
            label, address = seen.view.label, seen.view.way.address
            raise errors.BMCLeftAlone(node=label, address=address, failures=seen.bmc.failures, problem=seen.problem)

    def all_known(self) -> dict[str, int]:
        """The revision of each node that we have."""
        return {seen.view.uuid: seen.view.revision for seen in self.every()}

    def hint(self, uuid: str) -> float:
        """Something may have happened to the machine: ask soon. For so many seconds more hints would change nothing."""
        if self._running:
            IO.call(self._ask_soon, uuid)
        seen = self._seen.get(uuid)
        return seen.hints_rest_s(self._now()) if seen is not None else 0.0

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

    def overview(self) -> Overview:
        """One moment of it. Asks nobody."""
        return Overview.of(
            self.every(),
            self._now(),
            conf.sync_power_state_interval,
            unwritten=self._findings.waiting(),
            outcomes=self._outcomes,
            lanes=self.lanes(),
        )

    def lanes(self) -> tuple[PaceStats, ...]:
        """How busy each lane is; none before the start."""
        return self._lanes.stats() if self._lanes is not None else ()

    # On the loop.

    def _open(self) -> None:
        self._lanes = Lanes(self._conductor, self._ask_in_turn, self._verdicts.late, self._rate)

    def _close(self) -> None:
        for part in (self._lanes, self._verdicts, self._findings):
            part.stop()
        for seen in self._seen.values():
            self._tell(seen, errors.Stopping(what="The power sync"))

    def _rate(self) -> float:
        """Turns in a second."""
        return len(self._seen) / self._periods_s[Mode.SYNC] if self._periods_s[Mode.SYNC] else 0.0

    def _now(self) -> float:
        return self._conductor.clock.monotonic()

    def _place(self, views: list[View], gone: list[str]) -> None:
        for uuid in gone:
            self._forget(uuid)
        for one in views:
            seen = self._seen.get(one.uuid)
            if seen is None:
                seen = self._seen[one.uuid] = Seen(one, self._bmc(one.way.address))
                self._plan(seen, self._now(), at_once=True)
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
            self._plan(seen, self._now(), at_once=True)
        if new.way is not old.way and new.mode != Mode.NONE:  # mended, maybe: the pause is over
            self._lanes.ask_by(seen, self._now())

    def _bmc(self, address: str) -> Bmc:
        bmc = self._bmcs.get(address)
        if bmc is None:
            bmc = self._bmcs[address] = Bmc()
        return bmc

    def _forget(self, uuid: str) -> None:
        seen = self._seen.pop(uuid, None)
        if seen is not None:
            self._lanes.leave(seen)
            self._tell(seen, errors.NodeNotFound(node=uuid))

    def _plan(self, seen: Seen, now: float, *, at_once: bool = False) -> None:
        """Give the node its next turn; `at_once` if its BMC is not one that is left alone."""
        period_s = self._periods_s[seen.view.mode]
        if not period_s:
            self._lanes.leave(seen)
            return
        if seen.bmc.is_open:
            self._lanes.ask_by(seen, now + seen.bmc.pause_s(period_s))
        elif at_once and seen.view.mode == Mode.SYNC:
            self._lanes.ask_by(seen, now)
        else:
            self._lanes.ask_by(seen, next_turn(seen.view.uuid, now, period_s))
        if seen.hint_at is not None:  # it came while the BMC was being asked
            self._lanes.ask_by(seen, seen.hint_at)

    def _ask_soon(self, uuid: str) -> None:
        seen = self._seen.get(uuid)
        if seen is not None and self._periods_s[seen.view.mode]:
            self._lanes.ask_by(seen, seen.hinted(self._now()))

    def _look_again(self, uuid: str, wanted: bool) -> None:  # noqa: FBT001  # by position, through the loop
        seen = self._seen.get(uuid)
        if seen is None:
            return
        seen.suspect = False
        if wanted and seen.view.mode == Mode.SYNC:
            seen.second_look = True
            self._lanes.ask_by(seen, self._now())

    def _answer_when_seen(self, uuid: str, max_age_s: float, answer: concurrent.futures.Future[Seen]) -> None:
        seen = self._seen.get(uuid)
        if not self._running:
            answer.set_exception(errors.Stopping(what="The power sync"))
        elif seen is None:
            answer.set_exception(errors.NodeNotFound(node=uuid))
        elif seen.at is not None and self._now() - seen.at <= max_age_s and seen.bmc.failures == 0:
            answer.set_result(seen)
        else:
            seen.waiters = [*(one for one in seen.waiters or () if not one.done()), answer]
            if seen.lane is None or not seen.lane.pacer.visits(uuid):
                self._lanes.ask_by(seen, self._now())

    def _tell(self, seen: Seen, problem: BaseException | None = None) -> None:
        """Let those go on who wait for the answer."""
        waiters, seen.waiters = seen.waiters, None
        for one in waiters or ():
            if one.set_running_or_notify_cancel():
                one.set_exception(problem) if problem is not None else one.set_result(seen)

    async def _ask_in_turn(self, lane: Lane, uuid: str) -> None:
        """One question, and what comes of it."""
        seen = self._seen.get(uuid)
        if seen is None or not seen.is_wanted:
            return
        bmc = seen.bmc
        if not lane.suits(seen):
            self._lanes.ask_by(seen, self._now(), thread=lane.kind is not None)
            return
        if not bmc.enter(uuid):
            if period_s := self._periods_s[seen.view.mode]:
                self._lanes.ask_by(seen, next_turn(uuid, self._now(), period_s))  # at the latest
            return
        try:
            await self._visit(lane, seen)
        finally:
            if bmc.leave():
                self._ask_next(bmc)

    def _ask_next(self, bmc: Bmc) -> None:
        following = (self._seen.get(other) for other in bmc.following())
        if (waits := next((one for one in following if one is not None and one.is_wanted), None)) is not None:
            self._lanes.ask_by(waits, self._now())

    async def _visit(self, lane: Lane, seen: Seen) -> None:
        asked, decides, began = seen.view, seen.second_look, self._now()
        seen.begins(began)
        outcome: Reading | errors.Error
        try:
            outcome = await ask(self._conductor, seen, lane.kind, self._timeout_s)
        except NeedsThread:
            self._lanes.ask_by(seen, self._now(), thread=True)
            return
        except (errors.Unavailable, errors.BMCEngaged):  # it was not asked, which says nothing of it
            self._outcomes["put off"] += 1
            self._lanes.ask_by(seen, self._now() + AGAIN_S, thread=lane.kind is not None)
            return
        except errors.NodeNotFound:
            self._forget(asked.uuid)
            return
        except FAILURES as exc:
            outcome = exc
        if not self._running or self._seen.get(asked.uuid) is not seen:
            return
        now = self._now()
        self._lanes.took(now - began)
        if seen.view is not asked:  # the answer may be of before: it counts for nothing
            self._outcomes["stale"] += 1
            self._lanes.ask_by(seen, now)
            return
        if isinstance(outcome, Reading):
            seen.by = lane.pacer.name
            self._answered(seen, outcome, now, now - began, decides=decides)
        else:
            self._failed(seen, outcome)

    def _answered(self, seen: Seen, reading: Reading, now: float, took_s: float, *, decides: bool) -> None:
        bmc = seen.bmc
        self._verdicts.answered(seen, now)
        was_open = bmc.is_open
        bmc.answered(took_s)
        self._outcomes["answered"] += 1
        seen.at, seen.reading, seen.failures, seen.problem = now, reading, 0, None
        if was_open:
            self._answers_again(seen, now)
        self._plan(seen, now)
        if seen.view.mode == Mode.RECOVERY:
            if reading.power is not None:
                self._findings.hand_over(
                    Work.POWER_RECOVERY, powersync.recover, seen.view.uuid, seen.view.revision, reading
                )
        elif seen.view.mode == Mode.SYNC:
            self._compare(seen, reading, decides=decides)
        if seen.waiters:
            self._tell(seen)

    def _answers_again(self, answered: Seen, now: float) -> None:
        """The breaker is closed: the other nodes of this BMC come back at once."""
        LOG.info("The BMC at %s answers again.", answered.view.way.address)
        for seen in self._seen.values():
            if seen.bmc is answered.bmc and seen is not answered:
                self._plan(seen, now, at_once=True)

    def _compare(self, seen: Seen, reading: Reading, *, decides: bool) -> None:
        """Hand over what differs; a power state that differs from the recorded one is looked at twice."""
        found = news(seen.view, reading)
        if decides:
            seen.second_look = False
        if not found:
            return
        delay_s = powersync.conf.power_state_sync_debounce
        if "power_state" in found and seen.view.power_state is not None and delay_s and not decides:
            if not seen.suspect and not seen.second_look:
                seen.suspect = powersync.look_again_later(self._conductor, seen.view, delay_s)
            del found["power_state"]
            reading = msgspec.structs.replace(reading, power=None)
        if found:
            self._findings.settle(seen.view.uuid, seen.view.revision, reading)

    def _failed(self, seen: Seen, problem: errors.Error) -> None:
        if isinstance(problem, errors.BMCUnreachable):
            seen.bmc.was_silent()
        seen.problem = problem
        self._outcomes["failed"] += 1
        self._plan(seen, self._now())
        self._tell(seen, problem)
        self._verdicts.failed(seen, problem)

    def _convict(self, seen: Seen, problem: errors.Error) -> None:
        view, was_open = seen.view, seen.bmc.is_open
        if self._seen.get(view.uuid) is not seen:
            return
        seen.failures += 1
        seen.bmc.failed()
        if view.mode == Mode.RECOVERY:
            LOG.info("Power recovery: node %s still fails: %s", view.label, problem)
        elif view.mode == Mode.SYNC:
            LOG.warning("Power sync: visit %d of node %s failed: %s", seen.failures, view.label, problem)
            if seen.failures > powersync.conf.power_state_sync_max_retries:
                found = (view.uuid, view.revision, seen.failures, problem)
                self._findings.hand_over(Work.POWER_SYNC, powersync.give_up, *found)
        if seen.bmc.is_open and not was_open:
            LOG.warning("The BMC at %s is asked less often until it answers again.", view.way.address)
            self._plan(seen, self._now())
