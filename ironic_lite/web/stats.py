"""What a web server tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ironic_lite.metrics import Family, Sample, counter, gauge


class ServerStats(msgspec.Struct, frozen=True):
    """One moment of a server: requests that run (`busy`) and wait, and all clients turned away so far.

    `threads` is how many requests it runs at a time; `connections` counts the silent ones too.
    """

    name: str
    threads: int
    busy: int
    queued: int
    refused: int
    connections: int

    def samples(self) -> Iterator[Sample]:
        """The same, for Prometheus."""
        for family, value in _FAMILIES:
            yield family.at(value(self), self.name)


_FAMILIES: Final[tuple[tuple[Family, Callable[[ServerStats], float]], ...]] = (
    (gauge("ironic_lite_web_threads", "Requests that run at a time.", "server"), lambda now: now.threads),
    (gauge("ironic_lite_web_busy", "Requests that run.", "server"), lambda now: now.busy),
    (gauge("ironic_lite_web_queued", "Requests that wait for a thread.", "server"), lambda now: now.queued),
    (
        counter("ironic_lite_web_refused_total", "Clients told 503 because all was full.", "server"),
        lambda now: now.refused,
    ),
    (gauge("ironic_lite_web_connections", "Clients that are connected.", "server"), lambda now: now.connections),
)
