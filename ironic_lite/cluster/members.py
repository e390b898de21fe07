"""Who is in the cluster, and which conductor owns which node.

The conductors table is the one source of truth. Each process reads it at most once in `hash_ring_reset_interval` and
builds its rings in memory: one consistent hash ring (tooz) for each conductor group and hardware type. The ring is
advice; the node lock decides.
"""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from tooz.hashring import HashRing

from ironic_lite import errors
from ironic_lite.clock import Clock
from ironic_lite.config import Int, Section
from ironic_lite.db import conductors
from ironic_lite.db.conductors import Conductor
from ironic_lite.db.engine import Database


class conf(Section, name="DEFAULT"):
    """The ring."""

    hash_ring_reset_interval = Int(15, min=1, help="Seconds for which a process trusts its picture of the cluster.")
    hash_partition_exponent = Int(5, min=1, max=16, help="A conductor has two to this power points on the hash ring.")


class heartbeat_conf(Section, name="conductor"):
    """Who counts as alive."""

    heartbeat_interval = Int(10, min=1, help="Seconds between two heartbeats of a conductor.")
    heartbeat_timeout = Int(60, min=1, help="Seconds without a heartbeat after which a conductor counts as dead.")


class Ring:
    """The cluster as it was at one moment. Immutable."""

    def __init__(self, members: Sequence[Conductor], partition_exponent: int) -> None:
        self.members: Final = tuple(members)
        self._by_host = {one.hostname: one for one in members}
        hosts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for one in members:
            for driver in one.drivers:
                hosts[one.conductor_group.lower(), driver].append(one.hostname)
        self._rings = {key: HashRing(names, partitions=2**partition_exponent) for key, names in hosts.items()}

    def owner(self, uuid: str, driver: str, group: str) -> Conductor | None:
        """The conductor that a node belongs to; None if nobody serves its driver in its group."""
        ring = self._rings.get((group.lower(), driver))
        if ring is None:
            return None
        return self._by_host[next(iter(ring.get_nodes(uuid.encode())))]

    def somebody(self, key: str) -> Conductor | None:
        """A conductor for work that belongs to none; equal keys go to the same one. None if nobody is alive."""
        return self.members[zlib.crc32(key.encode()) % len(self.members)] if self.members else None

    def serving(self, driver: str) -> list[Conductor]:
        """Every conductor that has the driver, whatever its group."""
        return [one for one in self.members if driver in one.drivers]

    def drivers(self) -> list[str]:
        """The hardware types that somebody serves, sorted."""
        return sorted({driver for one in self.members for driver in one.drivers})

    def groups(self) -> set[str]:
        """The conductor groups that somebody serves, lower case."""
        return {one.conductor_group.lower() for one in self.members}


class Members:
    """The current ring, read again when it is too old.

    Guarantees: one thread reads the table at a time and the others use the old ring meanwhile; an empty cluster is
    never cached, so that the first conductor is seen at once.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._ring: Ring | None = None
        self._read_at = 0.0
        self._reading = threading.Lock()

    def current(self) -> Ring:
        """The cluster as known now. Raises `DatabaseUnavailable` when it was never known."""
        ring = self._ring
        if ring is not None and self._clock.monotonic() - self._read_at < conf.hash_ring_reset_interval:
            return ring
        if ring is not None and not self._reading.acquire(blocking=False):
            return ring
        if ring is None:
            self._reading.acquire()  # nothing to answer with yet: wait for the reader, whose statement has a deadline
        try:
            return self._read()
        finally:
            self._reading.release()

    def forget(self) -> None:
        """Read the table again at the next question: somebody was not where the ring said."""
        self._ring = None

    def owner(self, uuid: str, driver: str, group: str) -> Conductor:
        """The conductor that the node belongs to. Raises `NoConductor`."""
        found = self.current().owner(uuid, driver, group)
        if found is None:
            raise errors.NoConductor(driver=driver, group=group)
        return found

    def somebody(self, key: str) -> Conductor:
        """A conductor for work that belongs to none. Raises `NoLiveConductor`."""
        found = self.current().somebody(key)
        if found is None:
            raise errors.NoLiveConductor
        return found

    def _read(self) -> Ring:
        members = conductors.alive(self._database, heartbeat_conf.heartbeat_timeout)
        ring = Ring(members, conf.hash_partition_exponent)
        self._ring, self._read_at = (ring if members else None), self._clock.monotonic()
        return ring
