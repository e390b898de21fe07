"""The questions of a conductor to a fleet that is nothing but coroutines, in a time that jumps."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.freshness import Freshness
from ironic_lite.conductor.picture import Mode, Seen, View, Way
from ironic_lite.domain.states import Power
from ironic_lite.drivers.interfaces import Reading
from tests.parts.virtual_time import VirtualLoop


class VirtualBmc:
    """A BMC that answers after `takes_s`, or fails as told: "refuses" at once, "hangs" until it is given up.

    "engaged": other requests of ours keep it busy.
    """

    def __init__(self, fleet: VirtualFleet, address: str) -> None:
        self._fleet = fleet
        self.address, self.takes_s, self.fault = address, 0.02, ""
        self.asked: list[tuple[str, float, str]] = []  # which node, when, in which lane
        self.in_flight = 0

    async def poll(self, uuid: str, deadline: Deadline) -> Reading:
        self.asked.append((uuid, self._fleet.loop.time(), self._fleet.lane_of(uuid)))
        self.in_flight += 1
        assert self.in_flight == 1, "one question at a time"
        try:
            if self.fault == "refuses":
                raise errors.BMCUnreachable(node=uuid, address=self.address, reason="it refuses")
            if self.fault == "engaged":
                raise errors.BMCEngaged(node=uuid, address=self.address)
            await asyncio.sleep(deadline.left_s() if self.fault else min(self.takes_s, deadline.left_s()))
            if self.fault:
                raise errors.BMCUnreachable(node=uuid, address=self.address, reason="it hangs")
            return Reading(power=Power.ON)
        finally:
            self.in_flight -= 1

    def times(self, since: float = 0.0, lane: str = "") -> list[float]:
        """When it was asked."""
        return [when for _, when, by in self.asked if when >= since and lane in by]


class VirtualFleet:
    """A conductor's `Freshness` on a virtual loop, and the BMCs that it asks."""

    def __init__(self, loop: VirtualLoop, conductor: Conductor) -> None:
        self.loop, self.bmcs = loop, list[VirtualBmc]()
        conductor.clock = loop.clock  # type: ignore[misc]  # one time for both
        self.freshness = Freshness(conductor)
        self.freshness.start()

    def add(self, bmcs: int, nodes_each: int = 1) -> list[VirtualBmc]:
        """So many more, all healthy, with their nodes placed."""
        added = [VirtualBmc(self, f"bmc-{len(self.bmcs) + number}") for number in range(bmcs)]
        self.bmcs += added
        self.freshness._place([self.view(bmc, n) for bmc in added for n in range(nodes_each)], [])
        return added

    def view(self, bmc: VirtualBmc, number: int = 0, **changes: Any) -> View:
        """A node of it, as its row is."""
        uuid = f"{bmc.address}-{number}"
        way = Way(0, bmc.address, functools.partial(bmc.poll, uuid))
        seen = self.freshness.seen(uuid)
        if seen is not None and "way" not in changes:
            way = seen.view.way
        made = View(uuid, uuid, 0, Mode.SYNC, Power.ON, None, None, way, None)
        return msgspec.structs.replace(made, **changes)

    def seen(self, bmc: VirtualBmc, number: int = 0) -> Seen:
        """What is known of a node of it."""
        found = self.freshness.seen(f"{bmc.address}-{number}")
        assert found is not None
        return found

    def lane_of(self, uuid: str) -> str:
        """Where it is being asked."""
        lanes = self.freshness._lanes._by_need.values()
        return next(one.pacer.name for one in lanes if one.pacer.visits(uuid))


class Direct:
    """Stands where the I/O loop's thread is: the virtual loop is in the test's own."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def call(self, function: Callable[..., object], *arguments: Any) -> bool:
        self._loop.call_soon(function, *arguments)
        return True
