"""What polls have dropped of the datagrams that came; apart from them, so that counting loads no BMC library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ironic_lite.metrics import Sample, counter

# By reason. "unexpected": nobody waited for anything from there; "stale": late, repeated, or of another session;
# "malformed": not RMCP+, or not signed by the BMC.
DROPPED: Final[Counter[str]] = Counter()
FAMILY: Final = counter("ironic_lite_ipmi_dropped_total", "Datagrams that polls of IPMI BMCs have dropped.", "reason")


def samples() -> Iterator[Sample]:
    """The counts now. For any thread."""
    for reason, count in dict(DROPPED).items():
        yield FAMILY.at(count, reason)
