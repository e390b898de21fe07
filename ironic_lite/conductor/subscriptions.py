"""The subscriptions to the events of our nodes' BMCs: made, looked after, and removed when nobody wants them any more.

*Guarantees.* (1) At most `AT_A_TIME` BMCs are spoken to for this at the same moment, each through its one contact and
behind whatever else is asked of it; looks are spread over the interval. (2) A BMC that refuses is asked again
`REFUSED_S` later, one that is silent at its next turn: neither is held against the node. (3) What is no longer wanted
(the node removed, its BMC another one, events turned off) is tried to be removed `REMOVALS` times; what that misses
sends events that are answered with 404. (4) Nothing that holds a token is logged. `turn` is called by one thread at a
time; jobs are used on the I/O loop alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Deadline, jitter
from ironic_lite.cluster import rpc
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.following import CHUNK, TURN_S
from ironic_lite.conductor.picture import Mode, View
from ironic_lite.config import Int, OptionalStr, Section
from ironic_lite.db import keys, nodes
from ironic_lite.domain import events
from ironic_lite.domain.events import Subscriber
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import Subscribed
from ironic_lite.executors.pacing import Pacer
from ironic_lite.executors.turns import next_turn
from ironic_lite.metrics import Sample, gauge

LOG = logging.getLogger(__name__)

AT_A_TIME: Final = 16
FIRST_S: Final = 60.0  # over which the first looks of a life are spread
REFUSED_S: Final = 86400.0
REFUSED_JITTER: Final = 0.1
REMOVALS: Final = 3
REMOVE_AGAIN_S: Final = 60.0
SILENT, COMING = "silent", "coming"

_STATES: Final = gauge("ironic_lite_event_subscriptions", "Nodes by how their BMC takes our subscription.", "state")


class conf(Section, name="redfish"):
    """Whether BMCs tell us, and where."""

    event_receiver_url = OptionalStr(
        None,
        mutable=True,
        regex=r"https?://[^\s/?#@]+(/[^\s?#@]*)?",
        help="URL by which BMCs reach the API, such as https://metal.example.org:6385: they are asked to send their "
        "events there, and an event has the node's power looked at at once; unset: no events.",
    )
    event_subscription_interval = Int(
        3600, min=1, mutable=True, help="Seconds between two looks at whether a BMC still has our subscription."
    )


@rpc.quick_method
def event_came(conductor: Conductor, node: str) -> float:
    """The node's BMC has sent an event: look at the node soon. For so many seconds more events would change nothing."""
    return conductor.freshness.hint(node)


class Job:
    """A subscription that is looked after, or that is to be removed."""

    def __init__(
        self, address: str, subscriber: Subscriber, keep: Callable[[Subscriber, Deadline], Awaitable[Subscribed]]
    ) -> None:
        self.address, self.subscriber, self.keep = address, subscriber, keep
        self.state = COMING
        self.failures = 0


class Subscriptions:
    """Those of one conductor."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        conductor.sources.append(self.samples)
        self._base_url: str | None = None
        self._key: str | None = None
        self._began = self._stopped = False
        self._views: dict[str, View] = {}  # of the nodes whose BMC we have something to do with
        self._jobs: dict[str, Job] = {}
        self._pacer: Pacer | None = None

    # For any thread.

    def interval_s(self) -> float:
        """Seconds between two turns; 0 while there is nothing to do."""
        if self._began and not (conf.event_receiver_url or self._key):
            return 0.0
        return min(TURN_S, conf.event_subscription_interval)

    def turn(self) -> None:
        """Catch up with the nodes and the options. Raises `DatabaseUnavailable`."""
        base_url = conf.event_receiver_url
        if self._key is None:
            self._key = (keys.find_or_make if base_url else keys.find)(self._conductor.database, events.KEY)
        began, self._began = self._began, True
        if self._key is None:  # no BMC was ever asked for events
            return
        before, found = self._views, self._found()
        moved = self._moved(before.keys() - found.keys())
        anew = base_url != self._base_url or not began
        self._base_url, self._views = base_url, found
        for uuid, view in found.items():
            known = before.get(uuid)
            if known is not None and known.way.address != view.way.address:
                self._look_after(known, Subscriber(uuid, None))
            if anew or known is None or known.way is not view.way:
                self._look_after(view, events.subscriber(base_url, self._key, uuid))
        for uuid in before.keys() - found.keys():
            if uuid in moved:
                self._call(self._forget, _thing(uuid, before[uuid].way.address))
            else:
                self._look_after(before[uuid], Subscriber(uuid, None))

    def stop(self) -> None:
        """Speak to nobody any more. Subscriptions stay: this conductor comes back, or another one takes over."""
        self._stopped = True
        if self._pacer is not None:
            IO.call(self._pacer.stop)

    def samples(self) -> Iterator[Sample]:
        """How many there are, for Prometheus."""
        for state, count in sorted(Counter(job.state for job in list(self._jobs.values())).items()):
            yield _STATES.at(count, state)

    # In the turn.

    def _found(self) -> dict[str, View]:
        """The nodes whose BMC may have events; one that nobody has verified yet is let be."""
        views = [seen.view for seen in self._conductor.freshness.every()]
        return {
            view.uuid: view
            for view in views
            if view.way.keep is not None and (view.uuid in self._views or view.mode == Mode.SYNC)
        }

    def _moved(self, gone: Iterable[str]) -> set[str]:
        """Those of the nodes that another conductor has now: it takes over their subscriptions. Others have none."""
        strangers = [uuid for uuid in gone if self._conductor.freshness.seen(uuid) is None]
        found: set[str] = set()
        for first in range(0, len(strangers), CHUNK):
            found.update(node.uuid for node in nodes.some(self._conductor.database, strangers[first : first + CHUNK]))
        return found

    def _look_after(self, view: View, subscriber: Subscriber) -> None:
        if view.way.keep is not None:
            self._call(self._begin, Job(view.way.address, subscriber, view.way.keep))

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._stopped:
            IO.call(function, *arguments)

    # On the loop.

    def _begin(self, job: Job) -> None:
        """In the place of whatever was to be done with the same BMC for the same node: one at a time."""
        if self._stopped:
            return
        if self._pacer is None:
            self._pacer = Pacer("subscriptions", self._visit, lambda: AT_A_TIME)
        thing, now = _thing(job.subscriber.uuid, job.address), self._now()
        self._jobs[thing] = job
        self._pacer.at(thing, next_turn(thing, now, min(FIRST_S, conf.event_subscription_interval)))

    def _forget(self, thing: str) -> None:
        self._jobs.pop(thing, None)
        if self._pacer is not None:
            self._pacer.forget(thing)

    def _now(self) -> float:
        return self._conductor.clock.monotonic()

    async def _visit(self, thing: str) -> None:
        job = self._jobs.get(thing)
        if job is None:
            return
        state = await self._settled(job)
        if self._jobs.get(thing) is job:  # nobody wants something else meanwhile
            self._tell(job, state)
            job.state = state
            self._plan(thing, job)

    async def _settled(self, job: Job) -> str:
        """How it stands after one try. A BMC that is only probed is left to those who probe it."""
        seen = self._conductor.freshness.seen(job.subscriber.uuid)
        if seen is not None and seen.bmc.is_open:
            return SILENT
        try:
            return await job.keep(job.subscriber, self._conductor.poll_deadline())
        except errors.BMCError as exc:
            LOG.debug("The events of the BMC at %s are left for later: %s", job.address, exc)
            return SILENT

    @staticmethod
    def _tell(job: Job, state: str) -> None:
        if state == job.state:
            return
        if state == Subscribed.REFUSED:
            LOG.info("The BMC at %s takes no subscription to its events for now; polls see to it.", job.address)
        elif state == Subscribed.ANEW and job.state == Subscribed.ALREADY:
            LOG.info("The BMC at %s had lost our subscription to its events; it has a new one.", job.address)

    def _plan(self, thing: str, job: Job) -> None:
        now, pacer = self._now(), self._pacer
        if pacer is None:
            return
        if job.subscriber.url is not None:
            interval_s = conf.event_subscription_interval
            refused = job.state == Subscribed.REFUSED
            pacer.at(thing, now + REFUSED_S * jitter(REFUSED_JITTER) if refused else next_turn(thing, now, interval_s))
            return
        job.failures += job.state == SILENT
        if job.state == SILENT and job.failures < REMOVALS:
            pacer.at(thing, now + REMOVE_AGAIN_S)
        else:
            self._forget(thing)


def _thing(uuid: str, address: str) -> str:
    return f"{uuid} at {address}"
