"""Our subscription on a Redfish BMC: one, as wanted, and no other one touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.domain.events import Subscriber, subscriber
from ironic_lite.domain.node import Node
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import EventSource, Subscribed
from ironic_lite.drivers.redfish.power import RedfishPower
from ironic_lite.fleet.events import SUBSCRIPTIONS_MAX
from ironic_lite.fleet.server import Bmc
from ironic_lite.log import masked
from tests.drivers.conftest import UUID, deadline
from tests.parts.fleet import PASSWORD, SUBSCRIPTIONS, USERNAME, FleetProcess, fleet
from tests.parts.scripted_bmc import ScriptedBmc, scripted_bmc

KEY = "the key of the cluster"
WANTED = subscriber("http://api.example.org:6385", KEY, UUID)
NOBODY = Subscriber(UUID, None)
ELSEWHERE = "http://elsewhere.example.org/events"
SERVICE = "/redfish/v1/EventService"


@pytest.fixture(scope="module")
def started() -> Iterator[FleetProcess]:
    with fleet(1) as running:
        yield running


@pytest.fixture
def simulated(started: FleetProcess) -> Iterator[FleetProcess]:
    """Its BMC has no subscriptions."""
    yield started
    for path in started.subscriptions(started.bmcs[0]):
        started.ask(started.bmcs[0], "DELETE", path)


@pytest.fixture
def bmc(simulated: FleetProcess) -> Bmc:
    return simulated.bmcs[0]


def kept(info: dict[str, object], wanted: Subscriber) -> Subscribed:
    source: EventSource = RedfishPower()
    target = source.target(Node(uuid=UUID, driver="redfish", driver_info=info))
    return IO.submit(source.keep_subscription(target, wanted, deadline()), "subscription").result(60)


def info(bmc: Bmc) -> dict[str, object]:
    return {"redfish_address": bmc.url, "redfish_username": USERNAME, "redfish_password": PASSWORD}


def test_a_subscription_is_made_once_and_removed(simulated: FleetProcess, bmc: Bmc):
    assert kept(info(bmc), WANTED) == Subscribed.ANEW
    assert kept(info(bmc), WANTED) == Subscribed.ALREADY
    (path,) = simulated.subscriptions(bmc)
    document = simulated.ask(bmc, "GET", path).document
    assert (document["Destination"], document["Context"]) == (WANTED.url, f"ironic_lite {UUID}")
    assert (document["EventTypes"], document["EventFormatType"]) == (["StatusChange", "Alert"], "Event")
    assert kept(info(bmc), NOBODY) == Subscribed.NOT
    assert simulated.subscriptions(bmc) == {}


def test_a_lost_one_is_made_again(simulated: FleetProcess, bmc: Bmc):
    kept(info(bmc), WANTED)
    (path,) = simulated.subscriptions(bmc)
    assert simulated.ask(bmc, "DELETE", path).status == 204
    assert kept(info(bmc), WANTED) == Subscribed.ANEW
    assert list(simulated.subscriptions(bmc).values()) == [WANTED.url]


def test_what_earlier_lives_left_is_removed_and_what_others_have_is_not(simulated: FleetProcess, bmc: Bmc):
    theirs = simulated.subscribe(bmc, ELSEWHERE)
    another_nodes = simulated.subscribe(bmc, f"{subscriber('http://here', KEY, UUID[::-1]).url}")
    simulated.subscribe(bmc, f"{subscriber('http://old.example.org', 'an older key', UUID).url}")
    simulated.subscribe(bmc, f"{WANTED.url}")
    simulated.subscribe(bmc, f"{WANTED.url}")
    simulated.subscribe(bmc, "http://rewritten.example.org/", WANTED.context)
    assert kept(info(bmc), WANTED) == Subscribed.ALREADY
    left = simulated.subscriptions(bmc)
    assert left.keys() > {theirs, another_nodes}
    assert sorted(left.values()).count(str(WANTED.url)) == 1
    assert len(left) == 3
    kept(info(bmc), NOBODY)
    assert simulated.subscriptions(bmc).keys() == {theirs, another_nodes}


def test_a_bmc_without_a_free_slot_refuses_and_is_asked_nothing_twice(simulated: FleetProcess, bmc: Bmc):
    for _ in range(SUBSCRIPTIONS_MAX):
        simulated.subscribe(bmc, ELSEWHERE)
    simulated.clear_counts(bmc)
    assert kept(info(bmc), WANTED) == Subscribed.REFUSED
    assert simulated.counts(bmc)["POST subscriptions"] == 1
    assert set(simulated.subscriptions(bmc).values()) == {ELSEWHERE}


@pytest.fixture
def scripted() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as running:
        running.script.answers["/redfish/v1/"] = 200, encoded(EventService={"@odata.id": SERVICE})
        running.script.has_sessions = False
        yield running


def encoded(**document: Any) -> bytes:
    return json.dumps(document).encode()


def serves(scripted: ScriptedBmc, **more: Any) -> None:
    scripted.script.answers[SERVICE] = 200, encoded(Subscriptions={"@odata.id": SUBSCRIPTIONS}, **more)


@pytest.mark.parametrize(
    "service",
    [
        None,
        (404, b"{}"),
        (403, b"{}"),
        (200, encoded()),
        (200, encoded(ServiceEnabled=False, Subscriptions={"@odata.id": SUBSCRIPTIONS})),
    ],
    ids=["no service", "not found", "not allowed", "no subscriptions", "off"],
)
@pytest.mark.parametrize(("wanted", "outcome"), [(WANTED, Subscribed.REFUSED), (NOBODY, Subscribed.NOT)])
def test_a_bmc_without_events_refuses(
    scripted: ScriptedBmc, service: tuple[int, bytes] | None, wanted: Subscriber, outcome: Subscribed
):
    if service is None:
        scripted.script.answers["/redfish/v1/"] = 200, encoded(Id="Root")
    else:
        scripted.script.answers[SERVICE] = service
    assert kept(scripted.driver_info(), wanted) == outcome
    assert not any(line.startswith("POST") for line in scripted.script.requests)


def test_a_bmc_that_does_not_take_its_own_words_is_asked_plainly(scripted: ScriptedBmc):
    serves(scripted, EventTypesForSubscription=["Alert", "Other"])
    answers = iter([(200, encoded(Members=[])), (400, encoded(error={})), (201, b"{}")])
    taken: list[tuple[int, bytes]] = []

    def next_answer() -> None:
        taken.append(scripted.script.answers[SUBSCRIPTIONS])
        scripted.script.answers[SUBSCRIPTIONS] = next(answers, (500, b""))

    scripted.script.answers[SUBSCRIPTIONS] = next(answers)
    for method in ("GET", "POST"):
        scripted.script.meanwhile[f"{method} {SUBSCRIPTIONS}"] = next_answer
    assert kept(scripted.driver_info(), WANTED) == Subscribed.ANEW
    assert [status for status, _ in taken] == [200, 400, 201]


@pytest.mark.parametrize("answer", [b"[]", b"{", encoded(Members=7), encoded(Members=[{"id": 1}])])
def test_an_answer_that_is_none_is_an_error_of_the_bmc(scripted: ScriptedBmc, answer: bytes):
    serves(scripted)
    scripted.script.answers[SUBSCRIPTIONS] = 200, answer
    with pytest.raises(errors.BMCError, match="its answer is not what Redfish defines"):
        kept(scripted.driver_info(), WANTED)


def test_the_token_reaches_no_log(scripted: ScriptedBmc):
    serves(scripted)
    secret = str(WANTED.url).rpartition("/")[2]
    scripted.script.answers[SUBSCRIPTIONS] = 500, encoded(error={"message": f"{WANTED.url} is wrong."})
    with pytest.raises(errors.BMCError) as caught:
        kept(scripted.driver_info(), WANTED)
    assert secret not in repr(WANTED)
    assert "is wrong" in str(caught.value)
    assert secret not in masked(f"{caught.value}")
