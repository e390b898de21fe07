"""What a conductor does by itself, as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ironic_lite.conductor import power, sensors
from ironic_lite.conductor.context import Conductor, Work
from ironic_lite.conductor.strain import Strain
from ironic_lite.config import Int, Section
from ironic_lite.db import nodes
from ironic_lite.domain.node import Node
from ironic_lite.executors.recurring import Recurring
from ironic_lite.executors.rounds import Rounds

HOUSE_KEEPING_S: Final = 60.0


class conf(Section, name="conductor"):
    """How often."""

    sync_power_state_interval = Int(60, min=0, help="Seconds between two visits of the power sync to a node; 0: never.")
    power_failure_recovery_interval = Int(
        300, min=0, help="Seconds between two visits to a node that is in maintenance because its BMC failed; 0: never."
    )


class Schedule:
    """The recurring work of one conductor; each kind goes over the nodes in rounds of its own."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._sync = self._rounds(Work.POWER_SYNC, power.sync_power)
        self._recovery = self._rounds(Work.POWER_RECOVERY, power.recover_power)
        self._sensors = self._rounds(Work.SENSORS, sensors.collect)
        self._strain = Strain(conductor.pool.stats, conductor.clock)

    def _rounds(self, kind: Work, visit: Callable[[Conductor, Node], None]) -> Rounds[Node]:
        return Rounds(kind, self._conductor.pool, lambda node: visit(self._conductor, node), lambda node: node.uuid)

    def rows(self) -> list[Recurring]:
        """Every recurring work of it but the heartbeat."""
        kind = Work.HOUSE_KEEPING
        return [
            Recurring("power sync", lambda: conf.sync_power_state_interval, self._sync_power, kind),
            Recurring("power recovery", lambda: conf.power_failure_recovery_interval, self._recover_power, kind),
            Recurring("sensor collection", _sensor_interval_s, self._collect_sensors, kind),
            Recurring("house-keeping", lambda: HOUSE_KEEPING_S, self._keep_house, kind),
        ]

    def stop(self) -> None:
        """Visit nobody any more; visits that run end by themselves."""
        for rounds in (self._sync, self._recovery, self._sensors):
            rounds.stop()

    def _sync_power(self) -> None:
        self._strain.round_begins(Work.POWER_SYNC, self._sync.waiting())
        self._sync.begin(self._owned(nodes.to_sync(self._conductor.database)))

    def _recover_power(self) -> None:
        self._strain.round_begins(Work.POWER_RECOVERY, self._recovery.waiting())
        self._recovery.begin(self._owned(nodes.with_power_fault(self._conductor.database)))

    def _collect_sensors(self) -> None:
        visited = [node for node in self._owned(nodes.to_sync(self._conductor.database)) if sensors.wanted(node)]
        self._strain.round_begins(Work.SENSORS, self._sensors.waiting())
        self._sensors.begin(visited)

    def _keep_house(self) -> None:
        """Let go of what is known of nodes that are gone, and see whether the workers suffice."""
        self._strain.look()
        self._conductor.forget_all_but(nodes.uuids(self._conductor.database))

    def _owned(self, found: list[Node]) -> list[Node]:
        owns = self._conductor.owns
        return [node for node in found if owns(node.uuid, node.driver, node.conductor_group)]


def _sensor_interval_s() -> int:
    return sensors.conf.interval if sensors.conf.send_sensor_data else 0
