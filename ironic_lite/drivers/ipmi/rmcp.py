"""RMCP+ without I/O: the login of a session, and commands within it (IPMI 2.0, chapters 13 and 22).

`login` is a generator that yields what to ask and is sent the answers; what it returns is the `Session`. Cipher suites
17 and 3, that is RAKP with SHA256 or SHA1, and AES-CBC-128.

*Guarantees.* (1) Nothing that a BMC says is used before the code is checked that proves who says it: RAKP 2 and 4 by
the password and Kg, messages by the session's key; but the answer to Open Session, which proves nothing and holds only
numbers. (2) A datagram that is not the awaited answer is None (another one's: late, repeated) or `Malformed`.
(3) Within a session each number is taken once, and none that is more than `WINDOW` away from the highest.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Generator
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ironic_lite.drivers.ipmi.account import Account
from ironic_lite.drivers.ipmi.faults import INVALID_SESSION, LoginRefused, Surprise

# RMCP version 6, no acknowledgement, class IPMI; then the format of the session header: that of IPMI 2.0.
PREFIX: Final = bytes.fromhex("06 00 ff 07 06")
OLD_PREFIX: Final = bytes.fromhex("06 00 ff 07 00")
OPEN_SESSION, RAKP1, RAKP3 = 0x10, 0x12, 0x14  # each answer's type is one more
IN_SESSION: Final = 0xC0  # an IPMI message, encrypted and signed
# Of the answers of a login the shortest that can be right: up to the ids, and with the random number and the GUID.
SHORTEST: Final = {OPEN_SESSION: 12, RAKP1: 40, RAKP3: 8}
SAID_IN: Final = {OPEN_SESSION: "", RAKP1: " in RAKP2", RAKP3: " reported in RAKP4"}
HEADER_BYTES: Final = 16
BLOCK_BYTES: Final = 16
WINDOW: Final = 16
NAME_ONLY: Final = 0x10  # the user is looked up by name, whatever their privilege
BMC, CONSOLE = 0x20, 0x81  # addresses of an IPMI message
NEXT_HEADER: Final = 0x07

CHASSIS, APPLICATION = 0x00, 0x06
CHASSIS_STATUS: Final = (CHASSIS, 0x01)
SET_PRIVILEGE: Final = (APPLICATION, 0x3B)
CLOSE_SESSION: Final = (APPLICATION, 0x3C)


class Malformed(Exception):
    """A datagram that is not what RMCP+ defines, or was not signed by the BMC."""


class Suite(NamedTuple):
    """A cipher suite: its number, its algorithms' numbers, its hash, and how much of a hash signs a message."""

    number: int
    authentication: int
    integrity: int
    digest: str
    signature_bytes: int


SHA256: Final = Suite(17, 3, 4, "sha256", 16)
SHA1: Final = Suite(3, 1, 1, "sha1", 12)
AES: Final = 1


def channel_probe() -> bytes:
    """Get Channel Authentication Capabilities, which BMCs of every version answer without a session."""
    message = _message(APPLICATION, 0x38, 0, bytes((0x8E, 4)))
    return OLD_PREFIX + bytes(8) + bytes((len(message),)) + message


def is_probed(datagram: bytes) -> bool | None:
    """Whether this answers the probe. Raises `Malformed`."""
    return _payload(datagram) is None or None


def _payload(datagram: bytes) -> bytes | None:
    """What an IPMI 2.0 datagram holds; None for one of IPMI 1.5. Raises `Malformed`."""
    if len(datagram) < HEADER_BYTES or datagram[:4] != PREFIX[:4]:
        raise Malformed
    if datagram.startswith(OLD_PREFIX):
        return None
    end = HEADER_BYTES + int.from_bytes(datagram[14:16], "little")
    if datagram[4] != PREFIX[4] or end > len(datagram):
        raise Malformed
    return datagram[HEADER_BYTES:end]


class Question(NamedTuple):
    """One request of a login."""

    kind: int
    tag: int
    console: bytes
    body: bytes

    def datagram(self) -> bytes:
        """What to send, as often as it takes."""
        body = bytes((self.tag, 0, 0, 0)) + self.body
        return PREFIX + struct.pack("<BIIH", self.kind, 0, 0, len(body)) + body

    def hear(self, datagram: bytes) -> bytes | None:
        """The answer, if this is it. Raises `Malformed`, `LoginRefused`."""
        body = _payload(datagram)
        if body is None or datagram[5] & 0x3F != self.kind + 1:
            return None
        if len(body) < 2:
            raise Malformed
        if body[0] != self.tag:
            return None
        if body[1]:
            return self._refused(body[1])
        if len(body) < SHORTEST[self.kind]:
            raise Malformed
        return body if body[4:8] == self.console else None

    def _refused(self, code: int) -> None:
        """A session that is not there any more is one of ours that was opened anew meanwhile."""
        if code != INVALID_SESSION or self.kind == OPEN_SESSION:
            raise LoginRefused.by_code(code, SAID_IN[self.kind])


def login(
    account: Account, suite: Suite, privilege: int, random: Callable[[int], bytes] = os.urandom
) -> Generator[Question, bytes, Session]:
    """Log in. Raises `LoginRefused`, and `Surprise` for algorithms that nobody asked for."""
    console, ours = random(4), random(16)
    tag = console[0] & 0xFC  # tells the answers of one login from those of another where the BMC leaves out our id
    opened = yield Question(OPEN_SESSION, tag, console, console + _algorithms(suite))
    managed, suite = opened[8:12], _confirmed(account, suite, opened)
    user = bytes((NAME_ONLY | privilege, len(account.username))) + account.username
    greeting = managed + ours + user[:1] + bytes(2) + user[1:]
    said = yield Question(RAKP1, tag + 1, console, greeting)
    theirs, guid = said[8:24], said[24:40]
    proof = hmac.digest(account.password, console + managed + ours + theirs + guid + user, suite.digest)
    if not hmac.compare_digest(proof, said[40 : 40 + len(proof)]):
        raise LoginRefused("Incorrect password provided")
    root = hmac.digest(account.password if account.kg is None else account.kg, ours + theirs + user, suite.digest)
    answer = managed + hmac.digest(account.password, theirs + console + user, suite.digest)
    last = yield Question(RAKP3, tag + 2, console, answer)
    proof = hmac.digest(root, ours + managed + guid, suite.digest)[: suite.signature_bytes]
    if not hmac.compare_digest(proof, last[8 : 8 + len(proof)]):
        raise LoginRefused("Invalid RAKP4 integrity code (wrong Kg?)")
    return Session(suite, console, managed, root)


def _algorithms(suite: Suite) -> bytes:
    """The three payloads of an Open Session Request: authentication, integrity, confidentiality."""
    numbers = (suite.authentication, suite.integrity, AES)
    return b"".join(struct.pack("<BxxBBxxx", kind, 8, number) for kind, number in enumerate(numbers))


def _confirmed(account: Account, asked: Suite, opened: bytes) -> Suite:
    """The suite that the BMC takes: some take SHA256 for granted, and go on with SHA1."""
    if len(opened) < 36:  # some BMCs leave the algorithms out
        return asked
    numbers = opened[16] & 0x3F, opened[24] & 0x3F, opened[32] & 0x3F
    if numbers == (asked.authentication, asked.integrity, AES):
        return asked
    if numbers != (SHA1.authentication, SHA1.integrity, AES):
        raise Surprise
    if account.cipher_suite is not None:
        raise suite_refused(asked)
    return SHA1


def suite_refused(suite: Suite) -> LoginRefused:
    """The BMC does not take the cipher suite that driver_info asks for."""
    return LoginRefused(f"it does not accept cipher suite {suite.number}")


class Session:
    """A session: what it takes to ask something in it, and to know the answer. One command at a time."""

    __slots__ = (
        "_cipher", "_command", "_console", "_heard", "_highest", "_managed", "_message", "_network", "_number", "_sent",
        "_signing", "_suite",
    )  # fmt: skip

    def __init__(self, suite: Suite, console: bytes, managed: bytes, root: bytes) -> None:
        self._suite, self._console, self._managed = suite, console, managed
        self._signing = hmac.digest(root, b"\x01" * 20, suite.digest)
        self._cipher = algorithms.AES(hmac.digest(root, b"\x02" * 20, suite.digest)[:16])
        self._sent = self._number = self._network = self._command = 0
        self._message = b""
        # The highest number heard, and as bits which of those up to it were.
        self._highest = self._heard = 0

    def ask(self, what: tuple[int, int], data: bytes = b"") -> bytes:
        """The datagram of a command: network function and number."""
        self._network, self._command = what
        self._number = self._number + 1 & 0x3F
        self._message = _message(self._network, self._command, self._number, data)
        return self.again()

    def again(self) -> bytes:
        """The datagram of the same command once more, with a session sequence number of its own."""
        self._sent += 1
        initial, pad = os.urandom(BLOCK_BYTES), -(len(self._message) + 1) % BLOCK_BYTES
        encryptor = Cipher(self._cipher, modes.CBC(initial)).encryptor()
        sealed = initial + encryptor.update(self._message + bytes((*range(1, pad + 1), pad)))
        head = PREFIX[4:] + bytes((IN_SESSION,)) + self._managed + struct.pack("<IH", self._sent, len(sealed))
        fill = -(len(head) + len(sealed) + 2) % 4
        signed = head + sealed + b"\xff" * fill + bytes((fill, NEXT_HEADER))
        return PREFIX[:4] + signed + self._sign(signed)

    def close(self) -> bytes:
        """The datagram that ends it."""
        return self.ask(CLOSE_SESSION, self._managed)

    def hear(self, datagram: bytes) -> bytes | None:
        """The completion code and the data of the answer to the latest command, if this is it. Raises `Malformed`."""
        sealed = _payload(datagram)
        if sealed is None or datagram[6:10] != self._console:
            return None  # of a login, or of another session
        end = len(datagram) - self._suite.signature_bytes
        whole = len(sealed) >= 2 * BLOCK_BYTES and not len(sealed) % BLOCK_BYTES
        if datagram[5] != IN_SESSION or not whole or HEADER_BYTES + len(sealed) + 2 > end:
            raise Malformed
        if not hmac.compare_digest(self._sign(datagram[4:end]), datagram[end:]):
            raise Malformed
        if not self._takes(int.from_bytes(datagram[10:14], "little")):
            return None
        return self._answer(self._opened(sealed))

    def _sign(self, data: bytes) -> bytes:
        return hmac.digest(self._signing, data, self._suite.digest)[: self._suite.signature_bytes]

    def _opened(self, sealed: bytes) -> bytes:
        decryptor = Cipher(self._cipher, modes.CBC(sealed[:BLOCK_BYTES])).decryptor()
        plain = decryptor.update(sealed[BLOCK_BYTES:])
        if plain[-1] >= BLOCK_BYTES:
            raise Malformed
        return plain[: -1 - plain[-1]]

    def _answer(self, message: bytes) -> bytes | None:
        """The message's checksums say nothing that its signature has not proved."""
        if len(message) < 8:
            raise Malformed
        asked = self._network + 1, self._number, self._command
        return message[6:-1] if (message[1] >> 2, message[4] >> 2, message[5]) == asked else None

    def _takes(self, number: int) -> bool:
        """Whether this session sequence number is new. Raises `Malformed` for one that is out of every order."""
        ahead = number - self._highest
        if abs(ahead) > WINDOW:
            raise Malformed
        if ahead > 0:
            self._highest, self._heard = number, (self._heard << ahead | 1) & ((1 << WINDOW + 1) - 1)
            return True
        bit = 1 << -ahead
        new = not self._heard & bit
        self._heard |= bit
        return new


def _message(network: int, command: int, number: int, data: bytes) -> bytes:
    """An IPMI message with its two checksums (13.8)."""
    head, body = bytes((BMC, network << 2)), bytes((CONSOLE, number << 2, command)) + data
    return head + bytes((-sum(head) & 0xFF,)) + body + bytes((-sum(body) & 0xFF,))
