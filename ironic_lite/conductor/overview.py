"""One moment of what a conductor knows of its nodes' power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from ironic_lite.conductor.picture import Mode, Seen
from ironic_lite.executors.pacing import PaceStats


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
