"""What of a machine's sensors was told, part by part, and what was not: for both ways of collecting."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from sushy import exceptions as sushy_errors

from ironic_lite.drivers.interfaces import Collected, Sensors
from ironic_lite.drivers.redfish.faults import CAUGHT, is_silence, reason

# What BMCs answer for a part that they name and do not have.
ABSENT: Final = (404, 500, 501)
STORAGE_LIMIT: Final = 16
DRIVE_LIMIT: Final = 64
SENSOR_LIMIT: Final = 64


class Parts:
    """One collection under way."""

    def __init__(self) -> None:
        self.told: Sensors = {}
        self.missing: dict[str, str] = {}
        self._failure: Exception | None = None

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Go on behind the block whatever goes wrong in it, and say so. What a BMC does not have is not missing.

        Once the BMC was silent the block is entered all the same; what it asks for is held back by `check`.
        """
        try:
            yield
        except CAUGHT as exc:
            if not isinstance(exc, sushy_errors.HTTPError) or exc.status_code not in ABSENT:
                self.missing[name], self._failure = reason(exc), exc

    def check(self) -> None:
        """Raise what it failed with, if the BMC was silent: it is asked nothing more."""
        if self._failure is not None and is_silence(self._failure):
            raise self._failure

    def add(self, told: Sensors) -> None:
        """Take in what was told."""
        for kind, entries in told.items():
            if entries:
                self.told.setdefault(kind, {}).update(entries)

    def collected(self, extra: dict[str, Any]) -> Collected:
        """What has come together. Raises what went wrong, if nothing has."""
        if self._failure is not None and not self.told:
            raise self._failure
        return Collected({"Extra": extra, **self.told}, self.missing)
