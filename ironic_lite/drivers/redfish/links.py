"""Where the sensors of a machine are, as its BMC said; remembered, so that a collection need not find it out anew."""

from __future__ import annotations

from typing import Any, Final

import msgspec

# A drive that was put in, or a board that was changed, is seen after so long at the latest.
KEPT_S: Final = 3600.0
MACHINES_LIMIT: Final = 64


class Links(msgspec.Struct):
    """One machine's. Paths are as the BMC wrote them; None where it has no such resource."""

    system: str
    extra: dict[str, Any]
    known_until_s: float
    chassis: str = ""
    thermal: str | None = None
    power: str | None = None
    sensors: str | None = None
    simple: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    # Of each controller that was read without its drives in it: its name, and where they are.
    drives: dict[str, tuple[str, tuple[str, ...]]] = {}
    expands: bool = False
    gaps: bool = False  # the BMC names resources that it does not have


class Memory:
    """What is known of the machines behind one BMC, by their System's path. Used on the I/O loop alone."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, Links] | None = None  # most BMCs are asked for no sensors

    def get(self, system: str, now_s: float) -> Links | None:
        """What was learnt of that machine, while that may be believed."""
        known = self._known.get(system) if self._known else None
        return known if known is not None and now_s < known.known_until_s else None

    def keep(self, system: str, links: Links) -> None:
        """Remember it. Beyond `MACHINES_LIMIT` all are forgotten: no BMC has so many."""
        if self._known is None or len(self._known) >= MACHINES_LIMIT:
            self._known = {}
        self._known[system] = links

    def forget(self, system: str) -> None:
        """Find it out anew at the next collection."""
        if self._known:
            self._known.pop(system, None)
