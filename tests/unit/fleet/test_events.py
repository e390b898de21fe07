"""Events to a subscriber, through sushy and through the standard library."""

from __future__ import annotations

import http.server
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sushy
from sushy import auth

from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.waiting import until

SUBSCRIPTIONS = "/redfish/v1/EventService/Subscriptions"
RESET = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
PATIENCE_S = 10.0


class Listener(http.server.ThreadingHTTPServer):
    """Takes events; `refusals` of them are answered 503 first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.taken: queue.SimpleQueue[tuple[dict[str, str], dict[str, Any]]] = queue.SimpleQueue()
        self.refusals = 0
        self._lock = threading.Lock()

    def refuses(self) -> bool:
        """Whether the event that has come is refused."""
        with self._lock:
            if self.refusals == 0:
                return False
            self.refusals -= 1
            return True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/events"

    def take(self) -> dict[str, Any]:
        """The next event."""
        event: dict[str, Any] = self.taken.get(timeout=PATIENCE_S)[1]["Events"][0]
        return event


class Taker(http.server.BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses():
            self.send_response(503)
        else:
            self.server.taken.put((dict(self.headers), json.loads(body)))
            self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})  # noqa: TID251
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def process() -> Iterator[FleetProcess]:
    with fleet(power_delay=0.1, event_retry=0.05) as running:
        yield running


def subscribe(process: FleetProcess, listener: Listener, **more: object) -> str:
    body = {"Destination": listener.url, "Context": "mine", "Protocol": "Redfish", **more}
    return process.ask(process.bmcs[0], "POST", SUBSCRIPTIONS, body).headers["location"]


def message_ids(listener: Listener, count: int) -> list[str]:
    return [listener.take()["MessageId"].rpartition(".Resource")[2] for _ in range(count)]


def test_sushy_subscribes_is_told_and_unsubscribes(process: FleetProcess, listener: Listener) -> None:
    login = auth.SessionAuth(USERNAME, PASSWORD)
    service = sushy.Sushy(process.bmcs[0].url, auth=login, read_timeout=10).get_event_service()
    assert service.service_enabled
    payload = {
        "Destination": listener.url,
        "Context": "sushy",
        "Protocol": "Redfish",
        "EventTypes": ["Alert"],
        "HttpHeaders": [{"X-Token": "secret-word"}],
    }
    created = service.subscriptions.create(payload)
    assert (created.context, created.destination, created.event_types) == ("sushy", listener.url, ["Alert"])
    assert "secret-word" not in json.dumps(created.json)
    origin = "/redfish/v1/Systems/1"
    service.submit_test_event("7", "2026-01-01T00:00:00Z", "Alert", "Hello.", [], "Test.1.0.Hello", origin, "OK")
    headers, document = listener.taken.get(timeout=PATIENCE_S)
    assert (document["Context"], document["Events"][0]["EventId"]) == ("sushy", "7")
    assert headers["X-Token"] == "secret-word"
    created.delete()
    service.subscriptions.refresh()
    assert service.subscriptions.members_identities == ()
    login.close()


def test_each_power_state_is_told_when_it_is_reached(process: FleetProcess, bmc: Bmc, listener: Listener) -> None:
    subscribe(process, listener)
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    assert sorted(message_ids(listener, 2)) == ["PoweredOn", "PoweringOn"]
    process.order(bmcs=bmc.address, reset="PushPowerButton")
    assert sorted(message_ids(listener, 2)) == ["PoweredOff", "PoweringOff"]
    until(lambda: process.rule("GET", "/report")["events"]["delivered"] == 4)


def test_an_event_that_is_refused_is_sent_again(process: FleetProcess, bmc: Bmc, listener: Listener) -> None:
    subscribe(process, listener)
    listener.refusals = 1
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    assert sorted(message_ids(listener, 2)) == ["PoweredOn", "PoweringOn"]
    until(lambda: process.rule("GET", "/report")["events"]["delivered"] == 2)
    assert process.rule("GET", "/report")["events"]["retried"] == 1


def test_a_subscriber_that_is_gone_is_given_up(process: FleetProcess, bmc: Bmc, listener: Listener) -> None:
    listener.refusals = 1000
    subscribe(process, listener)
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    until(lambda: process.rule("GET", "/report")["events"]["failed"] == 2)
    assert process.rule("GET", "/report")["events"] == {"delivered": 0, "failed": 2, "retried": 6, "dropped": 0}


def test_events_may_be_doubled_or_lost(process: FleetProcess, bmc: Bmc, listener: Listener) -> None:
    subscribe(process, listener)
    process.set_quirks(bmc, "events-twice")
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    assert sorted(message_ids(listener, 4)) == ["PoweredOn", "PoweredOn", "PoweringOn", "PoweringOn"]
    process.set_quirks(bmc, "events-lost")
    process.ask(bmc, "POST", RESET, {"ResetType": "ForceOff"})
    until(lambda: process.rule("GET", "/power")["power"][bmc.address] == "Off")
    process.set_quirks(bmc)
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    assert listener.take()["MessageId"].endswith(("PoweringOn", "PoweredOn"))


@pytest.mark.parametrize(
    "body",
    [
        {"Context": "x"},
        {"Destination": "ftp://127.0.0.1/"},
        {"Destination": "http://127.0.0.1/", "Protocol": "SNMPv2c"},
        {"Destination": "http://127.0.0.1/", "EventTypes": "Alert"},
        {"Destination": "http://127.0.0.1/", "HttpHeaders": [{"X": "a\r\nEvil: b"}]},
        {"Destination": "http://127.0.0.1/", "Colour": "red"},
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(steady: FleetProcess, body: dict[str, object]) -> None:
    assert steady.ask(steady.bmcs[0], "POST", SUBSCRIPTIONS, body).status == 400


def test_subscriptions_are_limited(process: FleetProcess, listener: Listener) -> None:
    paths = {subscribe(process, listener) for _ in range(20)}
    assert len(paths) == 20
    body = {"Destination": listener.url}
    assert process.ask(process.bmcs[0], "POST", SUBSCRIPTIONS, body).status == 503
    assert process.ask(process.bmcs[0], "DELETE", paths.pop()).status == 204
    subscribe(process, listener)
