"""What a process's pool of database connections tells of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from ironic_lite.metrics import Sample, gauge

_LIMIT: Final = gauge("ironic_lite_database_connections_limit", "Connections that the process may hold.")
_OPEN: Final = gauge("ironic_lite_database_connections", "Connections that the process holds.")
_BUSY: Final = gauge("ironic_lite_database_connections_busy", "Connections that somebody uses now.")


class Connections(msgspec.Struct, frozen=True):
    """One moment of the pool."""

    limit: int
    open: int
    busy: int

    def samples(self) -> Iterator[Sample]:
        """The same, for Prometheus."""
        yield _LIMIT.at(self.limit)
        yield _OPEN.at(self.open)
        yield _BUSY.at(self.busy)
