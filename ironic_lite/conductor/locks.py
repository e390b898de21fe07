"""Exclusive hold of one node, across processes and hosts, as columns of its row.

Guarantees: (1) at most one holder of a node: `db.nodes.take` demands that nobody holds it; (2) every write under the
lock is fenced by `lock_id`: who lost the lock (broken, taken over, a second life of the same host) writes nothing;
(3) it is released exactly once: by the block that took it, or by the work that the block handed it to, together with
the result, in one statement; (4) nothing is written before the lock is taken, so a refusal has nothing to undo;
(5) it is never waited for. BMCs have no fence: `permit` is asked right before each request that changes hardware, and
trusts a proof of the lock for `PERMIT_VALID_S` of boot time. A process frozen exactly between a permit and its
request is the limit of this.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self

import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.clock import Deadline, new_uuid
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.db import nodes
from ironic_lite.db.history import Event
from ironic_lite.db.nodes import Hold
from ironic_lite.domain.node import Node
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.executors.slot import Slot

P = ParamSpec("P")
LOG = logging.getLogger(__name__)
PERMIT_VALID_S: Final = 1.0
FULL_AGAIN_S: Final = 1.0
RELEASE_RETRIES_S: Final = (1.0, 2.0, 4.0, 8.0)


class Result(msgspec.Struct, frozen=True):
    """What a piece of work wants written as it lets go."""

    changes: Mapping[str, Any] = {}
    event: Event | None = None


# Work that pauses yields the seconds until it wants to go on, and returns its result. It has the lock all the time, and
# no thread meanwhile.
Pausing = Generator[float, None, Result]
Failing = Callable[["NodeLock", str], Result]


class Later(msgspec.Struct, frozen=True):
    """Work that pauses, and for how long."""

    after_s: float
    work: Pausing


class NodeLock:
    """Hold `node` until the `with` block, or the work that it hands the lock to, ends."""

    def __init__(
        self,
        conductor: Conductor,
        node: Node,
        purpose: str,
        coming: Mapping[str, Any] | None = None,
        event: Event | None = None,
    ) -> None:
        """Take the lock, if the node still is as it was read, and write what is `coming` in the same statement.

        Raises `NodeLocked`, or `Conflict` if the node changed meanwhile.
        """
        self.conductor, self.purpose = conductor, purpose
        self._hold = Hold(conductor.host, new_uuid())
        self._proven_at = conductor.clock.boottime()
        self._handed_over = False
        conductor.holds.add(self._hold.lock_id)
        try:
            nodes.take(conductor.database, node, self._hold, purpose, coming or {}, event)
        except BaseException:
            conductor.holds.discard(self._hold.lock_id)
            raise
        self.node = conductor.wrote(node, {"reservation": conductor.host} | dict(coming or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._handed_over:
            self.finish(Result())

    def write(self, event: Event | None = None, /, **changes: Any) -> None:
        """Change the node, and tell its history. Raises `LockLost`."""
        began = self.conductor.clock.boottime()
        nodes.write(self.conductor.database, self.node.uuid, self._hold, self.purpose, changes, event)
        self.node = self.conductor.wrote(self.node, changes)
        self._proven_at = began

    def store(self, statements: Callable[[sa.Connection], None]) -> None:
        """Write what belongs to the node, in one transaction. Raises `LockLost`."""
        began = self.conductor.clock.boottime()
        nodes.within(self.conductor.database, self.node.uuid, self._hold, self.purpose, statements)
        self.node = self.conductor.wrote(self.node, {})
        self._proven_at = began

    def permit(self) -> None:
        """Pass if the node is still ours. Raises `LockLost`."""
        began = self.conductor.clock.boottime()
        if began - self._proven_at < PERMIT_VALID_S:
            return
        if not nodes.is_held(self.conductor.database, self.node.uuid, self._hold):
            raise errors.LockLost(node=self.node.label, purpose=self.purpose)
        self._proven_at = began

    def attempt(self, deadline: Deadline) -> Attempt:
        """What a driver needs for one piece of work on the hardware."""
        return Attempt(deadline=deadline, permit=self.permit, pause=self.conductor.pause, report=self._report)

    def continue_in(
        self,
        slot: Slot,
        work: Callable[Concatenate[NodeLock, P], Result | Pausing],
        failed: Failing,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Hand the lock to `work`, which begins in `slot`; its result is written as the lock is released.

        If it raises, what `failed(lock, reason)` makes of the reason is written instead.
        """
        self._handed_over = True
        slot.run(lambda: self.run(work, failed, *args, **kwargs))

    def run(
        self,
        work: Callable[Concatenate[NodeLock, P], Result | Pausing],
        failed: Failing,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Begin the work here and now, and let go with what it returns; errors are handled as in `continue_in`."""

        def begun() -> Result | Later:
            result = work(self, *args, **kwargs)
            return _advanced(result, partial(next, result)) if isinstance(result, Generator) else result

        self._advance(begun, failed)

    def _advance(self, work: Callable[[], Result | Later], failed: Failing) -> None:
        """Let go with the result, or pause."""
        try:
            result = work()
        except errors.LockLost as exc:
            LOG.warning("%s", exc)
            self.conductor.holds.discard(self._hold.lock_id)
            return
        except errors.Error as exc:
            result = failed(self, str(exc))
        except Exception as exc:
            LOG.exception("Node %s: %s failed unexpectedly.", self.node.label, self.purpose)
            result = failed(self, f"an unexpected {type(exc).__name__} occurred; the conductor's log says where")
        if isinstance(result, Later):
            self._pause(result, failed, result.after_s)
        else:
            self.finish(result)

    def _pause(self, later: Later, failed: Failing, after_s: float) -> None:
        """Go on from the agenda; if that ends first, in a thread that waits, which the conductor's stop waits for."""
        self._handed_over = True
        agenda, work = self.conductor.agenda, partial(_advanced, later.work, partial(next, later.work))
        try:
            entry = agenda.after(after_s, Work.ACTIONS, self._name, partial(self._advance, work, failed))
        except errors.Unavailable:
            self._pause_in_a_thread(later, failed)
        else:
            entry.add_done_callback(partial(self._not_begun, later, failed))

    def _not_begun(self, later: Later, failed: Failing, entry: Future[Any]) -> None:
        """The agenda's thread, or who closes it, tells that an entry has ended: perhaps before it began."""
        if entry.cancelled():
            self._pause_in_a_thread(later, failed)
        elif isinstance(entry.exception(0), errors.Unavailable):
            self._pause(later, failed, FULL_AGAIN_S)

    def _pause_in_a_thread(self, later: Later, failed: Failing) -> None:
        try:
            slot = self.conductor.pool.slot(Work.ACTIONS, self._name)
        except errors.Unavailable as exc:
            work = partial(_advanced, later.work, partial(later.work.throw, exc))
            self._advance(work, failed)
        else:
            slot.run(lambda: self._advance(partial(self._after_a_pause, later), failed))

    def _after_a_pause(self, later: Later) -> Result | Later:
        try:
            self.conductor.pause(later.after_s)
        except errors.Interrupted as exc:
            return _advanced(later.work, partial(later.work.throw, exc))
        return _advanced(later.work, partial(next, later.work))

    @property
    def _name(self) -> str:
        return f"{self.purpose} of node {self.node.label}"

    def finish(self, result: Result) -> None:
        """Write the result and let go, in one statement.

        A database that is away is asked again a few times. If it stays away, or cannot take the result, the lock is
        nobody's from here on, and the house-keeping frees it (`recovery.free_forgotten`).
        """
        self._handed_over = True
        try:
            self._release(result)
        except errors.LockLost as exc:
            LOG.warning("%s", exc)
        except Exception:
            LOG.exception("Node %s is still locked by %s, which has ended.", self.node.label, self.purpose)
        else:
            self.conductor.wrote(self.node, {"reservation": None} | dict(result.changes))
        finally:
            self.conductor.holds.discard(self._hold.lock_id)

    def _release(self, result: Result) -> None:
        for wait_s in (*RELEASE_RETRIES_S, None):
            try:
                nodes.release(
                    self.conductor.database, self.node.uuid, self._hold, self.purpose, result.changes, result.event
                )
            except errors.DatabaseUnavailable as exc:
                if wait_s is None:
                    raise
                LOG.warning("Node %s can't be released yet: %s", self.node.label, exc)
                self.conductor.clock.wait(threading.Event(), wait_s)
            else:
                return

    def _report(self, text: str) -> None:
        LOG.info("Node %s: %s: %s", self.node.label, self.purpose, text)


def _advanced(work: Pausing, advance: Callable[[], float]) -> Result | Later:
    """What the work returns, or that it pauses again."""
    try:
        return Later(advance(), work)
    except StopIteration as stop:
        result: Result = stop.value
        return result
