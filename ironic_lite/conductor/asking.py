"""How a node's BMC is asked for its power: by a coroutine, or by a thread of the pool. Used on the I/O loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from ironic_lite.clock import Deadline
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.picture import Seen, View
from ironic_lite.db import nodes
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import Reading


def ask(conductor: Conductor, seen: Seen, kind: Work | None, longest_s: float) -> Awaitable[Reading]:
    """One question, and its answer within `longest_s`; in a thread, if there is a kind of work for it.

    Raises what is wrong with the row, and `Unavailable` if no thread can be had; awaited, the `BMC...` errors,
    `NeedsThread` and `NodeNotFound`.
    """
    asked = seen.view
    if asked.way.problem is not None:
        raise asked.way.problem.with_traceback(None)  # or it would remember each time
    if kind is None and asked.way.poll is not None:
        return asked.way.poll(Deadline(conductor.clock, seen.bmc.timeout_s(longest_s)))
    kind = kind or Work.POWER_SYNC
    return asyncio.wrap_future(conductor.pool.submit(kind, f"{kind} of {asked.label}", _read, conductor, asked))


def _read(conductor: Conductor, asked: View) -> Reading:
    """In a thread."""
    node = asked.node or nodes.get(conductor.database, asked.uuid)
    return registry.power(node).read(node, conductor.poll_deadline())
