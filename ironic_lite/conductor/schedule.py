"""What a conductor does by itself, as a table."""

from __future__ import annotations

from typing import Final

from ironic_lite.conductor import recovery, sensors
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.following import TURN_S, Following
from ironic_lite.conductor.freshness import Freshness
from ironic_lite.conductor.freshness import conf as freshness_conf
from ironic_lite.conductor.sensing import Sensing
from ironic_lite.conductor.strain import Strain
from ironic_lite.conductor.subscriptions import Subscriptions
from ironic_lite.conductor.waiting import Waiting
from ironic_lite.db import nodes
from ironic_lite.executors.pacing import PaceStats
from ironic_lite.executors.recurring import Recurring

HOUSE_KEEPING_S: Final = 60.0


class Schedule:
    """The recurring work of one conductor. Power and sensors of each node have turns of their own."""

    def __init__(self, conductor: Conductor, collector: sensors.Collector) -> None:
        self._conductor = conductor
        self._freshness = Freshness(conductor)
        self._following = Following(conductor, self._freshness)
        self._sensing = Sensing(conductor, collector)
        self._waiting = Waiting(conductor)
        self._freshness.followers.extend((self._sensing.place, self._waiting.place))
        self._subscriptions = Subscriptions(conductor)
        self._strain = Strain(conductor.pool.stats, self._lanes, conductor.clock)

    def rows(self) -> list[Recurring]:
        """Every recurring work of it but the heartbeat."""
        kind = Work.HOUSE_KEEPING
        return [
            Recurring("following", _following_interval_s, self._following.turn, kind),
            Recurring("house-keeping", lambda: HOUSE_KEEPING_S, self._keep_house, kind),
            Recurring("event subscriptions", self._subscriptions.interval_s, self._subscriptions.turn, kind),
        ]

    def start(self) -> None:
        """Ask the BMCs, as soon as the nodes are read."""
        self._freshness.start()
        self._sensing.start()
        with self._conductor.pool.slot(Work.HOUSE_KEEPING, "reading the nodes") as slot:
            slot.run(self._following.turn)

    def stop(self) -> None:
        """Visit nobody any more; visits that take a thread end by themselves."""
        self._freshness.stop()
        self._sensing.stop()
        self._subscriptions.stop()

    def _lanes(self) -> tuple[PaceStats, ...]:
        return *self._freshness.lanes(), *self._sensing.lanes()

    def _keep_house(self) -> None:
        """Let go of nodes that are gone, take up those that nobody works on, and see whether the workers suffice."""
        self._strain.look()
        recovery.free_forgotten(self._conductor)
        recovery.take_up_stranded(self._conductor)
        self._waiting.make_up()
        self._conductor.forget_all_but(nodes.uuids(self._conductor.database))


def _following_interval_s() -> float:
    """No slower than the turns themselves, or a new node waits for longer than its picture may be old."""
    interval_s = freshness_conf.sync_power_state_interval
    return min(TURN_S, interval_s) if interval_s else TURN_S
