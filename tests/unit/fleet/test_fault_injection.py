"""Each fault as a client meets it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from ironic_lite.clock import SystemClock
from ironic_lite.fleet.listeners import EACH_LISTENS_MAX
from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import FleetProcess, ask, fleet
from tests.waiting import until

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


@pytest.fixture
def process() -> Iterator[FleetProcess]:
    with fleet(2) as running:
        yield running


@pytest.fixture
def bmc(process: FleetProcess) -> Bmc:
    return process.bmcs[0]


@pytest.fixture
def connection(bmc: Bmc) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection(bmc.address, bmc.port, timeout=10)
    yield opened
    opened.close()


def test_a_hung_bmc_takes_the_request_and_never_answers(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "hang", "times": 1})
    hung = http.client.HTTPConnection(bmc.address, bmc.port, timeout=0.5)
    with pytest.raises(TimeoutError):
        ask(hung, "POST", RESET, {"ResetType": "On"})
    hung.close()
    assert process.counts(bmc) == {"POST reset": 1}
    assert process.ask(bmc, "GET", SYSTEM).document["PowerState"] == "Off"


def test_one_hung_bmc_does_not_touch_another(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "hang"})
    assert process.ask(process.bmcs[1], "GET", SYSTEM).status == 200


def test_a_refusing_bmc_takes_no_connection_until_it_is_told_otherwise(process: FleetProcess, bmc: Bmc) -> None:
    kept = http.client.HTTPConnection(bmc.address, bmc.port, timeout=10)
    ask(kept, "GET", SYSTEM)
    process.set_faults(bmc, {"fault": "refuse"})
    with pytest.raises(ConnectionError):
        ask(kept, "GET", SYSTEM)
    kept.close()
    with pytest.raises(ConnectionRefusedError):
        process.ask(bmc, "GET", SYSTEM)
    process.set_faults(bmc, through=process.bmcs[1])
    assert process.ask(bmc, "GET", SYSTEM).status == 200


def test_in_a_large_fleet_a_refusing_bmc_resets_connections() -> None:
    with fleet(EACH_LISTENS_MAX + 1) as process:
        bmc, other = process.bmcs[-1], process.bmcs[0]
        assert process.ask(bmc, "GET", SYSTEM).status == 200
        process.set_faults(bmc, {"fault": "refuse"})
        with pytest.raises(ConnectionError):
            process.ask(bmc, "GET", SYSTEM)
        assert process.ask(other, "GET", SYSTEM).status == 200
        process.set_faults(bmc, through=other)
        assert process.ask(bmc, "GET", SYSTEM).status == 200


def test_a_slow_bmc_answers_later(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "slow", "seconds": 0.4, "times": 1})
    clock = SystemClock()
    start_s = clock.monotonic()
    assert process.ask(bmc, "GET", SYSTEM).status == 200
    assert clock.monotonic() - start_s >= 0.4


def test_a_slow_bmc_carries_out_what_its_client_no_longer_waits_for(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "slow", "seconds": 0.4, "times": 1})
    impatient = http.client.HTTPConnection(bmc.address, bmc.port, timeout=0.1)
    with pytest.raises(TimeoutError):
        ask(impatient, "POST", RESET, {"ResetType": "On"})
    impatient.close()
    until(lambda: process.ask(bmc, "GET", SYSTEM).document["PowerState"] == "On")


def test_a_script_of_busy_and_garbage_ends_well(
    process: FleetProcess, bmc: Bmc, connection: http.client.HTTPConnection
) -> None:
    process.set_faults(bmc, {"fault": "503", "times": 2}, {"fault": "garbage", "times": 1})
    answers = [ask(connection, "GET", SYSTEM) for _ in range(4)]
    assert [answer.status for answer in answers] == [503, 503, 200, 200]
    assert answers[0].headers["retry-after"] == "5"
    with pytest.raises(ValueError, match=r"codec|Expecting"):
        json.loads(answers[2].body)
    assert answers[3].document["PowerState"] == "Off"


def test_a_lying_bmc_tells_the_state_from_before_the_action(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "wrong-state", "seconds": 0.5, "times": 1})
    assert process.ask(bmc, "POST", RESET, {"ResetType": "On"}).status == 204
    assert process.ask(bmc, "GET", SYSTEM).document["PowerState"] == "Off"
    assert process.ask(bmc, "GET", "/fleet/machine").document["power"] == "On"
    until(lambda: process.ask(bmc, "GET", SYSTEM).document["PowerState"] == "On")


def test_an_idle_connection_is_closed_without_a_word(
    process: FleetProcess, bmc: Bmc, connection: http.client.HTTPConnection
) -> None:
    process.set_faults(bmc, {"fault": "closes-idle"})
    assert "connection" not in ask(connection, "GET", SYSTEM).headers
    with pytest.raises(ConnectionError):
        ask(connection, "GET", SYSTEM)


def test_faults_are_told_replaced_and_ended(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "slow", "seconds": 1, "times": 3})
    script = process.ask(bmc, "GET", "/fleet/faults").document["script"]
    assert script == [{"fault": "slow", "seconds": 1.0, "times": 3}]
    assert process.ask(bmc, "DELETE", "/fleet/faults").status == 204
    assert process.ask(bmc, "GET", "/fleet/faults").document == {"script": []}
    bad = process.ask(bmc, "POST", "/fleet/faults", {"fault": "explode"})
    assert bad.status == 400
    assert "hang" in bad.document["error"]


def test_a_fault_for_an_unknown_address_is_refused(process: FleetProcess, bmc: Bmc) -> None:
    answer = process.ask(bmc, "POST", "/fleet/faults", {"fault": "hang", "address": "127.9.9.9"})
    assert answer.status == 400
