"""What of a machine's sensors was told, part by part, and what was not: for both ways of collecting."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from sushy import exceptions as sushy_errors

from ironic_lite.clock import Deadline
from ironic_lite.drivers.interfaces import Collected, Sensors
from ironic_lite.drivers.redfish.faults import CAUGHT, is_silence, reason

# What BMCs answer for a part that they name and do not have.
ABSENT: Final = (404, 500, 501)
SILENCES: Final = 2
STORAGE_LIMIT: Final = 16
DRIVE_LIMIT: Final = 64
SENSOR_LIMIT: Final = 64


class Parts:
    """One collection under way.

    A BMC may be silent once, as some are about one resource; twice in a row, and it is asked nothing more.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.told: Sensors = {}
        self.missing: dict[str, str] = {}
        self._deadline = deadline
        self._failure: Exception | None = None
        self._silences = 0

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Go on behind the block whatever goes wrong in it, and say so. What a BMC does not have is not missing."""
        try:
            yield
        except CAUGHT as exc:
            if not isinstance(exc, sushy_errors.HTTPError) or exc.status_code not in ABSENT:
                self.missing[name], self._failure = reason(exc), exc
                self._silences += is_silence(exc)

    def check(self) -> None:
        """To be called before each request. Raises what went wrong, if no more are to be sent."""
        if self._failure is not None and self._silences >= SILENCES:
            raise self._failure
        if self._deadline.passed():
            raise TimeoutError

    def add(self, told: Sensors) -> None:
        """Take in what was told."""
        self._silences = 0
        for kind, entries in told.items():
            if entries:
                self.told.setdefault(kind, {}).update(entries)

    def collected(self, extra: dict[str, Any]) -> Collected:
        """What has come together. Raises what went wrong, if nothing has."""
        if self._failure is not None and not self.told:
            raise self._failure
        return Collected({"Extra": extra, **self.told}, self.missing)
