"""The BMC over the wire, through the standard library's client: what DSP0266 asks of status codes and headers."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator

import pytest

from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, ask, fleet
from tests.waiting import until

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
SESSIONS = "/redfish/v1/SessionService/Sessions"
LOGIN = {"UserName": USERNAME, "Password": PASSWORD}


def test_each_bmc_has_its_own_address_and_serial_on_one_port(process: FleetProcess) -> None:
    first, second = process.bmcs
    assert (first.address, second.address, first.port) == ("127.77.0.1", "127.77.0.2", second.port)
    serials = [process.ask(bmc, "GET", SYSTEM).document["SerialNumber"] for bmc in process.bmcs]
    assert serials == [first.serial, second.serial]
    assert first.serial != second.serial


@pytest.mark.parametrize("path", ["/redfish", "/redfish/v1", "/redfish/v1/", "/redfish/v1/?only"])
def test_the_root_needs_no_login(steady: FleetProcess, path: str) -> None:
    assert steady.ask(steady.bmcs[0], "GET", path, authorization="").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Basic YWRtaW46d3Jvbmc="},
        {"authorization": "Basic !"},
        {"authorization": "Bearer x"},
        {"authorization": "", "x_auth_token": "stale"},
    ],
)
def test_wrong_credentials_are_401(steady: FleetProcess, headers: dict[str, str]) -> None:
    for path in (SYSTEM, "/fleet/counts"):
        answer = steady.ask(steady.bmcs[0], "GET", path, **headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert answer.document["error"]["code"] == "Base.1.8.NoValidSession"


def test_every_link_of_the_tree_can_be_read(process: FleetProcess, bmc: Bmc) -> None:
    found, seen = ["/redfish/v1/"], set()

    def links(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (link for link in [value.get("@odata.id")] if isinstance(link, str) and "#" not in link)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from links(part)

    while found:
        path = found.pop()
        if path not in seen:
            seen.add(path)
            document = process.ask(bmc, "GET", path).document
            assert document["@odata.id"] == path
            found += links(document)
    assert {SYSTEM, f"{SYSTEM}/SecureBoot", "/redfish/v1/Chassis/1/Thermal", "/redfish/v1/Managers/BMC"} <= seen


def test_what_is_not_there_is_404_and_what_is_not_done_405(process: FleetProcess, bmc: Bmc) -> None:
    missing = process.ask(bmc, "GET", "/redfish/v1/Systems/2")
    assert (missing.status, missing.document["error"]["code"]) == (404, "Base.1.8.ResourceMissingAtURI")
    wrong = process.ask(bmc, "DELETE", SYSTEM)
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, PATCH, HEAD")


def test_a_bad_reset_type_is_400_with_an_extended_error(process: FleetProcess, bmc: Bmc) -> None:
    answer = process.ask(bmc, "POST", RESET, {"ResetType": "Explode"})
    assert answer.status == 400
    [message] = answer.document["error"]["@Message.ExtendedInfo"]
    assert message["MessageId"] == "Base.1.8.PropertyValueNotInList"
    assert message["MessageArgs"] == ["'Explode'", "ResetType"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", {"Colour": "red"}, {"ResetType": 1}])
def test_a_body_that_makes_no_sense_is_400(process: FleetProcess, bmc: Bmc, body: object) -> None:
    assert process.ask(bmc, "POST", RESET, body).status == 400


def test_power_goes_on_and_off_and_a_restart_needs_power(process: FleetProcess, bmc: Bmc) -> None:
    assert process.ask(bmc, "POST", RESET, {"ResetType": "ForceRestart"}).status == 409
    for kind, power in [("On", "On"), ("ForceRestart", "On"), ("GracefulShutdown", "Off")]:
        answer = process.ask(bmc, "POST", RESET, {"ResetType": kind})
        assert (answer.status, answer.body) == (204, b"")
        assert process.ask(bmc, "GET", SYSTEM).document["PowerState"] == power
    assert process.ask(bmc, "GET", "/fleet/machine").document["boots"] == 2


def test_power_passes_through_the_states_between() -> None:
    with fleet(power_delay=0.3) as process:
        [bmc] = process.bmcs
        process.ask(bmc, "POST", RESET, {"ResetType": "On"})
        assert process.ask(bmc, "GET", SYSTEM).document["PowerState"] == "PoweringOn"
        until(lambda: process.ask(bmc, "GET", SYSTEM).document["PowerState"] == "On")


def test_the_etag_changes_with_the_system_and_guards_a_patch(process: FleetProcess, bmc: Bmc) -> None:
    etag = process.ask(bmc, "GET", SYSTEM).headers["etag"]
    same = process.ask(bmc, "GET", SYSTEM, if_none_match=etag)
    assert (same.status, same.body) == (304, b"")
    boot = {"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}}
    assert process.ask(bmc, "PATCH", SYSTEM, boot, if_match='"other"').status == 412
    assert process.ask(bmc, "PATCH", SYSTEM, boot, if_match=etag).status == 204
    changed = process.ask(bmc, "GET", SYSTEM, if_none_match=etag)
    assert changed.status == 200
    assert changed.document["Boot"]["BootSourceOverrideTarget"] == "Pxe"


@pytest.mark.parametrize(
    "boot",
    [
        {"BootSourceOverrideTarget": "Moon"},
        {"BootSourceOverrideEnabled": True},
        {"HttpBootUri": 1},
        {"Speed": 1},
        "Pxe",
    ],
)
def test_a_bad_boot_override_is_400_and_changes_nothing(process: FleetProcess, bmc: Bmc, boot: object) -> None:
    before = process.ask(bmc, "GET", SYSTEM).document["Boot"]
    assert process.ask(bmc, "PATCH", SYSTEM, {"Boot": boot}).status == 400
    assert process.ask(bmc, "GET", SYSTEM).document["Boot"] == before


def test_a_session_is_created_used_and_deleted(process: FleetProcess, bmc: Bmc) -> None:
    created = process.ask(bmc, "POST", SESSIONS, LOGIN, authorization="")
    assert created.status == 201
    token, path = created.headers["x-auth-token"], created.headers["location"]
    assert token.encode() not in created.body
    assert process.ask(bmc, "GET", SYSTEM, authorization="", x_auth_token=token).status == 200
    assert process.ask(bmc, "GET", path, authorization="", x_auth_token=token).document["UserName"] == USERNAME
    assert process.ask(bmc, "DELETE", path, authorization="", x_auth_token=token).status == 204
    assert process.ask(bmc, "GET", SYSTEM, authorization="", x_auth_token=token).status == 401
    assert process.ask(bmc, "DELETE", path).status == 404


def test_a_wrong_password_gets_no_session_and_slots_are_limited(process: FleetProcess, bmc: Bmc) -> None:
    assert process.ask(bmc, "POST", SESSIONS, LOGIN | {"Password": "wrong"}, authorization="").status == 401
    statuses = [process.ask(bmc, "POST", SESSIONS, LOGIN, authorization="").status for _ in range(9)]
    assert statuses == [201] * 8 + [503]
    assert process.ask(bmc, "GET", SESSIONS).document["Members@odata.count"] == 8


def test_a_connection_is_kept_and_closed_as_the_client_asks(connection: http.client.HTTPConnection) -> None:
    ask(connection, "GET", SYSTEM)
    first = connection.sock
    ask(connection, "GET", SYSTEM)
    assert connection.sock is first
    answer = ask(connection, "GET", SYSTEM, connection="close")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert connection.sock is None


def test_head_tells_the_length_and_sends_no_body(connection: http.client.HTTPConnection) -> None:
    whole = ask(connection, "GET", SYSTEM)
    head = ask(connection, "HEAD", SYSTEM)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body)) == whole.headers["content-length"]
    assert head.headers["etag"] == whole.headers["etag"]
    assert ask(connection, "GET", SYSTEM).body == whole.body


def test_requests_in_one_segment_are_answered_in_order(bmc: Bmc) -> None:
    get = b"GET %s HTTP/1.1\r\nHost: bmc\r\n\r\n"
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as sock:
        sock.sendall(get % b"/redfish" + get % b"/nowhere" + b"GET /redfish HTTP/1.0\r\n\r\n")
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"401", b"200"]


def test_a_thousand_requests_in_one_segment_are_answered(bmc: Bmc) -> None:
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as sock:
        sock.sendall(b"GET /redfish HTTP/1.1\r\n\r\n" * 2999 + b"GET /redfish HTTP/1.0\r\n\r\n")
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 3000


def test_a_request_in_many_segments_is_understood(bmc: Bmc) -> None:
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /redfish HTTP/1.0\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"HELLO\r\n\r\n", b"400"),
        (b"GET / HTTP/3\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost : bmc\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 17000, b"431"),
    ],
)
def test_a_broken_request_is_told_so_and_ends_the_connection(steady: FleetProcess, sent: bytes, status: bytes) -> None:
    [bmc] = steady.bmcs
    with socket.create_connection((bmc.address, bmc.port), timeout=10) as sock:
        sock.sendall(sent)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.split()[1] == status


def test_counts_tell_method_and_kind_of_path(process: FleetProcess, bmc: Bmc) -> None:
    process.ask(bmc, "GET", SYSTEM)
    process.ask(bmc, "GET", SYSTEM, authorization="")
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    process.ask(bmc, "BREW", "/nowhere")
    assert process.counts(bmc) == {"GET system": 2, "POST reset": 1, "other unknown": 1}
    assert process.counts(process.bmcs[1]) == {}
    process.clear_counts(bmc)
    assert process.counts(bmc) == {}


def test_health_is_what_the_test_says(process: FleetProcess, bmc: Bmc) -> None:
    assert process.ask(bmc, "PATCH", "/fleet/machine", {"health": "Critical"}).status == 204
    assert process.ask(bmc, "GET", SYSTEM).document["Status"]["Health"] == "Critical"
    assert process.ask(bmc, "PATCH", "/fleet/machine", {"health": "Fine"}).status == 400
