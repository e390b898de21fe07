"""Finding nodes for allocations.

Guarantees: (1) no thread waits: one attempt is a few statements in the pool, and while all nodes that suit are held by
other work the next one stands on the agenda, a bounded number of times; (2) an allocation ends with a node or with the
reason why there is none; (3) it outlives its conductor: what a life of this host left waiting is taken up at the start
of the next, and what nobody has touched for `LEFT_AFTER_S` by whichever conductor looks first. Two who work on one
allocation, or many who race for one node, do no harm: the database gives each node once (`db/allocations.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Final

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.config import Int, Section
from ironic_lite.db import allocations
from ironic_lite.db.allocations import Candidate
from ironic_lite.db.engine import Database
from ironic_lite.domain.allocation import Allocation
from ironic_lite.executors.recurring import Recurring

LOG = logging.getLogger(__name__)
RETRIES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LEFT_AFTER_S: Final = 120  # longer than all attempts together
AT_A_TIME: Final = 20  # candidates that one attempt goes through
TAKEN_UP_AT_A_TIME: Final = 100


class conf(Section, name="conductor"):
    """Allocations."""

    check_allocations_interval = Int(
        60, min=0, help="Seconds between two looks for allocations that nobody finds a node for; 0 for none."
    )


@rpc.method
def create_allocation(conductor: Conductor, wanted: Allocation) -> None:
    """Record the allocation while the caller waits; find its node in the background."""
    with conductor.pool.slot(Work.ACTIONS, _work(wanted.uuid)) as slot:
        allocations.insert(conductor.database, wanted, conductor.host)
        slot.run(attempt, conductor, wanted.uuid)


def resume(conductor: Conductor) -> None:
    """Take up what an earlier life of this conductor left waiting."""
    _begin(conductor, allocations.of_host(conductor.database, conductor.host))


def left_behind(conductor: Conductor) -> Recurring:
    """The recurring look for allocations that nobody works on."""

    def look() -> None:
        host, database = conductor.host, conductor.database
        _begin(conductor, allocations.take_up(database, host, LEFT_AFTER_S, TAKEN_UP_AT_A_TIME))

    return Recurring("allocations left behind", lambda: conf.check_allocations_interval, look, Work.HOUSE_KEEPING)


def attempt(conductor: Conductor, uuid: str, number: int = 0) -> None:
    """Find the node of an allocation now, or put the next attempt on the agenda."""
    try:
        if settled(conductor.database, uuid, is_last=number == len(RETRIES_S)):
            return
    except errors.DatabaseUnavailable as exc:
        LOG.warning("Allocation %s waits: %s", uuid, exc)
    if number < len(RETRIES_S):
        _later(conductor, uuid, RETRIES_S[number], number + 1)


def _begin(conductor: Conductor, uuids: Iterable[str]) -> None:
    for uuid in uuids:
        LOG.info("Allocation %s was left waiting and is taken up.", uuid)
        _later(conductor, uuid, 0.0, 0)


def _later(conductor: Conductor, uuid: str, delay_s: float, number: int) -> None:
    try:
        conductor.agenda.after(
            delay_s, Work.ACTIONS, _work(uuid), partial(attempt, conductor, uuid, number), key=("allocation", uuid)
        )
    except errors.Unavailable as exc:  # it is taken up later, by this conductor or another
        LOG.warning("Allocation %s is left waiting: %s", uuid, exc)


def _work(uuid: str) -> str:
    return f"allocation {uuid}"


def settled(database: Database, uuid: str, *, is_last: bool) -> bool:
    """Whether nothing is left to do for the allocation: it has a node or an error, or waits no longer."""
    wanted = allocations.waiting(database, uuid)
    if wanted is None:
        return True
    found = allocations.candidates(database, wanted, AT_A_TIME)
    try:
        if any(_is_taken(database, wanted, one) for one in found if not one.is_locked):
            return True
        if found and not is_last:
            return False
        allocations.fail(database, uuid, _why_none(database, wanted))
    except errors.AllocationNotFound:
        LOG.info("Allocation %s was deleted or settled by others meanwhile.", uuid)
    except errors.AlreadyExists as exc:
        allocations.fail(database, uuid, f"Allocation {uuid} gets no node: {exc}")
    return True


def _is_taken(database: Database, wanted: Allocation, node: Candidate) -> bool:
    """Whether the node became the allocation's; if not, somebody else was faster."""
    try:
        allocations.take(database, wanted, node)
    except (errors.NodeLocked, errors.ChangedMeanwhile, errors.NodeNotFound):
        return False
    LOG.info("Allocation %s has node %s.", wanted.uuid, node.uuid)
    return True


def _why_none(database: Database, wanted: Allocation) -> str:
    counted = allocations.obstacles(database, wanted)
    busy = counted.pop(None, 0)
    reasons = [f"{count} {reason}" for reason, count in counted.items()]
    reasons += [f"{busy} suit but were locked by other work"] if busy else []
    total = sum(counted.values()) + busy
    why = f"of {total} nodes {', '.join(reasons)}" if total else "there are no nodes"
    return f"Allocation {wanted.uuid} gets no node ({wanted.wish}): {why}."
