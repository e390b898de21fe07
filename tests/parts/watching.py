"""The power sync of a conductor without a process around it, one step at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.following import Following
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from tests.waiting import until

SOON_S = 30


class Watch:
    """Nodes are asked when a test says so: the first time that they are seen, and by `visit`."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor, self.freshness = conductor, conductor.freshness
        self._following = Following(conductor, conductor.freshness)

    def follow(self) -> None:
        """Read the table, as turns of the agenda do."""
        self._following.turn()
        self.settle()

    def visit(self, node: Node) -> errors.Error | None:
        """Ask the node's BMC, and wait until all is done that follows from its answer. The failure, if it is one."""
        self._following.turn()
        return self.look(node)

    def look(self, node: Node) -> errors.Error | None:
        """As `visit`, from the picture as it is."""
        problem = None
        try:
            self.freshness.look(node.uuid, 0.0).result(SOON_S)
        except errors.Error as exc:
            problem = exc
        self.settle()
        return problem

    def settle(self) -> None:
        """Wait until nothing is under way but what waits for the agenda."""
        until(self._idle, SOON_S)

    def _idle(self) -> bool:
        async def nothing() -> None:
            """What was told to the loop before has been done."""

        IO.submit(nothing(), "barrier").result(SOON_S)
        stats, pool = self.freshness.overview(), self.conductor.pool.stats()
        return not (
            pool.busy or pool.queued or any(lane.running or lane.due for lane in stats.lanes) or stats.unwritten
        )


@contextlib.contextmanager
def watching(conductor: Conductor) -> Iterator[Watch]:
    """The loop ends with the block."""
    conductor.freshness.start()
    try:
        yield Watch(conductor)
    finally:
        conductor.freshness.stop()
        registry.close_all(Deadline(SystemClock(), 10))
