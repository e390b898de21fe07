"""Where BMCs send their events: a token opens it, and nothing that an event says is believed, or even read."""

from __future__ import annotations

import logging
import threading

import pytest

from ironic_lite import errors
from ironic_lite.clock import ManualClock, new_uuid
from ironic_lite.db import keys
from ironic_lite.db.tables import nodes
from ironic_lite.domain import events
from tests.builders import a_node
from tests.parts.api import Service

REST_S = 5.0


@pytest.fixture
def clock(service: Service) -> ManualClock:
    """The API's; it stands still."""
    made = ManualClock()
    service.serve(made)
    return made


@pytest.fixture
def uuid(service: Service, clock: ManualClock) -> str:
    service.conductors.answers["event_came"] = 0.0
    return a_node(service.database, name="n1").uuid


@pytest.fixture
def path(service: Service, uuid: str) -> str:
    return path_of(service, uuid)


def path_of(service: Service, uuid: str) -> str:
    url = events.subscriber("http://127.0.0.1", keys.find_or_make(service.database, events.KEY), uuid).url
    return str(url).removeprefix("http://127.0.0.1")


def outcomes(service: Service) -> dict[str, int]:
    lines = service.ask("GET", "/metrics", minor=None).text.splitlines()
    found = (line.partition('outcome="')[2].split('"} ') for line in lines if "events_total{" in line)
    return {outcome: int(value) for outcome, value in found}


@pytest.mark.parametrize(
    "body", [b"", b'{"Events": [{"MessageId": "ResourceEvent.1.3.ResourcePoweredOff"}]}', b"\xff{", b"[" * 10**5]
)
@pytest.mark.parametrize("headers", [{}, {"Accept": "text/html", "X-OpenStack-Ironic-API-Version": "9.9"}])
def test_an_event_is_a_hint_whatever_it_says(
    service: Service, uuid: str, path: str, body: bytes, headers: dict[str, str]
):
    before = service.rows(nodes)
    result = service.ask("POST", path, raw=body, minor=None, headers=headers)
    assert (result.status_code, result.text) == (204, "")
    assert service.conductors.calls == [("refhost", "event_came", (uuid,))]
    assert service.rows(nodes) == before


def test_a_wrong_token_costs_nothing_and_says_nothing_of_the_node(service: Service, uuid: str, path: str):
    token, stranger = path.rpartition("/")[2], new_uuid()
    service.ask("POST", f"{path}x")  # by then the key is known
    statements = service.statements()
    forged = [
        f"{path}x", path[:-1], path.replace(uuid, stranger), path.replace(uuid, "n1"), path.replace(uuid, uuid.upper()),
        f"{events.PREFIX}/{uuid}/{token.swapcase()}", f"{events.PREFIX}/{uuid}/\xff", f"{events.PREFIX}/{uuid}/%2e%2e",
    ]  # fmt: skip
    results = [service.ask("POST", one, minor=None) for one in forged * 3]
    answers = {(result.status_code, result.json["error_message"]) for result in results}
    assert {status for status, _ in answers} == {404}
    assert len(answers) == 1
    assert (statements, service.conductors.calls) == ([], [])
    # A node that was removed: its token is right, and the answer the same.
    gone = service.ask("POST", path_of(service, stranger))
    assert (gone.status_code, gone.json["error_message"]) in answers
    assert service.conductors.calls == []


def test_without_a_key_a_flood_costs_a_statement_in_ten_seconds(service: Service, uuid: str, clock: ManualClock):
    statements = service.statements()
    for _ in range(100):
        assert service.ask("POST", f"{events.PREFIX}/{uuid}/forged").status_code == 404
        clock.advance(0.3)
    assert len([one for one in statements if one.startswith("SELECT")]) == 3
    clock.advance(10)
    assert service.ask("POST", path_of(service, uuid)).status_code == 204


def test_of_a_storm_only_what_the_conductor_wants_is_passed_on(
    service: Service, uuid: str, path: str, clock: ManualClock
):
    assert service.ask("POST", path).status_code == 204
    service.conductors.answers["event_came"] = REST_S
    assert service.ask("POST", path).status_code == 204
    statements = service.statements()
    for _ in range(50):
        assert service.ask("POST", path).status_code == 204
        clock.advance(0.09)
    assert (len(service.conductors.calls), statements) == (2, [])
    clock.advance(REST_S)
    assert service.ask("POST", path).status_code == 204
    assert len(service.conductors.calls) == 3
    assert outcomes(service) == {"covered": 50, "passed on": 3}


def test_another_nodes_storm_covers_nobody_else(service: Service, uuid: str, path: str):
    service.conductors.answers["event_came"] = REST_S
    other = a_node(service.database, name="n2").uuid
    for _ in range(3):
        service.ask("POST", path)
        service.ask("POST", path_of(service, other))
    assert [arguments for _, _, arguments in service.conductors.calls] == [(uuid,), (other,)]


def test_what_cannot_be_passed_on_is_to_be_sent_again(service: Service, uuid: str, path: str):
    service.conductors.answers["event_came"] = errors.ConductorUnreachable(host="refhost", reason="gone")
    result = service.ask("POST", path)
    assert (result.status_code, int(result.headers["Retry-After"]) > 0) == (503, True)
    service.conductors.answers["event_came"] = 0.0
    assert service.ask("POST", path).status_code == 204
    assert outcomes(service) == {"failed": 1, "passed on": 1}


def test_few_threads_pass_events_on_at_a_time(service: Service, uuid: str, path: str):
    """There are four: one of them passes events on."""
    statuses: list[int] = []
    nested = threading.local()

    def answer() -> float:
        if not getattr(nested, "on", False):
            nested.on = True
            statuses.append(service.ask("POST", path).status_code)
        return 0.0

    service.conductors.answers["event_came"] = answer
    statuses.append(service.ask("POST", path).status_code)
    assert statuses == [503, 204]


def test_the_token_is_not_logged(service: Service, path: str, caplog: pytest.LogCaptureFixture):
    token = path.rpartition("/")[2]
    with caplog.at_level(logging.DEBUG):
        for method, asked in (("POST", path), ("GET", path), ("POST", f"/{path}//more"), ("POST", f"{path}.json")):
            service.ask(method, asked, minor=None)
    assert len([line for line in caplog.messages if "/lite/v1/events/..." in line]) == 4
    assert token not in caplog.text


def test_nothing_but_posts(service: Service, path: str):
    assert [service.ask(method, path).status_code for method in ("GET", "PUT", "DELETE")] == [405] * 3
    assert service.conductors.calls == []
