"""One simulated IPMI BMC: datagrams in, datagrams out, with its sessions and its faults. No I/O of its own."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from ironic_lite.fleet.device import Device, Identity, Reach, Site
from ironic_lite.fleet.faults import Fault, Kind
from ironic_lite.fleet.ipmi import commands, sessions, wire
from ironic_lite.fleet.ipmi.sessions import RefusedError, Session, Sessions
from ironic_lite.fleet.ipmi.wire import Keys, MalformedError, Message
from ironic_lite.fleet.machine import Machine
from ironic_lite.fleet.quirks import Quirk

_MET_BY_COMMANDS: Final = (Kind.HANG, Kind.SLOW, Kind.DRIP, Kind.BUSY, Kind.ERROR, Kind.GARBAGE, Kind.TRUNCATED)
_CODES: Final = {Kind.BUSY: commands.BUSY, Kind.ERROR: commands.UNSPECIFIED}
_GARBAGE: Final = b"\x06\x00\xff\x07\x06\xc0not a message"
_HOUSEKEEPING: Final = frozenset({commands.CLOSE_SESSION, (commands.APPLICATION, 0x3B)})
_ROLE: Final = 0x0F
_PASSWORD_BYTES: Final = 20


class Reply(NamedTuple):
    """A datagram to send, and seconds to wait before, on top of the BMC's latency."""

    datagram: bytes
    delay_s: float = 0.0


class Ipmi(Device):
    """The BMC of one address. `next_id` gives out session ids, as one socket serves many BMCs."""

    PROTOCOL = "ipmi"

    def __init__(  # what a BMC is made of
        self, site: Site, address: str, identity: Identity, machine: Machine, slots: int, next_id: Callable[[], int]
    ) -> None:
        self.sessions = Sessions(site.clock, slots)
        super().__init__(site, address, identity, machine, self.sessions)
        self._next_id = next_id
        self._username = site.account.username.encode()
        self._password = site.account.password.encode()[:_PASSWORD_BYTES]

    def receive(self, datagram: bytes) -> Reply | None:
        """Take a datagram; None when nothing is answered."""
        if self.reach is not Reach.OPEN or datagram[:4] != wire.RMCP:
            return None
        try:
            if datagram[4] == wire.FORMAT_15:
                return self._outside(datagram[14 : 14 + datagram[13]], wire.plain_15)
            if datagram[4] != wire.FORMAT_20:
                return None
            kind = datagram[5] & 0x3F
            if kind == wire.MESSAGE:
                return self._message(datagram)
            return self._open(kind, datagram[16:])
        except (MalformedError, IndexError, struct.error):
            self.tally.requests["malformed"] += 1
            return None

    def _outside(self, raw: bytes, frame: Callable[[bytes], bytes]) -> Reply:
        """A command outside any session: what a client asks before it logs in."""
        message = Message.parse(raw)
        self.tally.requests[commands.name(message.network, message.command)] += 1
        if (message.network, message.command) not in _OPEN_TO_ALL:
            return Reply(frame(message.answer(commands.NOT_NOW)))
        code, data = commands.run(self, message.network, message.command, message.data)
        return Reply(frame(message.answer(code, data)))

    def _message(self, datagram: bytes) -> Reply | None:
        ident, sequence, length = struct.unpack_from("<IIH", datagram, 6)
        if ident == 0 and datagram[5] == wire.MESSAGE:
            return self._outside(datagram[16 : 16 + length], lambda raw: wire.plain_20(wire.MESSAGE, raw))
        session = self.sessions.get(ident)
        if session is None or not session.up or session.keys is None:
            self.tally.requests["no-session"] += 1
            return None
        message = Message.parse(session.keys.open(datagram))
        if not session.takes(sequence):
            return None
        return self._command(session, session.keys, message)

    def _command(self, session: Session, keys: Keys, message: Message) -> Reply | None:
        which = message.network, message.command
        self.tally.requests[commands.name(*which)] += 1
        if self.crashes_s() is not None:
            return None
        fault = None if which in _HOUSEKEEPING else self.faults.meet(*_MET_BY_COMMANDS)
        if fault is not None and fault.fault is Kind.HANG:
            return None
        code = _CODES.get(fault.fault) if fault is not None else None
        answer = (code, b"") if code is not None else commands.run(self, *which, message.data)
        session.sent += 1
        sealed = keys.seal(message.answer(*answer), session.console_id, session.sent)
        if which == commands.CLOSE_SESSION or self.faults.meet(Kind.CLOSES_IDLE):
            self.sessions.end(session)
        reply = _spoiled(sealed, fault)
        reads = self.sensor_delay_s() if which == commands.READING else 0.0
        return reply._replace(delay_s=reply.delay_s + reads) if reads else reply

    def _open(self, kind: int, payload: bytes) -> Reply | None:
        """One of the three requests that open a session."""
        try:
            if kind == wire.OPEN_REQUEST:
                return Reply(self._open_session(payload))
            if kind == wire.RAKP1:
                return Reply(self._rakp1(payload))
            if kind == wire.RAKP3:
                return Reply(self._rakp3(payload))
        except RefusedError as exc:
            self.tally.requests["refused"] += 1
            console_id = self._console_id(kind, payload)
            return Reply(wire.plain_20(kind + 1, struct.pack("<BBHI", payload[0], exc.status, 0, console_id)))
        return None

    def _open_session(self, payload: bytes) -> bytes:
        self.tally.requests["open-session"] += 1
        (console_id,) = struct.unpack_from("<I", payload, 4)
        suite = sessions.chosen_suite(payload, wire.SUITES[:1] if Quirk.SHA1_ONLY in self.quirks else wire.SUITES)
        return sessions.opened(payload, self.sessions.begin(self._next_id(), console_id, suite))

    def _rakp1(self, payload: bytes) -> bytes:
        self.tally.requests["rakp1"] += 1
        session = self._half_open(payload)
        if self.faults.meet(Kind.UNAUTHORIZED):
            self.sessions.end(session)
            raise RefusedError(sessions.UNKNOWN_USER)
        if Quirk.OPERATOR_ONLY in self.quirks and payload[24] & _ROLE >= sessions.ADMINISTRATOR:
            self.sessions.end(session)
            raise RefusedError(sessions.INVALID_ROLE)
        return sessions.rakp2(payload, session, self._username, self._password, commands.guid(self))

    def _rakp3(self, payload: bytes) -> bytes:
        self.tally.requests["rakp3"] += 1
        session = self._half_open(payload)
        try:
            answer = sessions.rakp4(payload, session, self._password, commands.guid(self))
        except RefusedError:
            self.sessions.end(session)
            raise
        self.sessions.complete(session)
        return answer

    def _half_open(self, payload: bytes) -> Session:
        session = self.sessions.get(struct.unpack_from("<I", payload, 4)[0])
        if session is None:
            raise RefusedError(sessions.INVALID_SESSION)
        return session

    def _console_id(self, kind: int, payload: bytes) -> int:
        (ident,) = struct.unpack_from("<I", payload, 4)
        if kind == wire.OPEN_REQUEST:
            return int(ident)
        session = self.sessions.get(ident)
        return session.console_id if session is not None else 0


def _spoiled(datagram: bytes, fault: Fault | None) -> Reply:
    """The answer as a fault leaves it."""
    if fault is None:
        return Reply(datagram)
    if fault.fault is Kind.GARBAGE:
        return Reply(_GARBAGE)
    if fault.fault is Kind.TRUNCATED:
        return Reply(datagram[: len(datagram) // 2])
    return Reply(datagram, fault.seconds)


_OPEN_TO_ALL: Final = frozenset({(commands.APPLICATION, command) for command in (0x37, 0x38, 0x54)})
