"""One moment of what a conductor knows of its nodes' power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Self

import msgspec

from ironic_lite.conductor.picture import Mode, Seen
from ironic_lite.executors.pacing import PaceStats
from ironic_lite.metrics import Sample, counter, gauge

OUTCOMES: Final = ("answered", "failed", "put off", "stale")

NODES: Final = gauge(
    "ironic_lite_power_nodes",
    "Nodes of the conductor, by what they are asked for: power sync, power recovery, or left alone.",
    "mode",
)
LATE: Final = gauge(
    "ironic_lite_power_nodes_late", "Synced nodes whose power was seen longer ago than sync_power_state_interval."
)
UNSEEN: Final = gauge("ironic_lite_power_nodes_unseen", "Synced nodes whose BMC has not answered yet.")
OLDEST: Final = gauge(
    "ironic_lite_power_oldest_seconds", "How long ago the power of the synced node was seen that waits longest."
)
BREAKERS: Final = gauge("ironic_lite_power_breakers_open", "Nodes whose BMC failed so often that it is only probed.")
SECOND_LOOKS: Final = gauge("ironic_lite_power_second_looks", "Differences of power that wait for a second look.")
POLLS: Final = counter("ironic_lite_power_polls_total", "Questions to BMCs for their power, by outcome.", "outcome")
LANE_RUNNING: Final = gauge("ironic_lite_power_lane_running", "Questions of the lane that are under way.", "lane")
LANE_LIMIT: Final = gauge("ironic_lite_power_lane_limit", "Questions of the lane that may be under way.", "lane")
LANE_DUE: Final = gauge("ironic_lite_power_lane_due", "Nodes whose turn has come and that wait for room.", "lane")
LANE_LAG: Final = gauge(
    "ironic_lite_power_lane_lag_seconds",
    "How late the latest hundredth of the lane's last 1024 questions began.",
    "lane",
)


class Overview(msgspec.Struct, frozen=True):
    """What is known of the nodes that are ours, and what is being done about it. Ages in seconds.

    `late`: their power is older than it may be. `unseen`: never answered yet. `open_breakers`: their BMCs are only
    probed. `second_looks`: differences that wait for one. `unwritten`: nodes of which something is to be written.
    """

    nodes: int
    synced: int
    recovering: int
    late: int
    unseen: int
    oldest_s: float
    open_breakers: int
    second_looks: int
    unwritten: int
    outcomes: dict[str, int]
    lanes: tuple[PaceStats, ...]

    @classmethod
    def of(
        cls,
        every: Sequence[Seen],
        now: float,
        may_be_s: float,
        *,
        unwritten: int,
        outcomes: Mapping[str, int],
        lanes: tuple[PaceStats, ...],
    ) -> Self:
        """Count them."""
        synced = [seen for seen in every if seen.view.mode == Mode.SYNC]
        ages = [now - seen.at for seen in synced if seen.at is not None]
        return cls(
            nodes=len(every),
            synced=len(synced),
            recovering=sum(seen.view.mode == Mode.RECOVERY for seen in every),
            late=sum(age > may_be_s for age in ages),
            unseen=len(synced) - len(ages),
            oldest_s=max(ages, default=0.0),
            open_breakers=sum(seen.bmc.is_open for seen in every),
            second_looks=sum(seen.suspect or seen.second_look for seen in every),
            unwritten=unwritten,
            outcomes=dict(outcomes),
            lanes=lanes,
        )

    def samples(self) -> Iterator[Sample]:
        """The same for Prometheus."""
        yield NODES.at(self.synced, Mode.SYNC)
        yield NODES.at(self.recovering, Mode.RECOVERY)
        yield NODES.at(self.nodes - self.synced - self.recovering, Mode.NONE)
        yield LATE.at(self.late)
        yield UNSEEN.at(self.unseen)
        yield OLDEST.at(self.oldest_s)
        yield BREAKERS.at(self.open_breakers)
        yield SECOND_LOOKS.at(self.second_looks)
        for outcome in OUTCOMES:
            yield POLLS.at(self.outcomes.get(outcome, 0), outcome)
        for lane in self.lanes:
            yield LANE_RUNNING.at(lane.running, lane.name)
            yield LANE_LIMIT.at(lane.limit, lane.name)
            yield LANE_DUE.at(lane.due, lane.name)
            yield LANE_LAG.at(lane.lag_p99_s, lane.name)
