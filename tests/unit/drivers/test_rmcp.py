"""RMCP+ as polls speak it, without I/O: against what ipmitool computed, against the simulator, and against rubbish."""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ironic_lite.clock import ManualClock, seeded
from ironic_lite.drivers.ipmi import rmcp
from ironic_lite.drivers.ipmi.account import Account
from ironic_lite.drivers.ipmi.faults import LoginRefused, Surprise
from ironic_lite.drivers.ipmi.rmcp import CHASSIS_STATUS, SHA1, SHA256, Malformed, Question, Session, Suite
from ironic_lite.fleet.device import Credentials, Identity, Site
from ironic_lite.fleet.ipmi import wire
from ironic_lite.fleet.ipmi.bmc import Ipmi
from ironic_lite.fleet.machine import Machine, Reset
from ironic_lite.fleet.outbox import Outbox
from ironic_lite.fleet.quirks import Quirk

ADMINISTRATOR, OPERATOR = 4, 3
KG = b"kg-key-of-20-bytes-!"


def account(username: str = "admin", password: str = "secret", **more: Any) -> Account:
    given = {"privilege": None, "cipher_suite": None, "kg": None, **more}
    return Account(host="127.0.0.9", port=623, username=username.encode(), password=password.encode(), **given)


def a_bmc(password: str = "secret", slots: int = 4, kind: type[Ipmi] = Ipmi) -> Ipmi:
    clock = ManualClock()
    site = Site(clock, 0.0, Credentials("admin", password), seeded("1"), Outbox())
    return kind(
        site, "127.0.0.9", Identity("SIM1"), Machine(clock, power_delay_s=0.0), slots, itertools.count(1).__next__
    )


def said(bmc: Ipmi, datagram: bytes) -> bytes:
    reply = bmc.receive(datagram)
    assert reply is not None
    return reply.datagram


def heard(question: Question, datagram: bytes) -> bytes:
    answer = question.hear(datagram)
    assert answer is not None
    return answer


Asking = Generator[Question, bytes, Session]
Spoil = Callable[[int, bytearray], None]


def logged_in(bmc: Ipmi, known: Account, suite: Suite = SHA256, privilege: int = ADMINISTRATOR) -> Session:
    asking = rmcp.login(known, suite, privilege)
    return conversed(bmc, asking, next(asking))


def conversed(bmc: Ipmi, asking: Asking, question: Question, spoil: Spoil = lambda _kind, _answer: None) -> Session:
    """Go on from that question to the session. `spoil` may change the answer to a kind of question."""
    try:
        while True:
            answer = bytearray(said(bmc, question.datagram()))
            spoil(question.kind, answer)
            question = asking.send(heard(question, bytes(answer)))
    except StopIteration as end:
        session: Session = end.value
        return session


# What ipmitool 1.8.19 sent and computed (`-vvvv`), as user "admin" with the privilege of an administrator.


@dataclass(frozen=True)
class Recorded:
    suite: Suite
    password: str
    kg: bytes | None
    ours: str
    opened: str
    rakp2: str
    rakp3: str  # ipmitool's proof
    rakp4: str  # the BMC's, as ipmitool expects it
    k1: str
    k2: str


RECORDED = {
    "SHA256": Recorded(
        SHA256, "fleet-secret", None, "93f92291d8929ec50ceb510315bb6c3d",
        "0600ff0706110000000000000000240000000400a4a3a2a000000002000000080300000001000008040000000200000801000000",
        "0600ff0706130000000000000000480000000000a4a3a2a0fb51a72f871daab0b15a20fbd228bd1614d4dd46c376185f9b0e1b504d17fc"
        "ed92d11ceed55ec788389b54879d0e63d3bbc0cfcefff3e87dae239af2f346b5ac",
        "3102aeb2bff925ff5bc60d38731ecfec89e2194b5cd5bb6bda9ae38c20c7fbda",
        "1519f86207efbf5ea0fb0ea521d21d2a",
        "06dc8144c8415bed2300d630cbdb7933cbe0e0fcfc982ad3fe684d62858623a1", "27cb5c8bafad2cc5dbf1ad268708b986",
    ),
    "SHA256 and Kg": Recorded(
        SHA256, "fleet-secret", KG, "d986e9c44a6756be2e2f61bf9fa14e25",
        "0600ff0706110000000000000000240000000400a4a3a2a001000002000000080300000001000008040000000200000801000000",
        "0600ff0706130000000000000000480000000000a4a3a2a08108d067ce91ea923b5ab42308d6cd7314d4dd46c376185f9b0e1b504d17fc"
        "ed530c4fc2e838258255e4adc87c3cc1a764d18beef7b7454593a27403534e290b",
        "f72b63c4163c2cfaaadcf6c3dbd06f52f4428f579eb756c46ac1bf770cf31921",
        "fd5d3bd679284c15568c14e5c7f2d233",
        "845b4ffc08cfc956e63ef6b5cb9ac08124587bc2b59acaf606f51a907afb48ce", "ed449eb5e28c848262500f569db09587",
    ),
    "SHA1 and Kg": Recorded(
        SHA1, "secret-ipmi-7", KG, "f036044803cc28ade005631e8b6b5017",
        "0600ff0706110000000000000000240000000000a4a3a2a002000000000000080100000001000008010000000200000801000000",
        "0600ff07061300000000000000003c0000000000a4a3a2a0f31ed4bb1e29e669689f47645449f740a123456789abcdefa123456789abcd"
        "ef1ad07ead70ed935c5e1174ff5ebc3a1076e4a25a",
        "98943cb74750247351e1d8dbbda2862febbc14",
        "5992cbae8e27555fd2d8e069",
        "891f631b49fe561782f536b3f8030e715b1b7c75", "c6931c34a33f00a61197f0a348aa186f",
    ),
}  # fmt: skip
CONSOLE = bytes.fromhex("a4a3a2a0")
STATUS_REPLY = bytes.fromhex(
    "0600ff0706c0a4a3a2a006000000200085c9e06e61928df865b9f66fbafcc15f1f1e56250e1528ea400c41c7f1dbe848ffff020738bfa508e9"
    "0b7288aef2fff5f6567fda"
)


def tagged(recorded: str, question: Question) -> bytes:
    """ipmitool's tags are its own, and nothing proves them."""
    datagram = bytearray.fromhex(recorded)
    datagram[16] = question.tag
    return bytes(datagram)


def replayed(one: Recorded) -> tuple[Session, bytes]:
    """The session, and the proof that was sent in RAKP 3."""
    values = iter([CONSOLE, bytes.fromhex(one.ours)])
    asking = rmcp.login(account(password=one.password, kg=one.kg), one.suite, ADMINISTRATOR, lambda _size: next(values))
    question = next(asking)
    question = asking.send(heard(question, tagged(one.opened, question)))
    question = asking.send(heard(question, tagged(one.rakp2, question)))
    last = bytes((question.tag, 0, 0, 0)) + CONSOLE + bytes.fromhex(one.rakp4)
    with pytest.raises(StopIteration) as end:
        asking.send(last)
    return end.value.value, question.body[4:]


@pytest.mark.parametrize("name", list(RECORDED))
def test_the_login_computes_what_ipmitool_computes(name: str) -> None:
    one = RECORDED[name]
    session, proof = replayed(one)
    assert proof.hex().endswith(one.rakp3)
    assert session._signing.hex() == one.k1
    assert session._cipher.key.hex() == one.k2


def test_a_recorded_answer_is_understood() -> None:
    session, _ = replayed(RECORDED["SHA256"])
    session._number = 5  # ipmitool's sixth command
    session.ask(CHASSIS_STATUS)
    assert session.hear(STATUS_REPLY) == bytes.fromhex("0060004070")
    assert session.hear(STATUS_REPLY) is None  # heard before


# Against the simulator.


@pytest.fixture
def bmc_session() -> tuple[Ipmi, Session]:
    bmc = a_bmc()
    return bmc, logged_in(bmc, account())


@pytest.fixture
def kg_bmc() -> Ipmi:
    return a_bmc(kind=KgBmc)


@pytest.mark.parametrize("suite", [SHA256, SHA1])
@pytest.mark.parametrize("password", ["", "x", "p" * 16, "secret-20-bytes-long"])
def test_a_visit(suite: Suite, password: str) -> None:
    bmc = a_bmc(password)
    session = logged_in(bmc, account(password=password), suite)
    for on in (False, True):
        if on:
            bmc.change_power(Reset.ON)
        answer = session.hear(said(bmc, session.ask(CHASSIS_STATUS)))
        assert answer is not None
        assert (answer[0], answer[1] & 1) == (0, on)
    assert session.hear(said(bmc, session.close())) == b"\0"
    assert bmc.sessions.ids() == []


def test_a_command_may_be_sent_again(bmc_session: tuple[Ipmi, Session]) -> None:
    bmc, session = bmc_session
    first = session.ask(CHASSIS_STATUS)
    again = session.again()
    late, answer = said(bmc, first), said(bmc, again)
    assert session.hear(answer) == session.hear(late)  # read either; both answer the same question
    assert bmc.receive(again) is None  # it takes each number once, and ours was a new one


def test_an_answer_to_another_question_is_none(bmc_session: tuple[Ipmi, Session]) -> None:
    bmc, session = bmc_session
    late = said(bmc, session.ask(CHASSIS_STATUS))
    session.ask(CHASSIS_STATUS)
    assert session.hear(late) is None
    other = logged_in(bmc, account())
    assert session.hear(said(bmc, other.ask(CHASSIS_STATUS))) is None


def test_kg_is_what_the_session_is_made_from(kg_bmc: Ipmi) -> None:
    session = logged_in(kg_bmc, account(kg=KG))
    assert session.hear(said(kg_bmc, session.ask(CHASSIS_STATUS))) is not None
    for wrong in (None, b"another"):
        with pytest.raises(LoginRefused, match="Kg") as caught:
            logged_in(kg_bmc, account(kg=wrong))
        assert caught.value.denied


class KgBmc(Ipmi):
    """A simulated BMC with a key of its own beside the user's."""

    def receive(self, datagram: bytes) -> Any:
        reply = super().receive(datagram)
        if datagram[5] == wire.RAKP1:
            for one in self.sessions._open.values():
                if one.user:
                    one.keys = wire.Keys.derive(one.suite, KG, one.console_random + one.random + one.user)
        return reply


@pytest.mark.parametrize(
    ("known", "words"),
    [({"password": "wrong"}, "Incorrect password"), ({"username": "nobody"}, "Unauthorized name in RAKP2")],
)
def test_wrong_credentials(known: dict[str, Any], words: str) -> None:
    with pytest.raises(LoginRefused, match=words) as caught:
        logged_in(a_bmc(), account(**known))
    assert caught.value.denied
    assert not caught.value.surprising


def test_no_role_no_suite_no_room() -> None:
    bmc = a_bmc(slots=1)
    bmc.quirks = frozenset({Quirk.OPERATOR_ONLY, Quirk.SHA1_ONLY})
    with pytest.raises(LoginRefused, match="Cipher suite") as caught:
        logged_in(bmc, account())
    assert (caught.value.opening, caught.value.surprising) == (True, False)
    with pytest.raises(LoginRefused, match="Invalid role in RAKP2") as caught:
        logged_in(bmc, account(), SHA1)
    assert (caught.value.opening, caught.value.surprising) == (False, False)
    logged_in(bmc, account(), SHA1, OPERATOR)
    with pytest.raises(LoginRefused, match="Insufficient resources") as caught:
        logged_in(bmc, account(), SHA1, OPERATOR)
    assert not caught.value.surprising


def opened_with(authentication: int, integrity: int, confidentiality: int = 1, **more: Any) -> Question:
    """RAKP 1 after a BMC has taken these algorithms, whatever it was asked for."""
    asking = rmcp.login(account(**more), SHA256, ADMINISTRATOR)
    question = next(asking)
    datagram = bytearray(said(a_bmc(), question.datagram()))
    datagram[32], datagram[40], datagram[48] = authentication, integrity, confidentiality
    return asking.send(heard(question, bytes(datagram)))


def test_a_bmc_that_takes_other_algorithms_than_asked() -> None:
    assert opened_with(3, 4).kind == opened_with(1, 1).kind == rmcp.RAKP1
    with pytest.raises(LoginRefused, match="cipher suite 17"):
        opened_with(1, 1, cipher_suite=17)
    for others in ((3, 1), (0, 0), (1, 1, 0), (3, 4, 0), (2, 2)):
        with pytest.raises(Surprise):
            opened_with(*others)


def test_a_bmc_that_takes_sha1_for_sha256_goes_on_with_it() -> None:
    """As if SHA256 were asked for, and the BMC heard SHA1."""
    bmc, asking = a_bmc(), rmcp.login(account(), SHA256, ADMINISTRATOR)
    question = next(asking)
    heard_as = question.datagram().replace(question.body[4:], rmcp._algorithms(SHA1))
    question = asking.send(heard(question, said(bmc, heard_as)))
    session = conversed(bmc, asking, question)
    assert session.hear(said(bmc, session.ask(CHASSIS_STATUS))) is not None


# What is no answer.


def a_dialogue() -> list[tuple[Any, bytes]]:
    """Each question of a visit, and its answer."""
    bmc, asking = a_bmc(), rmcp.login(account(), SHA256, ADMINISTRATOR)
    steps: list[tuple[Any, bytes]] = []
    question = next(asking)
    try:
        while True:
            answer = said(bmc, question.datagram())
            steps.append((question, answer))
            question = asking.send(heard(question, answer))
    except StopIteration as end:
        session: Session = end.value
        steps.append((session, said(bmc, session.ask(CHASSIS_STATUS))))
    return steps


STEPS = a_dialogue()


@given(some.integers(0, 3), some.binary(max_size=120))
def test_rubbish_is_never_an_answer(step: int, rubbish: bytes) -> None:
    asked, answer = fresh(step)
    assert outcome(asked, rubbish) in ("none", "malformed", "refused")
    assert outcome(asked, answer[:16] + rubbish) != "broken"


@given(some.integers(0, 3), some.data())
def test_a_damaged_answer_breaks_nothing(step: int, data: some.DataObject) -> None:
    asked, answer = fresh(step)
    place = data.draw(some.integers(0, len(answer) - 1))
    damaged = bytearray(answer)
    damaged[place] ^= data.draw(some.integers(1, 255))
    cut = bytes(damaged[: data.draw(some.integers(0, len(answer)))])
    for datagram in (bytes(damaged), cut):
        assert outcome(asked, datagram) != "broken"


def test_each_bit_within_a_session_counts() -> None:
    asked, answer = fresh(3)
    assert outcome(asked, answer) == "answer"
    for place, bit in itertools.product(range(len(answer)), range(8)):
        damaged = bytearray(answer)
        damaged[place] ^= 1 << bit
        asked, _ = fresh(3)
        assert outcome(asked, bytes(damaged)) in ("none", "malformed"), (place, bit)
    for size in range(len(answer)):
        assert outcome(asked, answer[:size]) in ("none", "malformed")


def fresh(step: int) -> tuple[Any, bytes]:
    """A question that has heard nothing yet, and its answer."""
    asked, answer = STEPS[step]
    if isinstance(asked, Session):
        asked._highest = asked._heard = 0
    return asked, answer


def outcome(asked: Any, datagram: bytes) -> str:
    try:
        return "none" if asked.hear(datagram) is None else "answer"
    except Malformed:
        return "malformed"
    except LoginRefused:
        return "refused"
    except Exception:  # noqa: BLE001  # what must not be
        return "broken"


@given(some.integers(0, 15), some.integers(1, 255))
def test_each_bit_of_a_proof_counts(place: int, change: int) -> None:
    """RAKP 2 proves that the BMC knows the password, RAKP 4 that it has the session's keys."""
    for kind, start in ((rmcp.RAKP1, 56), (rmcp.RAKP3, 24)):
        with pytest.raises(LoginRefused) as caught:
            changed(kind, start + place, change)
        assert caught.value.denied


def changed(kind: int, place: int, change: int) -> None:
    def spoil(asked: int, answer: bytearray) -> None:
        if asked == kind:
            answer[place] ^= change

    asking = rmcp.login(account(), SHA256, ADMINISTRATOR)
    conversed(a_bmc(), asking, next(asking), spoil)


def test_what_the_bmc_signs_may_not_be_longer_than_it_says() -> None:
    """Ill-made messages with a right signature: a BMC's mistakes, and none of ours."""
    for plain in (b"", b"\x0f" * 16, b"\xff" * 16, bytes(16), bytes(31) + b"\x10"):
        bmc = a_bmc()
        session = logged_in(bmc, account())
        keys = next(iter(bmc.sessions._open.values())).keys
        assert keys is not None
        session.ask(CHASSIS_STATUS)
        assert outcome(session, sealed(keys, session, plain)) in ("malformed", "none")


def sealed(keys: wire.Keys, session: Session, plain: bytes) -> bytes:
    """Encrypted as it is, with no padding of its own."""
    whole = bytearray(keys.seal(plain, int.from_bytes(session._console, "little"), 1))
    if len(plain) % 16 == 0 and plain:
        whole[14:16] = len(plain).to_bytes(2, "little")
        del whole[32 + len(plain) - 16 : 32 + len(plain)]
        whole[-16:] = hmac.digest(keys.signing, bytes(whole[4:-16]), "sha256")[:16]
    return bytes(whole)


# The order of numbers within a session.


def test_numbers_are_taken_once_and_within_the_window() -> None:
    bmc = a_bmc()
    session = logged_in(bmc, account())
    theirs = next(iter(bmc.sessions._open.values()))
    answer = said(bmc, session.ask(CHASSIS_STATUS))
    message = session._opened(answer[16:48] if len(answer) < 80 else answer[16:64])

    def hears(number: int) -> str:
        assert theirs.keys is not None
        return outcome(session, theirs.keys.seal(message, theirs.console_id, number))

    assert [hears(number) for number in (5, 5, 1, 1, 0, 21, 5, 38, 22, 6, 6)] == [
        "answer", "none", "answer", "none", "answer", "answer", "none", "malformed", "answer", "answer", "none",
    ]  # fmt: skip
    assert hears(4) == "malformed"
