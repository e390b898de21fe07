"""A client of RMCP+ without I/O, for load and for faults. Whether the BMCs are right, ipmitool and pyghmi tell."""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Generator, Sequence

from ironic_lite.fleet.ipmi import commands, wire
from ironic_lite.fleet.ipmi.wire import Keys, Suite

CHASSIS_STATUS = (commands.CHASSIS, 0x01, b"")
POWER_ON = (commands.CHASSIS, 0x02, b"\x01")
POWER_OFF = (commands.CHASSIS, 0x02, b"\x00")
OPERATOR, ADMINISTRATOR = 0x13, 0x14  # roles, found by the name alone
CONSOLE_ID = 0xA0A2

Command = tuple[int, int, bytes]
Conversation = Generator[bytes, bytes, list[bytes]]


class LoginError(Exception):
    """The BMC has refused to open a session: its status code."""


def visit(
    username: str, password: str, *requests: Command, suite: Suite = wire.SUITES[1], role: int = OPERATOR
) -> Conversation:
    """A session for these commands: yields datagrams to send, is sent the answers, returns code and data of each."""
    session_id = _body(
        (yield wire.plain_20(wire.OPEN_REQUEST, struct.pack("<BBHI", 0, 0, 0, CONSOLE_ID) + _suite(suite)))
    )[8:12]
    ours, user = os.urandom(16), bytes((role, len(username))) + username.encode()
    rakp1 = struct.pack("<BBH", 0, 0, 0) + session_id + ours + user[:1] + b"\0\0" + user[1:]
    theirs = _body((yield wire.plain_20(wire.RAKP1, rakp1)))[8:24]
    keys = Keys.derive(suite, password.encode(), ours + theirs + user)
    proof = hmac.digest(password.encode(), theirs + struct.pack("<I", CONSOLE_ID) + user, suite.digest)
    _body((yield wire.plain_20(wire.RAKP3, struct.pack("<BBH", 0, 0, 0) + session_id + proof)))
    ident = int.from_bytes(session_id, "little")
    answers = []
    for sequence, (network, command, data) in enumerate(_with_close(requests, session_id), start=1):
        answer = yield keys.seal(_message(network, command, data), ident, sequence)
        answers.append(keys.open(answer)[6:-1])
    return answers[:-1]


def _with_close(requests: Sequence[Command], session_id: bytes) -> list[Command]:
    return [*requests, (*commands.CLOSE_SESSION, session_id)]


def _suite(suite: Suite) -> bytes:
    authentication, integrity = bytes((suite.authentication, 0, 0, 0)), bytes((suite.integrity, 0, 0, 0))
    return b"\0\0\0\x08" + authentication + b"\1\0\0\x08" + integrity + b"\2\0\0\x08\1\0\0\0"


def _message(network: int, command: int, data: bytes) -> bytes:
    head, body = bytes((0x20, network << 2)), bytes((0x81, 0, command)) + data
    return head + bytes((-sum(head) & 0xFF,)) + body + bytes((-sum(body) & 0xFF,))


def _body(datagram: bytes) -> bytes:
    """What an answer of the opening of a session holds. Raises `LoginError`."""
    if datagram[17]:
        raise LoginError(datagram[17])
    return datagram[16:]
