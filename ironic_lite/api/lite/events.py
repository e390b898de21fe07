"""/lite/v1/events/{uuid}/{token}: where BMCs send their events. No credentials but the token, and no API version.

*Guarantees.* (1) An event means "look at this node soon" and nothing else: its body is not even read. (2) A wrong token
costs no RPC and no statement, but for one in `LOOK_S` while the cluster has no key; whether the node exists cannot be
told from the answer. (3) Of a storm only those events are passed on that the conductor does not say it has seen to
already; at most half as many at a time as may wait for BMCs, a quarter of the threads, and one more is told to come
again. `_lock` is taken alone, and never while anything is waited for.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

import falcon

from ironic_lite import errors
from ironic_lite.api import answers
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import c
from ironic_lite.conductor import subscriptions
from ironic_lite.db import keys, nodes
from ironic_lite.domain import events
from ironic_lite.metrics import Sample, counter

LOOK_S: Final = 10.0
COVERED_LIMIT: Final = 4096  # remembered before those that are over are let go of

_EVENTS: Final = counter("ironic_lite_events_total", "Events that BMCs sent, by what became of them.", "outcome")


class Events:
    """POST /lite/v1/events/{uuid}/{token}: 204 whatever it says, 404 for a wrong token."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._turns = threading.BoundedSemaphore(max(1, serving.conductors.bmc_waits.limit // 2))
        self._lock = threading.Lock()
        self._key: str | None = None
        self._looked_at = -math.inf
        self._covered_until: dict[str, float] = {}  # by node: until then its conductor needs no more events
        self._outcomes: Counter[str] = Counter()
        serving.workers.registry.add(self.samples)

    def on_post(self, _req: falcon.Request, resp: falcon.Response, uuid: str, token: str) -> None:
        """Take one event. Raises `NotFound`, and `Unavailable` when it is to be sent again."""
        outcome = "failed"
        try:
            outcome = self._take(uuid, token)
        except errors.NotFound as exc:
            outcome = "unknown"
            raise errors.NotFound("There is nothing here.") from exc
        finally:
            with self._lock:
                self._outcomes[outcome] += 1
        answers.done(resp)

    def samples(self) -> Iterator[Sample]:
        """What became of them, for Prometheus."""
        with self._lock:
            outcomes = sorted(self._outcomes.items())
        for outcome, count in outcomes:
            yield _EVENTS.at(count, outcome)

    def _take(self, uuid: str, token: str) -> str:
        key = self._known_key()
        if key is None or not events.is_token(key, uuid, token):
            raise errors.NotFound(what="The event's node")
        now = self._serving.clock.monotonic()
        if self._covered_until.get(uuid, now) > now:
            return "covered"
        if not self._turns.acquire(blocking=False):
            raise errors.Unavailable(reason="Too many events are being passed on.")
        try:
            self._cover(uuid, now, self._pass_on(uuid))
        finally:
            self._turns.release()
        return "passed on"

    def _known_key(self) -> str | None:
        """The cluster's key; while there is none, nobody was ever asked to send events."""
        if self._key is None:
            now = self._serving.clock.monotonic()
            with self._lock:
                is_due = now - self._looked_at >= LOOK_S
                self._looked_at = now if is_due else self._looked_at
            if is_due:
                self._key = keys.find(self._serving.database, events.KEY)
        return self._key

    def _pass_on(self, uuid: str) -> float:
        node = nodes.fetch(self._serving.database, uuid, (c.uuid, c.driver, c.conductor_group))
        owner = self._serving.members.owner(node.uuid, node.driver, node.conductor_group)
        return self._serving.conductors.call(owner, subscriptions.event_came, uuid)

    def _cover(self, uuid: str, asked_at: float, rest_s: float) -> None:
        """Until then the conductor has not asked the BMC again, so that question sees what later events tell of."""
        if not rest_s:
            return
        with self._lock:
            if len(self._covered_until) >= COVERED_LIMIT:
                current = {node: until for node, until in self._covered_until.items() if until > asked_at}
                self._covered_until = current
            self._covered_until[uuid] = asked_at + rest_s
