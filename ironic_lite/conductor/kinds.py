"""The kinds of a conductor's work, as a table: how many at a time, and what waits."""

from __future__ import annotations

from typing import Final

from ironic_lite.conductor import power, sensors
from ironic_lite.conductor.context import Work
from ironic_lite.conductor.context import conf as context_conf
from ironic_lite.config import Int, Section
from ironic_lite.executors.kinds import Kind

# Beyond what the BMC was given: the database, and a machine that is busy.
LATE_AFTER_S: Final = 30.0
HOUSE_KEEPING_AT_A_TIME: Final = 2
# A node's way through many states may be hours of one task.
WAY_LATE_AFTER_S: Final = 3600.0
# Nodes whose wait fell due and that wait for a place: of a thousand that were deployed at once.
WAITS: Final = 1000
# Second looks that fell due and wait for a place of the power sync: those of a rack that lost its power at once.
LOOKS: Final = 1000


class conf(Section, name="conductor"):
    """How many workers, and for what."""

    workers_pool_size = Int(300, min=3, help="Pieces of work that the conductor carries out at a time.")
    reserved_workers_pool_percentage = Int(
        5, min=0, max=50, help="Percentage of the workers that only actions which clients asked for may use."
    )
    sync_power_state_workers = Int(8, min=1, mutable=True, help="Nodes that the power sync visits at a time.")
    periodic_max_workers = Int(8, min=1, mutable=True, help="Nodes that any one recurring work visits at a time.")


def reserved() -> int:
    """Places that only critical kinds may use."""
    return share(conf.workers_pool_size, conf.reserved_workers_pool_percentage)


def share(workers: int, percentage: int) -> int:
    """That percentage of the workers, rounded up; fewer than all, so that the others may work at all."""
    return min(workers - 1, -(-workers * percentage // 100))


def kinds() -> list[Kind]:
    """The table, as the options are now. Visits queue at most once per place."""
    actions, recurring = conf.workers_pool_size, conf.periodic_max_workers
    sync, sensor = min(conf.sync_power_state_workers, recurring), sensors.conf.workers
    sensor_s = sensors.conf.wait_timeout + LATE_AFTER_S
    action_s, visit_s = power.conf.soft_power_off_timeout + LATE_AFTER_S, context_conf.poll_timeout + LATE_AFTER_S
    return [
        Kind(Work.ACTIONS, cap=actions, queue=0, critical=True, deadline_s=action_s),
        Kind(Work.PROVISIONING, cap=actions, queue=0, critical=True, deadline_s=WAY_LATE_AFTER_S),
        Kind(Work.WAITS, cap=recurring, queue=WAITS, only_reads=True, deadline_s=visit_s),
        Kind(Work.POWER_SYNC, cap=sync, queue=sync + LOOKS, only_reads=True, deadline_s=visit_s),
        Kind(Work.POWER_RECOVERY, cap=recurring, queue=recurring, only_reads=True, deadline_s=visit_s),
        Kind(Work.SENSORS, cap=sensor, queue=sensor, only_reads=True, deadline_s=sensor_s),
        Kind(Work.HOUSE_KEEPING, cap=HOUSE_KEEPING_AT_A_TIME, queue=8, only_reads=True, deadline_s=LATE_AFTER_S),
    ]


def described(table: list[Kind]) -> str:
    """The table in one line, for the log."""
    caps = ", ".join(f"{kind.name} {kind.cap}" for kind in table)
    kept = f"of which {reserved()} for actions and provisioning alone"
    return f"{conf.workers_pool_size} workers, {kept}; at most at a time: {caps}"
