"""Each fault as a client meets it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket

import pytest

from ironic_lite.clock import SystemClock
from ironic_lite.fleet.listeners import EACH_LISTENS_MAX
from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, ask, fleet
from tests.waiting import until

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


def test_a_hung_bmc_takes_the_request_and_never_answers(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "hang", "times": 1})
    hung = http.client.HTTPConnection(bmc.address, bmc.port, timeout=0.5)
    with pytest.raises(TimeoutError):
        ask(hung, "POST", RESET, {"ResetType": "On"})
    hung.close()
    until(lambda: process.counts(bmc) == {"POST reset": 1})
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


def connects(bmc: Bmc, timeout_s: float) -> bool:
    try:
        socket.create_connection((bmc.address, bmc.port), timeout=timeout_s).close()
    except TimeoutError:
        return False
    return True


def test_a_deaf_bmc_answers_no_connection_until_it_is_told_otherwise(process: FleetProcess, bmc: Bmc) -> None:
    kept = http.client.HTTPConnection(bmc.address, bmc.port, timeout=10)
    ask(kept, "GET", SYSTEM)
    kept.sock.settimeout(0.5)
    process.order(bmcs=bmc.address, faults=[{"fault": "blackhole"}])
    with pytest.raises(TimeoutError):
        ask(kept, "GET", SYSTEM)
    kept.close()
    assert not connects(bmc, 0.5)
    process.order(bmcs=bmc.address, faults=[])
    assert process.ask(bmc, "GET", SYSTEM).status == 200


def test_a_deaf_bmc_can_begin_to_refuse_and_come_back(process: FleetProcess, bmc: Bmc) -> None:
    process.order(bmcs=bmc.address, faults=[{"fault": "blackhole"}])
    process.order(bmcs=bmc.address, faults=[{"fault": "refuse"}])
    with pytest.raises(ConnectionRefusedError):
        process.ask(bmc, "GET", SYSTEM)
    process.order(bmcs=bmc.address, faults=[])
    assert process.ask(bmc, "GET", SYSTEM).status == 200


def test_what_a_client_gave_up_at_a_deaf_bmc_in_a_large_fleet_is_read_when_it_hears_again() -> None:
    with fleet(EACH_LISTENS_MAX + 2, own_listeners=1) as process:
        own, shared = process.bmcs[0], process.bmcs[-1]
        assert process.order(faults=[{"fault": "blackhole"}], bmcs=[own.address, shared.address]) == 2
        assert not connects(own, 0.5)
        impatient = http.client.HTTPConnection(shared.address, shared.port, timeout=0.5)
        with contextlib.closing(impatient), pytest.raises(TimeoutError):
            ask(impatient, "GET", SYSTEM)
        told = process.rule("GET", "/report")
        assert told["listeners"]["own"] == 1
        assert "never read" in told["listeners"]["shared: refuse, blackhole"]
        assert told["faulty"] == {"blackhole": 2}
        process.order(faults=[])
        assert [process.ask(bmc, "GET", SYSTEM).status for bmc in (own, shared)] == [200, 200]


def test_a_crashed_bmc_is_gone_for_its_time_and_has_forgotten_its_sessions(process: FleetProcess, bmc: Bmc) -> None:
    login = {"UserName": USERNAME, "Password": PASSWORD}
    token = process.ask(bmc, "POST", "/redfish/v1/SessionService/Sessions", login).headers["x-auth-token"]
    process.order(bmcs=bmc.address, faults=[{"fault": "crash", "per_second": 2, "seconds": 0.5, "times": 1}])

    def crashes() -> bool:
        try:
            with contextlib.closing(http.client.HTTPConnection(bmc.address, bmc.port, timeout=10)) as opened:
                for _ in range(3):
                    ask(opened, "GET", SYSTEM)
        except ConnectionError:
            return True
        return False

    until(crashes)  # at once, unless the second turned meanwhile

    def is_back() -> bool:
        try:
            return process.ask(bmc, "GET", SYSTEM, authorization="", x_auth_token=token).status == 401
        except ConnectionError:
            return False

    until(is_back)


@pytest.mark.parametrize(("fault", "status"), [("500", 500), ("401", 401)])
def test_a_status_instead_of_an_answer(process: FleetProcess, bmc: Bmc, fault: str, status: int) -> None:
    process.set_faults(bmc, {"fault": fault, "times": 1})
    assert process.ask(bmc, "POST", RESET, {"ResetType": "On"}).status == status
    assert process.ledger(bmc) == []
    assert process.ask(bmc, "POST", RESET, {"ResetType": "On"}).status == 204
    assert process.ledger(bmc) == [("redfish", "On")]


def test_a_truncated_answer_ends_before_its_length(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "truncated", "times": 1})
    with pytest.raises(http.client.IncompleteRead):
        process.ask(bmc, "GET", SYSTEM)


def test_a_dripping_answer_comes_byte_by_byte_and_whole(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "drip", "seconds": 0.0001, "times": 1})
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as sock:
        sock.sendall(b"GET /redfish HTTP/1.1\r\n\r\n")
        received = [sock.recv(1024)]
        while not received[-1].endswith(b"}"):
            received.append(sock.recv(1024))
    assert len(received) > 3
    assert json.loads(b"".join(received).partition(b"\r\n\r\n")[2]) == {"v1": "/redfish/v1/"}


def test_a_slow_bmc_answers_later(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "slow", "seconds": 0.4, "times": 1})
    clock = SystemClock()
    start_s = clock.monotonic()
    assert process.ask(bmc, "GET", SYSTEM).status == 200
    assert clock.monotonic() - start_s >= 0.4


def test_a_slow_bmc_carries_out_what_its_client_no_longer_waits_for(process: FleetProcess, bmc: Bmc) -> None:
    process.set_faults(bmc, {"fault": "slow", "seconds": 2, "times": 1})
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
