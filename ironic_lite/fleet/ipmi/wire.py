"""RMCP and RMCP+ datagrams: bytes to messages and back (IPMI 2.0, chapters 13.1 to 13.6 and 13.28). No I/O.

A datagram is RMCP's four bytes, a session header of IPMI 1.5 or 2.0, and a payload; within a session the payload is
encrypted with AES-CBC-128 and the whole is signed.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

RMCP: Final = b"\x06\x00\xff\x07"
FORMAT_15, FORMAT_20 = 0x00, 0x06  # the authentication type, which tells the two session headers apart
MESSAGE, OPEN_REQUEST, OPEN_RESPONSE = 0x00, 0x10, 0x11
RAKP1, RAKP2, RAKP3, RAKP4 = 0x12, 0x13, 0x14, 0x15
SEALED: Final = 0xC0  # encrypted and signed
_PAD: Final = [bytes(range(1, size + 1)) + bytes([size]) for size in range(16)]


class MalformedError(Exception):
    """A datagram that a BMC drops without a word."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite: its numbers on the wire, its hash, and how much of a hash signs a message."""

    number: int
    authentication: int
    integrity: int
    digest: str
    signature_bytes: int


SUITES: Final = (Suite(3, 1, 1, "sha1", 12), Suite(17, 3, 4, "sha256", 16))  # both with AES-CBC-128


class Message(NamedTuple):
    """One IPMI message: who sends what to whom (13.8)."""

    responder: int
    network: int
    requester: int
    sequence: int
    command: int
    data: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Message:
        """Raises `MalformedError` when it is too short or a checksum is wrong."""
        if len(raw) < 7 or sum(raw[:3]) & 0xFF or sum(raw[3:]) & 0xFF:
            raise MalformedError
        return cls(raw[0], raw[1] >> 2, raw[3], raw[4], raw[5], raw[6:-1])

    def answer(self, code: int, data: bytes = b"") -> bytes:
        """The response to this request, with its completion code."""
        head = bytes((self.requester, (self.network + 1) << 2))
        body = bytes((self.responder, self.sequence, self.command, code)) + data
        return head + _checksum(head) + body + _checksum(body)


def _checksum(part: bytes) -> bytes:
    return bytes((-sum(part) & 0xFF,))


@dataclass(frozen=True, slots=True)
class Keys:
    """What both sides derive from the password and their random numbers (13.31, 13.32)."""

    suite: Suite
    session: bytes
    signing: bytes
    cipher: algorithms.AES

    @classmethod
    def derive(cls, suite: Suite, password: bytes, seed: bytes) -> Keys:
        """`seed` is both random numbers, the role, and the user's name with its length."""
        session = hmac.digest(password, seed, suite.digest)
        cipher = algorithms.AES(hmac.digest(session, b"\x02" * 20, suite.digest)[:16])
        return cls(suite, session, hmac.digest(session, b"\x01" * 20, suite.digest), cipher)

    def sign(self, data: bytes) -> bytes:
        """The signature at the end of a datagram."""
        return hmac.digest(self.signing, data, self.suite.digest)[: self.suite.signature_bytes]

    def open(self, datagram: bytes) -> bytes:
        """The payload of a sealed datagram. Raises `MalformedError` when it was not sealed with these keys."""
        end = len(datagram) - self.suite.signature_bytes
        length = int.from_bytes(datagram[14:16], "little")
        if datagram[5] & SEALED != SEALED or length < 32 or length % 16 or 16 + length > end:
            raise MalformedError
        if not hmac.compare_digest(self.sign(datagram[4:end]), datagram[end:]):
            raise MalformedError
        decryptor = Cipher(self.cipher, modes.CBC(datagram[16:32])).decryptor()
        plain = decryptor.update(datagram[32 : 16 + length])
        return plain[: -(plain[-1] + 1)]

    def seal(self, payload: bytes, session_id: int, sequence: int) -> bytes:
        """The datagram of a payload within the session."""
        initial = os.urandom(16)
        encryptor = Cipher(self.cipher, modes.CBC(initial)).encryptor()
        sealed = initial + encryptor.update(payload + _PAD[-(len(payload) + 1) % 16])
        signed = struct.pack("<BBIIH", FORMAT_20, SEALED, session_id, sequence, len(sealed)) + sealed
        pad = -(len(signed) + 2) % 4
        signed += b"\xff" * pad + bytes((pad, 0x07))
        return RMCP + signed + self.sign(signed)


def plain_15(payload: bytes) -> bytes:
    """A datagram of IPMI 1.5 outside any session."""
    return RMCP + bytes(9) + bytes((len(payload),)) + payload


def plain_20(kind: int, payload: bytes) -> bytes:
    """A datagram of IPMI 2.0 outside any session."""
    return RMCP + struct.pack("<BBIIH", FORMAT_20, kind, 0, 0, len(payload)) + payload
