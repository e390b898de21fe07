"""One IPMI BMC's visits over a network that loses, repeats and mixes up datagrams; nothing here waits."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ironic_lite import config
from ironic_lite.clock import Deadline, ManualClock, SystemClock, seeded
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.ipmi.account import Account
from ironic_lite.drivers.ipmi.bmc import DEMOTED_S, Bmc
from ironic_lite.drivers.ipmi.faults import LoginRefused, Refused, Surprise
from ironic_lite.drivers.ipmi.line import Line
from ironic_lite.drivers.ipmi.rmcp import Malformed
from ironic_lite.fleet.device import Credentials, Identity, Site
from ironic_lite.fleet.faults import Fault, Kind
from ironic_lite.fleet.ipmi import wire
from ironic_lite.fleet.ipmi.bmc import Ipmi
from ironic_lite.fleet.machine import Machine, Reset
from ironic_lite.fleet.outbox import Outbox
from ironic_lite.fleet.quirks import Quirk

RARE_S, OFTEN_S = 60.0, 20.0


@pytest.fixture(scope="module", autouse=True)
def options() -> None:
    config.load([], program="tests", files=[])


class Wire(Line):
    """The way to a simulated BMC, in no time; what is lost costs the wait for it."""

    def __init__(self, slots: int = 4) -> None:
        self.dropped: Counter[str] = Counter()
        self.malformed = set()
        self.clock = ManualClock()
        site = Site(self.clock, 0.0, Credentials("admin", "secret"), seeded("1"), Outbox())
        machine = Machine(self.clock, power_delay_s=0.0)
        self.bmc = Ipmi(site, "127.0.0.9", Identity("SIM1"), machine, slots, itertools.count(1).__next__)
        self.sent: list[bytes] = []
        # What arrives after a datagram, in this order; None in it is the answer to that datagram.
        self.arrives: Callable[[int], tuple[bytes | None, ...]] = lambda _number: (None,)
        self.loses: Callable[[int], bool] = lambda _number: False

    async def ask(self, to: Any, datagram: bytes, hear: Any, wait_s: float) -> Any:
        await asyncio.sleep(0)
        answer = self._carry(datagram)
        for one in self.arrives(len(self.sent) - 1):
            arriving = answer if one is None else one
            if arriving is None:
                continue
            try:
                heard = hear(arriving)
            except Malformed:
                self.dropped["malformed"] += 1
                self.malformed.add(to)
                continue
            if heard is not None:
                return heard
            self.dropped["stale"] += 1
        self.clock.advance(wait_s)
        return None

    def tell(self, to: Any, datagram: bytes) -> None:
        self._carry(datagram)

    def _carry(self, datagram: bytes) -> bytes | None:
        self.sent.append(datagram)
        if self.loses(len(self.sent) - 1):
            return None
        reply = self.bmc.receive(datagram)
        return reply.datagram if reply is not None else None


@pytest.fixture
def line() -> Wire:
    return Wire()


@pytest.fixture
def bmc(line: Wire) -> Bmc:
    return Bmc(line, ("127.0.0.9", 623), line.clock)


def account(**more: Any) -> Account:
    known = {"username": b"admin", "password": b"secret", "privilege": None, "cipher_suite": None, "kg": None, **more}
    return Account(host="127.0.0.9", port=623, **known)


KNOWN = account()


def poll(bmc: Bmc, known: Account = KNOWN, timeout_s: float = 20.0) -> int:
    """Whether the machine is on."""
    status = asyncio.run(bmc.status(known, Deadline(SystemClock(), timeout_s)))
    return status[0] & 1


def test_a_poll_asks_five_times_and_leaves_nothing(bmc: Bmc, line: Wire) -> None:
    for on in (0, 1):
        assert poll(bmc) == on
        line.bmc.change_power(Reset.ON)
        line.clock.advance(RARE_S)
    assert len(line.sent) == 10
    assert line.bmc.sessions.ids() == []


@pytest.mark.parametrize("lost", range(5))
@pytest.mark.parametrize("way", ["request", "answer"])
def test_a_poll_survives_the_loss_of_any_datagram(bmc: Bmc, line: Wire, way: str, lost: int) -> None:
    if way == "request":
        line.loses = lambda number: number == lost
    else:
        line.arrives = lambda number: () if number == lost else (None,)
    assert poll(bmc) == 0
    assert len(line.sent) > 5 - (lost == 4)
    assert line.bmc.tally.requests["close-session"] == 1


def test_what_is_waited_for_grows_and_follows_the_bmc(bmc: Bmc, line: Wire) -> None:
    began_s = line.clock.monotonic()
    line.loses = lambda number: number < 4  # two openings, and two questions whether anybody is there
    poll(bmc)
    assert line.clock.monotonic() - began_s == pytest.approx(2.0 + 2.0 + 3.0 + 3.0)
    line.clock.advance(RARE_S)
    began_s, before = line.clock.monotonic(), len(line.sent)
    line.loses = lambda number: number == before
    poll(bmc)
    assert line.clock.monotonic() - began_s < 1.5  # as fast as this BMC answers


def test_late_and_repeated_answers_and_rubbish_change_nothing(bmc: Bmc, line: Wire) -> None:
    answers: list[bytes] = []
    receive = line.bmc.receive

    def remember(datagram: bytes) -> Any:
        reply = receive(datagram)
        if reply is not None:
            answers.append(reply.datagram)
        return reply

    line.bmc.receive = remember  # type: ignore[method-assign]
    poll(bmc)
    earlier = tuple(answers)
    line.clock.advance(RARE_S)
    line.bmc.change_power(Reset.ON)
    line.arrives = lambda _number: (*earlier, b"", b"rubbish", b"\x06\x00\xff\x07\x06\xc0", *answers[-2:-1], None, None)
    assert poll(bmc) == 1
    assert line.dropped["malformed"] >= 3
    assert line.dropped["stale"] >= 5
    assert line.bmc.sessions.ids() == []


def test_answers_in_another_order_are_told_apart(bmc: Bmc, line: Wire) -> None:
    held: list[bytes] = []
    receive = line.bmc.receive

    def late(datagram: bytes) -> Any:
        """The first answer to Get Chassis Status comes after the second."""
        reply = receive(datagram)
        if reply is not None and datagram[5] == 0xC0 and not held:
            held.append(reply.datagram)
            return None
        return reply

    line.bmc.receive = late  # type: ignore[method-assign]
    line.arrives = lambda number: (None, *held) if number > 4 else (None,)
    assert poll(bmc) == 0


# Terms.


def test_lower_terms_are_remembered(bmc: Bmc, line: Wire) -> None:
    line.bmc.quirks = frozenset({Quirk.SHA1_ONLY, Quirk.OPERATOR_ONLY})
    poll(bmc)
    line.clock.advance(RARE_S)
    before = len(line.sent)
    poll(bmc)
    assert len(line.sent) - before == 5
    poll(bmc, account(privilege=3))  # another account: from the start
    assert line.bmc.tally.requests["refused"] == 3


def test_terms_of_driver_info_are_kept(bmc: Bmc, line: Wire) -> None:
    line.bmc.quirks = frozenset({Quirk.SHA1_ONLY})
    with pytest.raises(LoginRefused, match="cipher suite 17"):
        poll(bmc, account(cipher_suite=17))
    assert poll(bmc, account(cipher_suite=3)) == 0
    line.bmc.quirks = frozenset({Quirk.OPERATOR_ONLY})
    with pytest.raises(LoginRefused, match="Invalid role"):
        poll(bmc, account(privilege=4))
    assert poll(bmc, account(privilege=3)) == 0


def test_refused_credentials_are_shown_once(bmc: Bmc, line: Wire) -> None:
    with pytest.raises(LoginRefused, match="password"):
        poll(bmc, account(password=b"wrong"))
    assert line.bmc.tally.requests["rakp1"] == 1
    assert poll(bmc) == 0


def test_without_a_free_slot_the_bmc_is_asked_once(bmc: Bmc, line: Wire) -> None:
    full = Wire(slots=0)
    with pytest.raises(LoginRefused, match="Insufficient resources"):
        poll(Bmc(full, ("127.0.0.9", 623), full.clock))
    assert len(full.sent) == 1


def test_a_session_that_is_not_a_users_becomes_what_was_asked_for(bmc: Bmc, line: Wire) -> None:
    refused: list[bytes] = []
    receive = line.bmc.receive

    def refuse_once(datagram: bytes) -> Any:
        reply = receive(datagram)
        if reply is not None and datagram[5] == 0xC0 and not refused:
            session = next(iter(line.bmc.sessions._open.values()))
            assert session.keys is not None
            message = wire.Message.parse(session.keys.open(datagram))
            refused.append(session.keys.seal(message.answer(0xD4), session.console_id, session.sent))
            return reply._replace(datagram=refused[0])
        return reply

    line.bmc.receive = refuse_once  # type: ignore[method-assign]
    assert poll(bmc) == 0
    assert line.bmc.tally.requests["privilege"] == 1


def test_an_error_of_the_bmc_is_told_and_the_session_ended(bmc: Bmc, line: Wire) -> None:
    line.bmc.faults.set([Fault(Kind.BUSY)])
    with pytest.raises(Refused, match="Node Busy"):
        poll(bmc)
    assert line.bmc.sessions.ids() == []


# Keeping the session.


def test_a_session_is_kept_when_polls_are_frequent(bmc: Bmc, line: Wire) -> None:
    counts = []
    for _ in range(4):
        before = len(line.sent)
        poll(bmc)
        counts.append(len(line.sent) - before)
        line.clock.advance(OFTEN_S)
    assert counts == [5, 4, 1, 1]
    assert len(line.bmc.sessions.ids()) == 1
    line.clock.advance(RARE_S)
    poll(bmc)
    assert line.bmc.sessions.ids() == []


def test_a_kept_session_that_the_bmc_has_forgotten_is_opened_anew(bmc: Bmc, line: Wire) -> None:
    for _ in range(3):
        poll(bmc)
    line.bmc.sessions.forget()
    line.bmc.change_power(Reset.ON)
    assert poll(bmc) == 1
    assert len(line.bmc.sessions.ids()) == 1


def test_a_kept_session_ends_before_a_threads_turn_and_before_another_accounts(bmc: Bmc, line: Wire) -> None:
    async def lend() -> None:
        within = Deadline(SystemClock(), 20)
        taken = asyncio.Event()
        turn = asyncio.create_task(
            bmc.contact.run(lambda: bmc.lend(lambda _bmc: taken.set(), within), Rank.ACTION, within)
        )
        await taken.wait()
        turn.cancel()
        assert line.bmc.sessions.ids() == []

    for _ in range(2):
        poll(bmc)
    assert len(line.bmc.sessions.ids()) == 1
    asyncio.run(lend())
    for known in (KNOWN, KNOWN, account(privilege=3)):
        poll(bmc, known)
        assert len(line.bmc.sessions.ids()) == 1


# What is not understood.


def test_rubbish_until_the_deadline_is_a_surprise_and_silence_is_none(bmc: Bmc, line: Wire) -> None:
    line.loses = lambda _number: True
    with pytest.raises(TimeoutError):
        poll(bmc, timeout_s=0.3)
    line.arrives = lambda _number: (b"\x06\x00\xff\x07\x06\xc0not a message",)
    with pytest.raises(Surprise):
        poll(bmc, timeout_s=0.3)


def test_a_bmc_that_answers_and_opens_no_session_is_a_surprise(bmc: Bmc, line: Wire) -> None:
    line.loses = lambda number: line.sent[number][4] != 0  # it speaks IPMI 1.5 alone
    with pytest.raises(Surprise):
        poll(bmc, timeout_s=0.3)


def test_a_demotion_lasts_a_day(bmc: Bmc, line: Wire) -> None:
    bmc.demote()
    bmc.read_by_program = True
    line.clock.advance(DEMOTED_S - 1)
    assert (bmc.needs_thread, bmc.read_by_program) == (True, True)
    line.clock.advance(1)
    assert (bmc.needs_thread, bmc.read_by_program) == (False, False)
    bmc.read_by_program = True
    bmc.read_by_program = False
    assert not bmc.read_by_program
