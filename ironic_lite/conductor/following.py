"""Keeps the picture of the nodes in step with their table: what others wrote, made or removed, and whose they are.

Every `TURN_S` one query asks which rows were written since the last one and a little before: by the database's clock,
and overlapping by as long as a transaction may take, as a row's time is that of its statement and not of its commit.
Those that are in another revision than we have are read. Every `COMPARED_S`, and whenever the count or the ring says
that this is not the whole truth, all ids and revisions are compared.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.freshness import Freshness
from ironic_lite.db import nodes
from ironic_lite.db.deadlines import Limits
from ironic_lite.db.engine import conf as database_conf
from ironic_lite.db.nodes import Version
from ironic_lite.domain.node import Node

TURN_S: Final = 10.0
COMPARED_S: Final = 600.0
CHUNK: Final = 500


class Following:
    """One conductor's. A turn may be asked for by any thread; one runs at a time, and another one is left out."""

    def __init__(self, conductor: Conductor, freshness: Freshness) -> None:
        self._conductor, self._freshness = conductor, freshness
        self._turning = threading.Lock()
        self._members: object = None  # by whom the nodes were shared out when all were compared
        self._uuids: set[str] = set()  # of all nodes, whosever they are
        self._asked_at = self._compared_at = -math.inf

    def turn(self) -> None:
        """Catch up with the table. Raises `DatabaseUnavailable`."""
        if not self._turning.acquire(blocking=False):
            return
        try:
            self._catch_up()
        finally:
            self._turning.release()

    def _catch_up(self) -> None:
        now, members = self._conductor.clock.monotonic(), self._conductor.members.current().members
        if members != self._members or now - self._compared_at >= COMPARED_S:
            self._compare(now, members)
            return
        overlap_s = Limits(database_conf.statement_timeout).idle_s
        known = self._freshness.all_known()
        written, total = nodes.changed_since(self._conductor.database, math.ceil(now - self._asked_at) + overlap_s)
        self._uuids.update(one.uuid for one in written)
        self._uuids.update(self._freshness.all_known())  # a node that we wrote, and that was removed before we read it
        self._read([one.uuid for one in written if known.get(one.uuid) != one.revision])
        self._asked_at = now
        made_anew = any(one.revision < known.get(one.uuid, 0) for one in written)
        if made_anew or len(self._uuids) != total:  # some were removed
            self._compare(now, members)

    def _compare(self, now: float, members: object) -> None:
        known = self._freshness.all_known()  # before the table is read: what we write meanwhile is not older than that
        table = nodes.revisions(self._conductor.database)
        owned = {one.uuid: one.revision for one in table if self._owns(one)}
        # A revision that went back is of another node, which was given the UUID of one that was removed.
        gone = [uuid for uuid, revision in known.items() if owned.get(uuid, -1) < revision]
        self._freshness.place([], gone=gone)
        self._read([uuid for uuid, revision in owned.items() if known.get(uuid) != revision])
        self._uuids = {one.uuid for one in table}
        self._asked_at = self._compared_at = now
        self._members = members

    def _read(self, uuids: Sequence[str]) -> None:
        for first in range(0, len(uuids), CHUNK):
            self._place(nodes.some(self._conductor.database, uuids[first : first + CHUNK]))

    def _place(self, rows: Iterable[Node]) -> None:
        ours, gone = [], []
        for row in rows:
            if self._owns(row):
                ours.append(row)
            elif self._freshness.known(row.uuid) is not None:
                gone.append(row.uuid)
        self._freshness.place(ours, gone)

    def _owns(self, row: Node | Version) -> bool:
        return self._conductor.owns(row.uuid, row.driver, row.conductor_group)
