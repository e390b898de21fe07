"""What a conductor keeps in mind of its nodes, so that asking a BMC costs no statement. Knows neither loop nor thread.

A `View` is a node's row as far as the polling of its power goes; frozen, so that whoever asked a BMC knows by its
identity whether the row is still the same when the answer comes. A `Seen` is what was learnt from the BMC.
"""

from __future__ import annotations

import concurrent.futures
import functools
import math
from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.events import Subscriber
from ironic_lite.domain.node import Node, labelled
from ironic_lite.domain.states import NOT_SYNCED, BootMode, Fault, Power
from ironic_lite.drivers import registry
from ironic_lite.drivers.breaker import Line
from ironic_lite.drivers.interfaces import Reading, Subscribed

# Between two questions that hints set off: a BMC may send an event for each of our requests.
HINTS_REST_S: Final = 5.0


class Mode(StrEnum):
    """What a node is asked for."""

    SYNC = "power sync"
    RECOVERY = "power recovery"
    NONE = "left alone"


class Way(msgspec.Struct, frozen=True):
    """How a node's BMC is asked. With `poll` that is done on the loop; without it, by a thread.

    `address` says which nodes have a BMC in common. `problem` is why it can't be asked at all. `keep` sees to the
    subscription to its events, if it may have any.
    """

    info: int  # the hash of what it was worked out of
    address: str
    poll: Callable[[Deadline], Awaitable[Reading]] | None = None
    keep: Callable[[Subscriber, Deadline], Awaitable[Subscribed]] | None = None
    problem: errors.Error | None = None


class View(msgspec.Struct, frozen=True):
    """A node's row, and how its BMC is asked; the row itself is kept where a thread needs it."""

    uuid: str
    name: str | None
    revision: int
    mode: Mode
    power_state: Power | None
    boot_mode: BootMode | None
    health: str | None
    way: Way
    node: Node | None

    @property
    def label(self) -> str:
        """How a sentence names the node."""
        return labelled(self.name, self.uuid)


class Bmc(Line):
    """The way to one BMC, and the nodes that wait for it because another one of it is being asked."""

    __slots__ = ("_asked", "_waiting")

    def __init__(self) -> None:
        super().__init__()
        self._asked = False
        self._waiting: dict[str, None] | None = None  # each node once, in their order; most BMCs have one node

    def enter(self, uuid: str) -> bool:
        """Whether the node may be asked now; else it has its turn later."""
        if self._asked:
            self._waiting = self._waiting or {}
            self._waiting[uuid] = None
            return False
        if self._waiting:
            self._waiting.pop(uuid, None)
        self._asked = True
        return True

    def leave(self) -> bool:
        """The node was asked. Whether others wait."""
        self._asked = False
        return self._waiting is not None

    def following(self) -> Iterator[str]:
        """Whose turn it is, as long as nobody takes it."""
        while self._waiting:
            uuid = next(iter(self._waiting))
            del self._waiting[uuid]
            yield uuid
        self._waiting = None


class Seen:
    """A node and what its BMC told. `at` is a time of the loop, None before the first answer; written on the loop."""

    __slots__ = (
        "_hints_rest_until",
        "at",
        "bmc",
        "by",
        "failures",
        "hint_at",
        "lane",
        "problem",
        "reading",
        "second_look",
        "suspect",
        "view",
        "waiters",
    )

    def __init__(self, view: View, bmc: Bmc) -> None:
        self.view, self.bmc = view, bmc
        self.at: float | None = None
        self.by: str | None = None  # the lane that the answer came by
        self.reading: Reading | None = None
        self.problem: errors.Error | None = None  # of the last question, if it failed
        self.failures = 0  # in a row, those that are put down to the BMC
        self.suspect = False  # a difference was seen, and a second look is on the agenda
        self.second_look = False  # the next answer decides
        self.lane: Any = None
        self.waiters: list[concurrent.futures.Future[Any]] | None = None
        self.hint_at: float | None = None  # when a hint wants it asked
        self._hints_rest_until = -math.inf

    @property
    def is_wanted(self) -> bool:
        """Whether somebody wants it asked."""
        return self.view.mode != Mode.NONE or any(not one.done() for one in self.waiters or ())

    def hinted(self, now: float) -> float:
        """When to ask because of a hint: at once, but for those of a storm, which are all answered by one question."""
        if self.hint_at is None:
            self.hint_at = max(now, self._hints_rest_until)
        return self.hint_at

    def begins(self, now: float) -> None:
        """A question begins: it serves the hint that is due, and what comes from here on needs another one."""
        if self.hint_at is not None and self.hint_at <= now:
            self.hint_at, self._hints_rest_until = None, now + HINTS_REST_S

    def hints_rest_s(self, now: float) -> float:
        """For how long further hints change nothing, once there was one. May be asked by any thread."""
        return max(0.0, self._hints_rest_until - now)


def view(node: Node, known: View | None, *, threads: bool) -> View:
    """The view of a row. What was worked out of the same driver_info before is taken from `known`.

    `threads`: no BMC is asked on the loop. Never raises: what is wrong with the row is the way's `problem`.
    """
    info = hash((node.driver, node.power_interface, node.label, msgspec.json.encode(node.driver_info, order="sorted")))
    way = known.way if known is not None and known.way.info == info else _way(node, info, threads=threads)
    return View(
        uuid=node.uuid,
        name=node.name,
        revision=node.revision,
        mode=mode(node),
        power_state=node.power_state,
        boot_mode=node.boot_mode,
        health=node.health,
        way=way,
        node=node if way.poll is None else None,
    )


def _way(node: Node, info: int, *, threads: bool) -> Way:
    try:
        driver: Any = registry.power(node)
        driver.check(node)
        target = driver.target(node) if hasattr(driver, "target") else None
    except (errors.Invalid, errors.DriverNotFound) as exc:
        return Way(info, node.uuid, problem=exc)
    if target is None:
        return Way(info, node.uuid)
    poll = None if threads else functools.partial(driver.poll, target)
    keep = functools.partial(driver.keep_subscription, target) if hasattr(driver, "keep_subscription") else None
    return Way(info, target.address, poll, keep)


def mode(node: Node) -> Mode:
    """What is to be done about the node's power: nothing while somebody works on it, or wants to be left in peace."""
    if node.reservation is not None or node.target_power_state is not None:
        return Mode.NONE
    if node.maintenance:
        return Mode.RECOVERY if node.fault == Fault.POWER else Mode.NONE
    return Mode.NONE if node.provision_state in NOT_SYNCED else Mode.SYNC


def news(row: View | Node, reading: Reading) -> dict[str, Any]:
    """What the reading says that the row does not, by column. What the BMC did not say is no news."""
    found: dict[str, Any] = {}
    if reading.power is not None and reading.power != row.power_state:
        found["power_state"] = reading.power
    if reading.boot_mode is not None and reading.boot_mode != row.boot_mode:
        found["boot_mode"] = reading.boot_mode
    if reading.health is not None and reading.health != row.health:
        found["health"] = reading.health
    return found
