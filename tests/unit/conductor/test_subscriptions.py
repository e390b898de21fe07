"""Subscriptions to events follow the nodes and the options: made, made again, moved, removed, and never in the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ironic_lite import config
from ironic_lite.conductor import subscriptions
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.subscriptions import Subscriptions
from ironic_lite.db import keys, nodes
from ironic_lite.domain import events
from ironic_lite.domain.node import Node
from ironic_lite.fleet.events import SUBSCRIPTIONS_MAX
from ironic_lite.fleet.server import Bmc
from tests.builders import a_node
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.watching import Watch
from tests.waiting import until

URL = "http://api.example.org:6385"
ELSEWHERE = "http://elsewhere.example.org/events"
OPTIONS = {"event_receiver_url": URL, "event_subscription_interval": 1}
GONE_S = 20.0


@pytest.fixture(scope="module")
def started() -> Iterator[FleetProcess]:
    with fleet(2) as running:
        yield running


@pytest.fixture
def simulated(started: FleetProcess) -> Iterator[FleetProcess]:
    """Its BMCs have no subscriptions."""
    yield started
    for bmc in started.bmcs:
        for path in started.subscriptions(bmc):
            started.ask(bmc, "DELETE", path)


@pytest.fixture(autouse=True)
def on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Events are wanted; first looks come at once, others every second."""
    monkeypatch.setattr(subscriptions, "FIRST_S", 0.1)
    for name, value in OPTIONS.items():
        config.CONF.set_override(name, value, "redfish")
    yield
    for name in OPTIONS:
        config.CONF.clear_override(name, "redfish")


class Kept:
    """What a conductor keeps, one turn at a time."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.subscriptions = Subscriptions(watch.conductor)

    def turn(self) -> None:
        self.watch.follow()
        self.subscriptions.turn()

    def subscribed(self) -> float:
        """To how many BMCs."""
        return sum(self.states().get(state, 0) for state in ("already", "anew"))

    def states(self) -> dict[str, float]:
        return {sample.labels[0][1]: sample.value for sample in self.subscriptions.samples()}


@pytest.fixture
def kept(watch: Watch) -> Iterator[Kept]:
    made = Kept(watch)
    yield made
    made.subscriptions.stop()


def info(bmc: Bmc) -> dict[str, object]:
    return {"redfish_address": bmc.url, "redfish_username": USERNAME, "redfish_password": PASSWORD}


def a_machine(conductor: Conductor, bmc: Bmc, **more: object) -> Node:
    row = {"power_state": "power off", "boot_mode": "uefi", "health": "OK", "provision_state": "active"} | more
    return a_node(conductor.database, driver="redfish", power_interface="redfish", driver_info=info(bmc), **row)


def expected(conductor: Conductor, node: Node) -> str:
    key = keys.find(conductor.database, events.KEY)
    assert key is not None
    return f"{URL}{events.PREFIX}/{node.uuid}/{events.token(key, node.uuid)}"


def destinations(simulated: FleetProcess, bmc: Bmc) -> list[str]:
    return sorted(simulated.subscriptions(bmc).values())


def changed(conductor: Conductor, node: Node, **changes: object) -> None:
    nodes.change(conductor.database, node.uuid, nodes.get(conductor.database, node.uuid).revision, changes)


def test_a_subscription_is_made_and_made_again_when_lost(conductor: Conductor, simulated: FleetProcess, kept: Kept):
    bmc = simulated.bmcs[0]
    node = a_machine(conductor, bmc)
    kept.turn()
    until(lambda: destinations(simulated, bmc) == [expected(conductor, node)])
    until(lambda: kept.states() == {"already": 1})
    (path,) = simulated.subscriptions(bmc)
    simulated.ask(bmc, "DELETE", path)
    until(lambda: destinations(simulated, bmc) == [expected(conductor, node)])
    assert kept.subscriptions.interval_s() == 1


def test_it_is_removed_with_its_node(conductor: Conductor, simulated: FleetProcess, kept: Kept):
    bmc, other = simulated.bmcs
    simulated.subscribe(bmc, ELSEWHERE)
    removed, stays = a_machine(conductor, bmc), a_machine(conductor, other)
    kept.turn()
    until(lambda: len(simulated.subscriptions(bmc)) == 2 and len(simulated.subscriptions(other)) == 1)
    nodes.delete(conductor.database, removed.uuid, nodes.get(conductor.database, removed.uuid).revision)
    kept.turn()
    until(lambda: destinations(simulated, bmc) == [ELSEWHERE], GONE_S)
    assert destinations(simulated, other) == [expected(conductor, stays)]
    until(lambda: sum(kept.states().values()) == 1)


def test_it_follows_the_node_to_another_bmc(conductor: Conductor, simulated: FleetProcess, kept: Kept):
    bmc, other = simulated.bmcs
    node = a_machine(conductor, bmc)
    kept.turn()
    until(lambda: len(simulated.subscriptions(bmc)) == 1)
    changed(conductor, node, driver_info=info(other))
    kept.turn()
    until(lambda: destinations(simulated, bmc) == [], GONE_S)
    until(lambda: destinations(simulated, other) == [expected(conductor, node)])


def test_it_goes_when_the_node_has_another_driver(conductor: Conductor, simulated: FleetProcess, kept: Kept):
    bmc = simulated.bmcs[0]
    node = a_machine(conductor, bmc)
    kept.turn()
    until(lambda: len(simulated.subscriptions(bmc)) == 1)
    changed(conductor, node, driver="fake-hardware", power_interface="fake")
    kept.turn()
    until(lambda: destinations(simulated, bmc) == [], GONE_S)


def test_a_node_that_another_conductor_takes_keeps_it(conductor: Conductor, simulated: FleetProcess, kept: Kept):
    bmc = simulated.bmcs[0]
    node = a_machine(conductor, bmc)
    kept.turn()
    until(lambda: kept.subscribed() == 1)
    changed(conductor, node, conductor_group="elsewhere")
    kept.turn()
    until(lambda: kept.states() == {})
    simulated.clear_counts(bmc)
    kept.watch.settle()
    assert destinations(simulated, bmc) == [expected(conductor, node)]
    assert "DELETE subscription" not in simulated.counts(bmc)


@pytest.mark.parametrize("life", ["same", "next"])
def test_all_are_removed_when_events_are_turned_off(
    conductor: Conductor, simulated: FleetProcess, kept: Kept, life: str
):
    for bmc in simulated.bmcs:
        a_machine(conductor, bmc)
    kept.turn()
    until(lambda: kept.subscribed() == 2)
    config.CONF.set_override("event_receiver_url", None, "redfish")
    if life == "next":
        kept.subscriptions.stop()
        kept.subscriptions = Subscriptions(conductor)
    assert kept.subscriptions.interval_s() > 0
    kept.turn()
    until(lambda: not any(simulated.subscriptions(bmc) for bmc in simulated.bmcs), GONE_S)
    until(lambda: kept.states() == {})


def test_who_never_wanted_events_asks_no_bmc_and_makes_no_key(
    conductor: Conductor, simulated: FleetProcess, kept: Kept
):
    config.CONF.set_override("event_receiver_url", None, "redfish")
    a_machine(conductor, simulated.bmcs[0])
    simulated.clear_counts(simulated.bmcs[0])
    kept.turn()
    kept.watch.settle()
    assert (kept.states(), kept.subscriptions.interval_s()) == ({}, 0)
    assert keys.find(conductor.database, events.KEY) is None
    assert not {"GET event-service", "GET subscriptions"} & simulated.counts(simulated.bmcs[0]).keys()


def test_a_bmc_whose_slots_are_taken_is_left_alone_and_its_node_well(
    conductor: Conductor, simulated: FleetProcess, kept: Kept
):
    full, other = simulated.bmcs
    for _ in range(SUBSCRIPTIONS_MAX):
        simulated.subscribe(full, ELSEWHERE)
    node = a_machine(conductor, full)
    a_machine(conductor, other)
    kept.turn()
    until(lambda: kept.subscribed() == 1 and kept.states().get("refused") == 1)
    for bmc in simulated.bmcs:
        simulated.clear_counts(bmc)
    until(lambda: simulated.counts(other).get("GET event-service", 0) >= 2)
    assert simulated.counts(full).get("GET event-service", 0) == 0, "it is asked again in a day"
    row = nodes.get(conductor.database, node.uuid)
    assert (row.last_error, row.maintenance, row.power_state) == (None, False, "power off")


def test_a_node_that_nobody_has_verified_is_not_subscribed(conductor: Conductor, simulated: FleetProcess, kept: Kept):
    a_machine(conductor, simulated.bmcs[0], provision_state="enroll")
    kept.turn()
    assert kept.states() == {}


def test_a_node_that_came_and_went_between_two_turns_is_not_kept(conductor: Conductor, watch: Watch):
    """It is known by a write of ours alone, and the table has as many nodes as it had before."""
    watch.follow()
    node = a_node(conductor.database)
    conductor.freshness.place([node])
    watch.settle()
    assert conductor.freshness.known(node.uuid) is not None
    nodes.delete(conductor.database, node.uuid, node.revision)
    watch.follow()
    assert conductor.freshness.known(node.uuid) is None
