"""The door through which drivers run child programs: the conductor's, lent for as long as the conductor serves.

Drivers know no conductor, and of a door of their own its stop and its statistics would know nothing. Without a lender,
as in tools and most tests, drivers do without programs.
"""

from __future__ import annotations

from typing import Final

from ironic_lite.executors.programs import Programs


class Tools:
    """What was lent."""

    def __init__(self) -> None:
        self.programs: Programs | None = None


TOOLS: Final = Tools()
