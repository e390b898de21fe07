"""The control address, and the counters by which a client is judged."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ironic_lite.fleet.server import Bmc
from tests.parts import rmcp
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, ask, fleet
from tests.waiting import until

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
GET = b"GET /redfish HTTP/1.1\r\n\r\n"


@pytest.fixture
def process() -> Iterator[FleetProcess]:
    with fleet(2, ipmi_size=2) as running:
        yield running


def counts(process: FleetProcess, bmc: Bmc) -> dict[str, int]:
    told: dict[str, int] = process.rule("GET", f"/counts?address={bmc.address}")
    return told


def test_what_goes_on_at_the_same_time_is_counted(process: FleetProcess, bmc: Bmc) -> None:
    process.order(bmcs=bmc.address, latency="0.5")
    with (
        socket.create_connection((bmc.address, bmc.port), timeout=10) as first,
        socket.create_connection((bmc.address, bmc.port), timeout=10) as second,
    ):
        for sock in (first, second):
            sock.sendall(GET)
        first.recv(65536)
        second.recv(65536)
        told = counts(process, bmc)
        assert (told["connected"], told["connected_max"], told["in_flight"], told["in_flight_max"]) == (2, 2, 0, 2)
    until(lambda: counts(process, bmc)["connected"] == 0)
    process.rule("DELETE", f"/counts?address={bmc.address}")
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as alone:
        for _ in range(2):
            alone.sendall(GET)
            alone.recv(65536)
        told = counts(process, bmc)
        assert (told["connected_max"], told["in_flight_max"], told["pipelined"]) == (1, 1, 0)


def test_ipmi_requests_under_way_are_counted_too(process: FleetProcess) -> None:
    ipmi = process.bmcs[3]
    process.order(bmcs=ipmi.address, latency="1")
    greeting = rmcp.visit(USERNAME, PASSWORD)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hasty:
        hasty.settimeout(10)
        first = next(greeting)
        for _ in range(2):
            hasty.sendto(first, (ipmi.address, ipmi.port))
        hasty.recv(2048)
        hasty.recv(2048)
    told = counts(process, ipmi)
    assert (told["in_flight"], told["in_flight_max"], told["total"]) == (0, 2, 2)


def test_datagrams_get_lost_as_told() -> None:
    with fleet(0, ipmi_size=1, loss=1) as process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        [bmc] = process.bmcs
        for _ in range(3):
            sender.sendto(next(rmcp.visit(USERNAME, PASSWORD)), (bmc.address, bmc.port))
        until(lambda: process.rule("GET", "/report")["datagrams"] == {"received": 3, "lost": 3})
        assert counts(process, bmc)["total"] == 0


def test_a_request_that_does_not_wait_for_the_answer_before_it_is_counted(process: FleetProcess, bmc: Bmc) -> None:
    process.order(bmcs=bmc.address, faults=[{"fault": "hang"}])
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as hasty:
        hasty.sendall(GET)
        until(lambda: counts(process, bmc)["in_flight"] == 1)
        hasty.sendall(GET)
        until(lambda: counts(process, bmc)["pipelined"] == 1)
    until(lambda: counts(process, bmc)["connected"] == 0)
    assert counts(process, bmc)["in_flight"] == 0


def test_the_ledger_tells_who_changed_the_power_and_what_it_was(process: FleetProcess, bmc: Bmc) -> None:
    assert process.ask(bmc, "POST", RESET, {"ResetType": "On"}).status == 204
    assert process.order(bmcs=bmc.address, reset="PushPowerButton") == 1
    process.rule("POST", "/reset", {"address": process.bmcs[3].address, "reset": "On"})
    assert process.ledger(bmc) == [("redfish", "On"), ("front-panel", "PushPowerButton")]
    told = process.rule("GET", "/actions")
    assert told["total"] == 3
    assert [one["address"] for one in told["actions"]] == [bmc.address, bmc.address, process.bmcs[3].address]
    assert [one["before"] for one in told["actions"]] == ["Off", "On", "Off"]
    on = [address for address, power in process.rule("GET", "/power")["power"].items() if power == "On"]
    assert on == [process.bmcs[3].address]


def test_a_refused_reset_is_not_in_the_ledger(process: FleetProcess, bmc: Bmc) -> None:
    assert process.ask(bmc, "POST", RESET, {"ResetType": "PowerCycle"}).status == 409
    assert process.ledger(bmc) == []


def test_the_report_sums_up(process: FleetProcess, bmc: Bmc) -> None:
    for one in process.bmcs[:2]:
        process.ask(one, "GET", SYSTEM)
    process.order(bmcs={"kind": "ipmi"}, faults=[{"fault": "hang"}])
    told = process.rule("GET", "/report")
    assert told["bmcs"] == {"redfish": 2, "ipmi": 2}
    assert told["counts"]["requests"] == {"GET system": 2}
    assert (told["counts"]["connections"], told["counts"]["connected_max"]) == (2, 1)
    assert told["faulty"] == {"hang": 2}
    assert told["process"]["rss_kib"] > 1000


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/fleet/faults", None, 400),
        ("GET", "/fleet/counts?address=127.9.9.9", None, 400),
        ("POST", "/fleet/orders", {"at": 5, "reset": "On"}, 400),
        ("POST", "/fleet/orders", {"reset": "On", "bmcs": "127.9.9.9"}, 400),
        ("POST", "/fleet/orders", b"[", 400),
        ("PUT", "/fleet/latency", {"address": "127.77.0.1", "latency": "soon"}, 400),
        ("GET", "/fleet/nowhere", None, 404),
        ("GET", "/redfish/v1", None, 404),
    ],
)
def test_what_makes_no_sense_is_told_so(
    steady: FleetProcess, method: str, path: str, body: object, status: int
) -> None:
    place = urlsplit(steady.control)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
    answer = ask(connection, method, path, body)
    assert answer.status == status
    assert answer.document["error"].endswith(".")
    assert ask(connection, method, path, body, authorization="").status in {401, 404}
    connection.close()


def test_a_script_gives_its_orders_by_itself(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    orders = '{"orders": [{"at": 0.1, "reset": "On"}, {"bmcs": {"first": 1}, "faults": [{"fault": "503"}]}]}'
    script.write_text(orders)
    with fleet(2, script=script) as running:
        until(lambda: set(running.rule("GET", "/power")["power"].values()) == {"On"})
        assert [running.ask(bmc, "GET", SYSTEM).status for bmc in running.bmcs] == [503, 200]
