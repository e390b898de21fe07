"""The sessions of one BMC: few slots, each held until it is deleted or idle for too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ironic_lite.clock import Clock, new_secret

SLOTS: Final = 8  # what small BMCs have
SLOTS_MAX: Final = 1000
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
    """The slots. A token is checked by `touch`, which also keeps its session alive.

    `opened` and `refused` count log-ins, `open_max` is the most sessions at the same time.
    """

    __slots__ = ("_by_token", "_clock", "open_max", "opened", "refused", "slots")

    def __init__(self, clock: Clock, slots: int = SLOTS) -> None:
        self.slots = slots
        self.opened = self.refused = self.open_max = 0
        self._clock = clock
        self._by_token: dict[str, Session] = {}

    def create(self, username: str) -> Session:
        """Take a slot. Raises `SlotsTakenError` when none is free."""
        self._expire()
        if len(self._by_token) >= self.slots:
            self.refused += 1
            raise SlotsTakenError
        self.opened += 1
        session = Session(str(self.opened), new_secret(), username, self._clock.monotonic())
        self._by_token[session.token] = session
        self.open_max = max(self.open_max, len(self._by_token))
        return session

    def touch(self, token: str) -> bool:
        """Whether the token belongs to an open session."""
        session = self._by_token.get(token)
        now_s = self._clock.monotonic()
        if session is None or session.used_at_s < now_s - IDLE_TIMEOUT_S:
            return False
        session.used_at_s = now_s
        return True

    def get(self, ident: str) -> Session | None:
        """The open session of that id."""
        self._expire()
        return next((one for one in self._by_token.values() if one.id == ident), None)

    def delete(self, ident: str) -> bool:
        """Give the slot back. False if there is no such session."""
        session = self.get(ident)
        return session is not None and self._by_token.pop(session.token, None) is not None

    def forget(self) -> None:
        """End all, as a BMC that restarts does."""
        self._by_token.clear()

    def ids(self) -> list[str]:
        """The ids of the open sessions, oldest first."""
        self._expire()
        return [one.id for one in self._by_token.values()]

    def _expire(self) -> None:
        end_s = self._clock.monotonic() - IDLE_TIMEOUT_S
        for token in [token for token, session in self._by_token.items() if session.used_at_s < end_s]:
            del self._by_token[token]
