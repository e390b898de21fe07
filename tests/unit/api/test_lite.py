"""/lite: what is there, and a conductor asked what it is doing."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest

from ironic_lite import errors
from ironic_lite.api.app import routes
from ironic_lite.clock import SystemClock
from ironic_lite.cluster.transport import Conductors, Credentials
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.conductor import statistics
from ironic_lite.conductor.overview import Overview
from ironic_lite.conductor.picture import Mode
from ironic_lite.conductor.sightings import Sighting, Sightings, Told
from ironic_lite.conductor.statistics import Statistics
from ironic_lite.db import conductors
from ironic_lite.db.connections import Connections
from ironic_lite.domain.states import Power
from ironic_lite.usage import Process
from ironic_lite.web.listeners import listen
from tests.builders import a_node
from tests.parts.api import Service, fault

PATH = "/lite/v1/conductors/refhost"
NOTHING = Overview.of((), 0.0, 60.0, unwritten=0, outcomes={}, lanes=())
SEEN = Sighting(
    uuid="u", name="n1", bmc="https://bmc:443", mode=Mode.SYNC, recorded=Power.ON,
    told=Told(Power.OFF, None, None, "OK", "Example"), seen_at=datetime.datetime(2026, 11, 21, 12),  # noqa: DTZ001
    age_s=3.5, by="coroutines", latency_s=0.02, failures=0, problem=None, breaker="closed", next_in_s=50.5,
)  # fmt: skip


@pytest.fixture
def told(service: Service) -> Statistics:
    made = Statistics(Process(SystemClock()).usage(), (), (), Connections(limit=20, open=2, busy=1), (), NOTHING)
    service.conductors.answers["conductor_statistics"] = made
    return made


def test_lite_says_what_is_there(service: Service) -> None:
    document = service.ask("GET", "/lite", minor=None).json
    (version,) = document["versions"]
    found = service.ask("GET", version["links"][0]["href"].removeprefix("http://127.0.0.1:46385"), minor=None).json
    assert found["id"] == version["id"] == "v1"
    templates = {one.removeprefix("http://127.0.0.1:46385") for one in found["resources"].values()}
    assert templates == {path for path in routes(service.app_parts) if path.startswith("/lite/v1/")}


def test_a_conductor_is_its_row_and_what_it_answers(service: Service, told: Statistics) -> None:
    result = service.ask("GET", PATH, minor=None)
    assert result.status_code == 200
    row = service.ask("GET", "/v1/conductors/refhost").json
    assert {name: result.json[name] for name in row} == row
    assert result.json["statistics"]["database"] == {"limit": 20, "open": 2, "busy": 1}
    assert result.json["statistics"]["process"]["pid"] == told.process.pid
    assert service.conductors.calls == [("refhost", "conductor_statistics", ())]


def test_it_costs_one_statement(service: Service, told: Statistics) -> None:
    service.ask("GET", PATH)
    statements = service.statements()
    assert service.ask("GET", PATH).status_code == 200
    assert len(statements) == 1


def test_a_conductor_that_is_being_drained_is_asked_all_the_same(service: Service, told: Statistics) -> None:
    conductors.go_offline(service.database, "refhost")
    result = service.ask("GET", PATH)
    assert (result.status_code, result.json["alive"]) == (200, False)


def test_an_unknown_host_is_not_found_and_nobody_is_asked(service: Service, told: Statistics) -> None:
    result = service.ask("GET", "/lite/v1/conductors/nobody")
    assert result.status_code == 404
    assert fault(result)["faultstring"] == "Conductor nobody could not be found."
    assert service.conductors.calls == []


def test_a_conductor_that_does_not_answer_is_503_and_to_be_asked_again(service: Service) -> None:
    service.conductors.answers["conductor_statistics"] = errors.ConductorUnreachable(host="refhost", reason="gone")
    result = service.ask("GET", PATH)
    assert result.status_code == 503
    assert int(result.headers["Retry-After"]) > 0


def test_it_takes_one_of_the_few_turns_to_wait(service: Service, told: Statistics) -> None:
    statuses: list[int] = []

    def answer() -> Statistics:
        """While this one waits for its answer, ask once more."""
        statuses.append(service.ask("GET", PATH).status_code)
        return told

    service.conductors.answers["conductor_statistics"] = answer
    assert service.ask("GET", PATH).status_code == 200
    assert statuses == [503, 200]  # two turns there are, and the third request is refused


@pytest.fixture
def silent(service: Service) -> Iterator[conductors.Conductor]:
    """A conductor that takes the call and never answers."""
    with listen("127.0.0.1", 0) as listener:
        yield conductors.Conductor("refhost", f"http://127.0.0.1:{listener.getsockname()[1]}", "", {})


@pytest.mark.timeout(30)
def test_a_conductor_that_is_frozen_is_given_up_soon(
    service: Service, silent: conductors.Conductor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the method's own limit it would be waited for as long as hardware is, [json_rpc]timeout: 60 s."""
    monkeypatch.setattr(statistics.conductor_statistics, "limit_s", 0.2)
    clients = Conductors(service.members, Credentials("test", "test"), BMCWaits("here", 4))
    with pytest.raises(errors.ConductorUnreachable, match="no answer in time"):
        clients.call(silent, statistics.conductor_statistics)
    clients.close()


def test_the_power_of_a_node_is_told_with_its_age(service: Service) -> None:
    node = a_node(service.database, name="n1").uuid
    service.conductors.answers |= {"power_sighting": SEEN, "look_at_power": SEEN}
    result = service.ask("GET", "/lite/v1/nodes/n1/power", minor=None)
    assert result.status_code == 200
    assert (result.json["recorded"], result.json["told"]["power_state"]) == ("power on", "power off")
    assert (result.json["seen_at"], result.json["age_s"]) == ("2026-11-21T12:00:00.000000+00:00", 3.5)
    assert service.ask("GET", "/lite/v1/nodes/n1/power?max_age=1.5", minor=None).json == result.json
    assert service.conductors.calls[-2:] == [
        ("refhost", "power_sighting", (node,)),
        ("refhost", "look_at_power", (node, 1.5)),
    ]


@pytest.mark.parametrize("given", ["soon", "-1", "inf", "nan", ""])
def test_a_maximum_age_that_is_none_is_refused(service: Service, given: str) -> None:
    a_node(service.database, name="n1")
    result = service.ask("GET", f"/lite/v1/nodes/n1/power?max_age={given}", minor=None)
    assert (result.status_code, "a number of seconds, 0 or more, for max_age" in fault(result)["faultstring"]) == (
        400,
        True,
    )


def test_the_nodes_that_stand_out_are_told(service: Service) -> None:
    service.conductors.answers["power_sightings"] = Sightings(NOTHING, [SEEN])
    result = service.ask("GET", f"{PATH}/power?sort_by=latency&limit=3", minor=None)
    assert (result.json["overview"]["nodes"], result.json["nodes"][0]["name"]) == (0, "n1")
    assert service.conductors.calls[-1] == ("refhost", "power_sightings", ("latency", 3))
    for query, text in (
        ("limit=0", "1 to 1000"),
        ("sort_by=uuid", "age, latency, failures"),
        ("x=1", "limit, sort_by"),
    ):
        refused = service.ask("GET", f"{PATH}/power?{query}", minor=None)
        assert (refused.status_code, text in fault(refused)["faultstring"]) == (400, True)
    assert service.ask("GET", "/lite/v1/conductors/nobody/power", minor=None).status_code == 404
