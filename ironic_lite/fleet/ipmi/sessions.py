"""The RMCP+ sessions of one BMC: how one is opened (RAKP, IPMI 2.0, 13.17 to 13.24), and how many there may be."""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass
from typing import Final

from ironic_lite.clock import Clock
from ironic_lite.fleet.ipmi import wire
from ironic_lite.fleet.ipmi.wire import Keys, Suite

IDLE_S: Final = 60.0  # as long as a session may be silent
HALF_OPEN_S: Final = 10.0  # as long as opening one may take
WINDOW: Final = 16  # how far a message may come late
ADMINISTRATOR: Final = 0x04
NO_ROOM, INVALID_SESSION, NO_SUITE, INVALID_ROLE = 0x01, 0x02, 0x11, 0x09
UNKNOWN_USER, BAD_INTEGRITY = 0x0D, 0x0F


@dataclass(slots=True)
class Session:
    """One session, half open until `keys` are there and the client has proved that it has them too."""

    id: int
    console_id: int
    suite: Suite
    used_at_s: float
    console_random: bytes = b""
    random: bytes = b""
    user: bytes = b""  # the role, the length of the name, the name
    keys: Keys | None = None
    up: bool = False
    sent: int = 0
    received: int = 0

    def takes(self, sequence: int) -> bool:
        """Whether a message of that number is neither repeated nor much too late."""
        if sequence == self.received or sequence <= self.received - WINDOW:
            return False
        self.received = max(self.received, sequence)
        return True


class RefusedError(Exception):
    """An opening that is answered with a status code."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Sessions:
    """The sessions of one BMC. Ids are given out by the caller, who has many BMCs on one socket."""

    __slots__ = ("_clock", "_open", "open_max", "opened", "refused", "slots")

    def __init__(self, clock: Clock, slots: int) -> None:
        self.slots = slots
        self.opened = self.refused = self.open_max = 0
        self._clock = clock
        self._open: dict[int, Session] = {}

    def ids(self) -> list[str]:
        """The sessions that hold a slot, oldest first."""
        self._expire()
        return [f"{ident:#x}" for ident in self._open]

    def get(self, ident: int) -> Session | None:
        """The session of that id, kept alive by being asked for."""
        session = self._open.get(ident)
        now_s = self._clock.monotonic()
        if session is None or now_s - session.used_at_s > (IDLE_S if session.up else HALF_OPEN_S):
            return None
        session.used_at_s = now_s
        return session

    def begin(self, ident: int, console_id: int, suite: Suite) -> Session:
        """Take a slot. Raises `RefusedError` when none is free."""
        self._expire()
        if len(self._open) >= self.slots:
            self.refused += 1
            raise RefusedError(NO_ROOM)
        session = Session(ident, console_id, suite, self._clock.monotonic())
        self._open[ident] = session
        return session

    def complete(self, session: Session) -> None:
        """The client has proved who it is."""
        if not session.up:
            session.up = True
            self.opened += 1
            self.open_max = max(self.open_max, sum(one.up for one in self._open.values()))

    def end(self, session: Session) -> None:
        """Give the slot back."""
        self._open.pop(session.id, None)

    def forget(self) -> None:
        """End all."""
        self._open.clear()

    def _expire(self) -> None:
        for ident in [ident for ident in self._open if self._is_over(ident)]:
            del self._open[ident]

    def _is_over(self, ident: int) -> bool:
        session = self._open[ident]
        return self._clock.monotonic() - session.used_at_s > (IDLE_S if session.up else HALF_OPEN_S)


def chosen_suite(request: bytes, suites: tuple[Suite, ...]) -> Suite:
    """The suite that an Open Session Request asks for. Raises `RefusedError` when it is none of these."""
    asked = request[12] & 0x3F, request[20] & 0x3F, request[28] & 0x3F
    for suite in suites:
        if asked == (suite.authentication, suite.integrity, 1):
            return suite
    raise RefusedError(NO_SUITE)


def opened(request: bytes, session: Session) -> bytes:
    """The Open Session Response: the algorithms are confirmed as they were asked for."""
    suite = session.suite
    algorithms = bytes((0, 0, 0, 8, suite.authentication, 0, 0, 0, 1, 0, 0, 8, suite.integrity, 0, 0, 0))
    head = struct.pack("<BBBBII", request[0], 0, ADMINISTRATOR, 0, session.console_id, session.id)
    return wire.plain_20(wire.OPEN_RESPONSE, head + algorithms + bytes((2, 0, 0, 8, 1, 0, 0, 0)))


def rakp2(request: bytes, session: Session, username: bytes, password: bytes, guid: bytes) -> bytes:
    """The answer to RAKP 1: our random number, and the proof that we know the password. Raises `RefusedError`."""
    name = request[28 : 28 + request[27]]
    if name != username:
        raise RefusedError(UNKNOWN_USER)
    if session.console_random != request[8:24]:  # the same once more is a client that has not heard our answer
        session.console_random, session.random = request[8:24], os.urandom(16)
    session.user = bytes((request[24], len(name))) + name
    ids = struct.pack("<II", session.console_id, session.id)
    proof = ids + session.console_random + session.random + guid + session.user
    session.keys = Keys.derive(session.suite, password, session.console_random + session.random + session.user)
    signed = hmac.digest(password, proof, session.suite.digest)
    head = struct.pack("<BBHI", request[0], 0, 0, session.console_id)
    return wire.plain_20(wire.RAKP2, head + session.random + guid + signed)


def rakp4(request: bytes, session: Session, password: bytes, guid: bytes) -> bytes:
    """The answer to RAKP 3. Raises `RefusedError` when the client does not know the password."""
    digest = session.suite.digest
    expected = session.random + struct.pack("<I", session.console_id) + session.user
    if session.keys is None or not hmac.compare_digest(hmac.digest(password, expected, digest), request[8:]):
        raise RefusedError(BAD_INTEGRITY)
    proof = session.console_random + struct.pack("<I", session.id) + guid
    signed = hmac.digest(session.keys.session, proof, digest)[: session.suite.signature_bytes]
    return wire.plain_20(wire.RAKP4, struct.pack("<BBHI", request[0], 0, 0, session.console_id) + signed)
