"""Events of BMCs, from the machine's button to the record: real processes, a fleet that sends them well and badly."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from ironic_lite.clock import SystemClock
from ironic_lite.conductor.picture import HINTS_REST_S
from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.service import Service, service
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

SYSTEM = "/redfish/v1/Systems/1"
READ = "GET system"
NEXT_TURN_S = 3600  # nothing here waits for it
SOON_S = 60.0  # on a busy machine
STORM = 200
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def bmcs() -> Iterator[FleetProcess]:
    with fleet(4, event_retry=1) as started:
        yield started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Power is known by events alone; until the first turn after an hour, no poll comes by itself."""
    conductor = {
        "sync_power_state_interval": NEXT_TURN_S,
        "power_state_sync_debounce": 1,
        "force_power_state_during_sync": False,
    }
    redfish = {"event_receiver_url": "http://127.0.0.1:${api.port}", "event_subscription_interval": 1}
    with service(tmp_path_factory.mktemp("events"), conductor=conductor, redfish=redfish) as started:
        yield started


def enrol(running: Service, bmcs: FleetProcess, bmc: Bmc, name: str) -> tuple[str, str]:
    """A node whose BMC sends events: its UUID, and where they go."""
    info = {"redfish_address": bmc.url, "redfish_username": USERNAME, "redfish_password": PASSWORD}
    uuid = running.create(name, "redfish", driver_info=info)
    running.manage(uuid)
    until(lambda: bmcs.subscriptions(bmc), SOON_S)
    (url,) = bmcs.subscriptions(bmc).values()
    assert url.startswith(f"{running.url}/lite/v1/events/{uuid}/")
    return uuid, urlsplit(url).path


def press(bmcs: FleetProcess, bmc: Bmc, reset: str) -> None:
    """Press the machine's button behind the service's back."""
    answer = bmcs.ask(bmc, "POST", f"{SYSTEM}/Actions/ComputerSystem.Reset", {"ResetType": reset})
    assert answer.status in (200, 202, 204), answer


def recorded(running: Service, uuid: str) -> str:
    state: str = running.get(f"/v1/nodes/{uuid}/states")["power_state"]
    return state


def revision(running: Service, uuid: str) -> int:
    """How often the node's row was written."""
    with contextlib.closing(sqlite3.connect(f"file:{running.directory}/ironic.sqlite?mode=ro", uri=True)) as database:
        (found,) = database.execute("SELECT revision FROM nodes WHERE uuid = ?", (uuid,)).fetchone()
    return int(found)


def known(running: Service, uuid: str) -> bool:
    """Whether all that the first look tells was written."""
    node = running.get(f"/v1/nodes/{uuid}")
    return bool(node["power_state"] and node["boot_mode"] and node["health"])


def test_a_button_is_known_long_before_the_next_turn(running: Service, bmcs: FleetProcess) -> None:
    """Whether events come once and at once, or twice, late and in any order: the same is written, and nobody acts."""
    pair = bmcs.bmcs[:2]
    enrolled = [enrol(running, bmcs, bmc, f"pressed-{number}") for number, bmc in enumerate(pair)]
    bmcs.set_quirks(pair[1], "events-twice", "events-late")
    until(lambda: all(known(running, uuid) for uuid, _ in enrolled), SOON_S)
    before = [revision(running, uuid) for uuid, _ in enrolled]
    for reset, state in (("On", "power on"), ("ForceOff", "power off")):
        for bmc in pair:
            press(bmcs, bmc, reset)
        until(lambda state=state: all(recorded(running, uuid) == state for uuid, _ in enrolled), SOON_S)  # type: ignore[misc]
    assert [revision(running, uuid) for uuid, _ in enrolled] == [writes + 2 for writes in before]
    for bmc, (uuid, path) in zip(pair, enrolled, strict=True):
        node = running.settled(uuid)
        assert (node["last_error"], node["maintenance"]) == (None, False)
        assert bmcs.ledger(bmc) == [("redfish", "On"), ("redfish", "ForceOff")], "nobody else acted on it"
        assert bmcs.ask(bmc, "GET", "/fleet/counts").document["sessions"] == 1
        assert path.rpartition("/")[2] not in running.log()


def test_forged_events_ask_no_bmc_and_storms_ask_it_now_and_then(running: Service, bmcs: FleetProcess) -> None:
    bmc = bmcs.bmcs[2]
    uuid, path = enrol(running, bmcs, bmc, "stormed")
    until(lambda: known(running, uuid), SOON_S)
    before = revision(running, uuid)
    bmcs.clear_counts(bmc)
    lie = b'{"Events": [{"EventType": "StatusChange", "MessageId": "ResourceEvent.1.3.ResourcePoweredOn"}]}'
    assert {running.request("POST", f"{path}x", lie, "9.9")[0] for _ in range(20)} == {404}
    assert bmcs.counts(bmc).get(READ, 0) == 0
    began, statuses = CLOCK.monotonic(), storm(running, path, lie)
    took_s = CLOCK.monotonic() - began
    assert statuses == {204}
    assert running.request("POST", path, b"[" * 2**20)[0] == 204
    until(lambda: bmcs.counts(bmc).get(READ, 0) > 0, SOON_S)
    assert bmcs.counts(bmc)[READ] <= 2 + (took_s + SOON_S) / HINTS_REST_S
    assert (revision(running, uuid), recorded(running, uuid)) == (before, "power off")


def storm(running: Service, path: str, body: bytes) -> set[int]:
    """Events as fast as one connection takes them: how they were answered."""
    connection = running.client()
    statuses = set()
    try:
        for _ in range(STORM):
            connection.request("POST", path, body)
            answer: http.client.HTTPResponse = connection.getresponse()
            answer.read()
            statuses.add(answer.status)
    finally:
        connection.close()
    return statuses


def test_the_subscription_comes_back_and_goes_with_the_node(running: Service, bmcs: FleetProcess) -> None:
    bmc = bmcs.bmcs[3]
    uuid, _ = enrol(running, bmcs, bmc, "lost")
    (lost,) = bmcs.subscriptions(bmc)
    bmcs.ask(bmc, "DELETE", lost)
    until(lambda: bmcs.subscriptions(bmc), SOON_S)
    assert running.request("DELETE", f"/v1/nodes/{uuid}")[0] == 204
    until(lambda: not bmcs.subscriptions(bmc), SOON_S)
