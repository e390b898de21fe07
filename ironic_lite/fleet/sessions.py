"""The sessions of one BMC: few slots, each held until it is deleted or idle for too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ironic_lite.clock import Clock, new_secret

SLOTS: Final = 8  # what small BMCs have
IDLE_TIMEOUT_S: Final = 1800.0


class SlotsTakenError(Exception):
    """Every session slot of the BMC is in use."""


@dataclass(slots=True)
class Session:
    """One logged-in client."""

    id: str
    token: str
    username: str
    used_at_s: float


class Sessions:
    """The slots. A token is checked by `touch`, which also keeps its session alive."""

    def __init__(self, clock: Clock, slots: int = SLOTS) -> None:
        self.slots = slots
        self._clock = clock
        self._open: dict[str, Session] = {}  # by id
        self._count = 0

    def create(self, username: str) -> Session:
        """Take a slot. Raises `SlotsTakenError` when none is free."""
        self._expire()
        if len(self._open) >= self.slots:
            raise SlotsTakenError
        self._count += 1
        session = Session(str(self._count), new_secret(), username, self._clock.monotonic())
        self._open[session.id] = session
        return session

    def touch(self, token: str) -> bool:
        """Whether the token belongs to an open session."""
        self._expire()
        for session in self._open.values():
            if session.token == token:
                session.used_at_s = self._clock.monotonic()
                return True
        return False

    def get(self, ident: str) -> Session | None:
        """The open session of that id."""
        self._expire()
        return self._open.get(ident)

    def delete(self, ident: str) -> bool:
        """Give the slot back. False if there is no such session."""
        self._expire()
        return self._open.pop(ident, None) is not None

    def ids(self) -> list[str]:
        """The ids of the open sessions, oldest first."""
        self._expire()
        return list(self._open)

    def _expire(self) -> None:
        end_s = self._clock.monotonic() - IDLE_TIMEOUT_S
        for ident in [ident for ident, session in self._open.items() if session.used_at_s < end_s]:
            del self._open[ident]
