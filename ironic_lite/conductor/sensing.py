"""When each node's sensors are collected: a turn of its own in each interval, the same at every start.

*Guarantees.* (1) A node has one turn in each `[sensor_data]interval`, at a moment that follows from its UUID, so that
thousands are spread over the interval; while a collection of it runs the next turn waits for its end. (2) Coroutines
collect where the driver has them and `poll_engine` lets them, at most `[sensor_data]concurrency` at a time; threads the
others, as many as the pool's kind has workers. Both stand behind power: its requests go ahead at each BMC, and its
lanes are others. (3) Nodes that are reserved, in maintenance or on their way are left alone until their row says
otherwise. (4) Nothing here asks the database.
All state is used on the I/O loop alone; other threads come in by `IO.call`. `lanes` may be called by any thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.conductor import sensors
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.freshness import conf as freshness_conf
from ironic_lite.conductor.picture import Mode, mode
from ironic_lite.conductor.reports import Subject
from ironic_lite.domain.node import Node
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import SensorsPoller
from ironic_lite.executors.pacing import Pacer, PaceStats
from ironic_lite.executors.turns import next_turn

AGAIN_S: Final = 1.0  # when no thread is free


class Post(msgspec.Struct, frozen=True):
    """A node's row as far as its sensors go. Without `poller` a thread collects, and needs the row itself."""

    subject: Subject
    revision: int
    wanted: bool
    poller: SensorsPoller | None = None
    target: Any = None
    node: Node | None = None


class Sensing:
    """The turns of one conductor."""

    def __init__(self, conductor: Conductor, collector: sensors.Collector) -> None:
        self._conductor, self._collector = conductor, collector
        self._threads = freshness_conf.poll_engine == "threads"
        self._posts: dict[str, Post] = {}
        self._running = False
        self._coroutines: Pacer | None = None  # from `_open` on, as `_workers`
        self._workers: Pacer | None = None

    # For any thread.

    def start(self) -> None:
        """Collect from whoever is placed from here on, if the options want it at all."""
        if sensors.interval_s():
            self._running = True
            IO.call(self._open)

    def stop(self) -> None:
        """Begin nothing any more; what a thread collects ends by itself."""
        if self._running:
            self._running = False
            IO.call(self._close)

    def place(self, rows: Iterable[Node], gone: Iterable[str]) -> None:
        """Take over rows as they were read or written; an older row than the one we have is ignored."""
        if self._running:
            IO.call(self._place, [self._post(row) for row in rows], list(gone))

    def lanes(self) -> tuple[PaceStats, ...]:
        """How busy each lane is; none before the start."""
        return tuple(lane.stats() for lane in self._lanes())

    def _post(self, row: Node) -> Post:
        subject = Subject(row.uuid, row.name, row.instance_uuid, row.driver)
        if mode(row) != Mode.SYNC or not sensors.wanted(row):
            return Post(subject, row.revision, wanted=False)
        try:
            driver: Any = registry.management(row)
            target = None if self._threads or not hasattr(driver, "collect") else driver.target(row)
        except (errors.Invalid, errors.DriverNotFound):
            target = None  # a thread meets the same, and tells of it
        if target is None:
            return Post(subject, row.revision, wanted=True, node=row)
        return Post(subject, row.revision, wanted=True, poller=driver, target=target)

    # On the loop.

    def _open(self) -> None:
        pool = self._conductor.pool
        self._coroutines = Pacer(f"{Work.SENSORS} by coroutines", self._visit, lambda: sensors.conf.concurrency)
        self._workers = Pacer(Work.SENSORS, self._visit, lambda: pool.cap(Work.SENSORS))

    def _close(self) -> None:
        for lane in self._lanes():
            lane.stop()

    def _lanes(self) -> list[Pacer]:
        return [lane for lane in (self._coroutines, self._workers) if lane is not None]

    def _place(self, posts: list[Post], gone: list[str]) -> None:
        for uuid in gone:
            self._posts.pop(uuid, None)
            for lane in self._lanes():
                lane.forget(uuid)
        for post in posts:
            known = self._posts.get(post.subject.uuid)
            if known is None or post.revision > known.revision:
                self._posts[post.subject.uuid] = post
                self._plan(post)

    def _plan(self, post: Post) -> None:
        """Give the node its turn, in the one lane that it belongs to."""
        uuid, own = post.subject.uuid, self._workers if post.poller is None else self._coroutines
        for lane in self._lanes():
            if lane is not own or not post.wanted:
                lane.forget(uuid)
        if post.wanted and own is not None:
            now = asyncio.get_running_loop().time()
            own.by(uuid, next_turn(uuid, now, sensors.interval_s()))

    async def _visit(self, uuid: str) -> None:
        post = self._posts.get(uuid)
        if post is None or not post.wanted:
            return
        try:
            await self._collect(post)
        except errors.Unavailable:
            if self._workers is not None:
                self._workers.by(uuid, asyncio.get_running_loop().time() + AGAIN_S)
            return
        latest = self._posts.get(uuid)
        if latest is not None:
            self._plan(latest)

    async def _collect(self, post: Post) -> None:
        if post.poller is not None:
            await self._collector.visit(post.subject, post.poller, post.target)
        elif post.node is not None:
            name = f"{Work.SENSORS} of {post.subject.label}"
            await asyncio.wrap_future(
                self._conductor.pool.submit(Work.SENSORS, name, self._collector.collect, post.node)
            )
