"""The IPMI BMC without a network: sessions, slots, time, what is dropped. ipmitool and pyghmi are tested elsewhere."""

from __future__ import annotations

import itertools

import pytest

from ironic_lite.clock import ManualClock, seeded
from ironic_lite.fleet.device import Credentials, Identity, Site
from ironic_lite.fleet.ipmi import sessions, wire
from ironic_lite.fleet.ipmi.bmc import Ipmi
from ironic_lite.fleet.machine import Machine, Power
from ironic_lite.fleet.outbox import Outbox
from ironic_lite.fleet.quirks import Quirk
from tests.parts.rmcp import ADMINISTRATOR, CHASSIS_STATUS, OPERATOR, POWER_ON, Command, Conversation, LoginError, visit

SHA1, SHA256 = wire.SUITES
PASSWORD = "secret-20-bytes-long"
OK = 0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bmc(clock: ManualClock) -> Ipmi:
    site = Site(clock, 0.0, Credentials("admin", PASSWORD), seeded("1"), Outbox())
    machine = Machine(clock, power_delay_s=2.0)
    return Ipmi(site, "127.0.0.9", Identity("SIM1"), machine, 2, itertools.count(1).__next__)


def ask(bmc: Ipmi, datagram: bytes) -> bytes:
    reply = bmc.receive(datagram)
    assert reply is not None
    return reply.datagram


def talk(
    bmc: Ipmi, *requests: Command, password: str = PASSWORD, suite: wire.Suite = SHA256, role: int = OPERATOR
) -> list[bytes]:
    """A whole visit: code and data of each answer."""
    conversation = visit("admin", password, *requests, suite=suite, role=role)
    datagram = next(conversation)
    try:
        while True:
            datagram = conversation.send(ask(bmc, datagram))
    except StopIteration as end:
        answers: list[bytes] = end.value
        return answers


def log_in(bmc: Ipmi) -> tuple[Conversation, bytes]:
    """A visit up to its first command: the conversation, and the command's datagram."""
    conversation = visit("admin", PASSWORD, CHASSIS_STATUS)
    datagram = next(conversation)
    for _ in range(3):
        datagram = conversation.send(ask(bmc, datagram))
    return conversation, datagram


@pytest.mark.parametrize("suite", [SHA1, SHA256])
def test_power_takes_its_time(bmc: Ipmi, clock: ManualClock, suite: wire.Suite) -> None:
    off, done = talk(bmc, CHASSIS_STATUS, POWER_ON, suite=suite)
    assert (off[0], off[1] & 1, done) == (OK, 0, bytes((OK,)))
    assert talk(bmc, CHASSIS_STATUS, suite=suite)[0][1] & 1 == 0
    clock.advance(2.0)
    assert talk(bmc, CHASSIS_STATUS, suite=suite)[0][1] & 1 == 1
    assert bmc.machine.power is Power.ON


def test_a_wrong_password_or_suite_is_refused(bmc: Ipmi) -> None:
    with pytest.raises(LoginError, match=str(sessions.BAD_INTEGRITY)):
        talk(bmc, POWER_ON, password="wrong")
    bmc.quirks = frozenset({Quirk.SHA1_ONLY})
    with pytest.raises(LoginError, match=str(sessions.NO_SUITE)):
        talk(bmc, POWER_ON)
    assert talk(bmc, CHASSIS_STATUS, suite=SHA1)[0][0] == OK
    assert bmc.machine.ledger == []


def test_some_accounts_are_no_administrators(bmc: Ipmi) -> None:
    bmc.quirks = frozenset({Quirk.OPERATOR_ONLY})
    assert talk(bmc, CHASSIS_STATUS)[0][0] == OK
    with pytest.raises(LoginError, match=str(sessions.INVALID_ROLE)):
        talk(bmc, CHASSIS_STATUS, role=ADMINISTRATOR)
    bmc.quirks = frozenset()
    assert talk(bmc, CHASSIS_STATUS, role=ADMINISTRATOR)[0][0] == OK


def test_slots_are_few_and_come_back_with_time(bmc: Ipmi, clock: ManualClock) -> None:
    log_in(bmc)
    log_in(bmc)
    with pytest.raises(LoginError, match=str(sessions.NO_ROOM)):
        talk(bmc, CHASSIS_STATUS)
    clock.advance(sessions.IDLE_S + 1)
    assert talk(bmc, CHASSIS_STATUS)[0][0] == OK
    assert (bmc.sessions.opened, bmc.sessions.refused, bmc.sessions.open_max) == (3, 1, 2)
    assert bmc.sessions.ids() == []


def test_a_datagram_that_comes_twice_or_was_tampered_with_is_dropped(bmc: Ipmi) -> None:
    _, status = log_in(bmc)
    assert bmc.receive(status[:-1] + bytes((status[-1] ^ 1,))) is None
    assert bmc.receive(status) is not None
    assert bmc.receive(status) is None
    assert bmc.tally.requests["chassis-status"] == 1


def test_an_opening_that_is_repeated_goes_on(bmc: Ipmi) -> None:
    """The client hears the answer to its first RAKP 1, and the BMC has seen it twice."""
    conversation = visit("admin", PASSWORD, CHASSIS_STATUS)
    rakp1 = conversation.send(ask(bmc, next(conversation)))
    first, _again = ask(bmc, rakp1), ask(bmc, rakp1)
    rakp3 = conversation.send(first)
    conversation.send(ask(bmc, rakp3))
    assert bmc.sessions.opened == 1


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_datagram_that_is_cut_short_is_dropped(bmc: Ipmi, cut: int) -> None:
    _, status = log_in(bmc)
    first = next(visit("admin", PASSWORD))
    for whole in (status, first):
        if cut < len(whole):
            bmc.receive(whole[:cut])
    assert bmc.tally.requests["chassis-status"] == 0
    assert bmc.receive(status) is not None
