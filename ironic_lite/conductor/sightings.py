"""What a conductor knows of the power of its nodes, told to clients: how old it is, from where, and what comes next."""

from __future__ import annotations

import datetime
import heapq

import msgspec

from ironic_lite import errors
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.overview import Overview
from ironic_lite.conductor.picture import Mode, Seen
from ironic_lite.domain.states import BootMode, Power
from ironic_lite.drivers.contact import ended

MOST_ROWS = 1000


class Told(msgspec.Struct, frozen=True):
    """What the BMC said; None where it did not."""

    power_state: Power | None
    boot_mode: BootMode | None
    secure_boot: bool | None
    health: str | None
    vendor: str | None


class Sighting(msgspec.Struct, frozen=True):
    """One node. Times are UTC without a zone, durations seconds; None: not yet, or not at all.

    `mode` is what the node is asked for: "power sync", "power recovery" or "left alone". `told`, `seen_at` and `age_s`
    are of the last answer; `failures` and `problem` of the questions since, that nobody answered. `breaker` is "open"
    for a BMC that is only probed. `latency_s` is the smoothed time of its answers.
    """

    uuid: str
    name: str | None
    bmc: str | None
    mode: Mode
    recorded: Power | None
    told: Told | None
    seen_at: datetime.datetime | None
    age_s: float | None
    by: str | None
    latency_s: float | None
    failures: int
    problem: str | None
    breaker: str
    next_in_s: float | None


class Sightings(msgspec.Struct, frozen=True):
    """All nodes of a conductor in figures, and some of them."""

    overview: Overview
    nodes: list[Sighting]


@rpc.quick_method
def power_sighting(conductor: Conductor, node: str) -> Sighting:
    """What is known of the node's power now. Asks nobody."""
    seen = conductor.freshness.seen(node)
    if seen is None:
        raise errors.NodeNotFound(node=node)
    return _sighting(conductor, seen)


@rpc.bmc_method
def look_at_power(conductor: Conductor, node: str, max_age_s: float) -> Sighting:
    """The same, at most so old: all who ask at the same time share one question to the BMC."""
    answer = conductor.freshness.look(node, max_age_s)
    deadline = conductor.call_deadline()
    if not ended(answer, deadline.left_s()):
        answer.cancel()
        raise errors.BMCBusy(node=node, timeout_s=round(deadline.timeout_s))
    return _sighting(conductor, answer.result(0))


@rpc.quick_method
def power_sightings(conductor: Conductor, sort_by: str, limit: int) -> Sightings:
    """Those nodes first whose power was seen longest ago ("age"), or whose BMCs answer slowest ("latency"), or fail."""
    keys = {
        "age": lambda seen: seen.at if seen.at is not None else float("-inf"),
        "latency": lambda seen: -(seen.bmc.smoothed_s or 0.0),
        "failures": lambda seen: -seen.failures,
    }
    every = conductor.freshness.every()
    if sort_by == "age":
        every = [seen for seen in every if seen.view.mode != Mode.NONE]
    first = heapq.nsmallest(min(limit, MOST_ROWS), every, key=keys[sort_by])
    return Sightings(conductor.freshness.overview(), [_sighting(conductor, seen) for seen in first])


def _sighting(conductor: Conductor, seen: Seen) -> Sighting:
    view, now, told, lane = seen.view, conductor.clock.monotonic(), seen.reading, seen.lane
    age_s = now - seen.at if seen.at is not None else None
    date = lane.pacer.date(view.uuid) if lane is not None else None
    return Sighting(
        uuid=view.uuid,
        name=view.name,
        bmc=view.way.address if view.way.address != view.uuid else None,
        mode=view.mode,
        recorded=view.power_state,
        told=Told(told.power, told.boot_mode, told.secure_boot, told.health, told.vendor) if told is not None else None,
        seen_at=conductor.clock.now() - datetime.timedelta(seconds=age_s) if age_s is not None else None,
        age_s=round(age_s, 3) if age_s is not None else None,
        by=seen.by,
        latency_s=round(seen.bmc.smoothed_s, 4) if seen.bmc.smoothed_s is not None else None,
        failures=seen.failures,
        problem=str(seen.problem) if seen.problem is not None else None,
        breaker="open" if seen.bmc.is_open else "closed",
        next_in_s=round(max(0.0, date - now), 3) if date is not None else None,
    )
