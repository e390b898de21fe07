"""Each vendor's peculiarity as a client meets it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator

import pytest

from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, ask, fleet
from tests.waiting import until

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
SENSORS = "/redfish/v1/Chassis/1/Sensors"
SESSIONS = "/redfish/v1/SessionService/Sessions"
PXE = {"BootSourceOverrideTarget": "Pxe"}
ONCE = {"BootSourceOverrideEnabled": "Once"}


@pytest.fixture
def process() -> Iterator[FleetProcess]:
    with fleet(power_delay=0.5) as running:
        yield running


def power(process: FleetProcess, bmc: Bmc) -> object:
    return process.ask(bmc, "GET", SYSTEM).document["PowerState"]


def test_a_reset_to_the_state_that_is_there_is_a_conflict_for_some(process: FleetProcess, bmc: Bmc) -> None:
    off = {"ResetType": "ForceOff"}
    assert process.ask(bmc, "POST", RESET, off).status == 204
    process.set_quirks(bmc, "already-there")
    assert process.ask(bmc, "POST", RESET, off).status == 409
    assert process.ask(bmc, "POST", RESET, {"ResetType": "On"}).status == 204


def test_some_allow_no_boot_override_while_the_machine_starts(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "post-lock")
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    answer = process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE})
    assert answer.status == 400
    assert "UnableToModifyDuringSystemPOST" in answer.document["error"]["code"]
    until(lambda: power(process, bmc) == "On")
    assert process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE}).status == 204


def test_some_always_want_to_be_told_for_how_long(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "needs-enabled")
    assert process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE}).status == 400
    assert process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE}).status == 204


def test_some_set_the_boot_mode_back_with_the_device(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "mode-follows")
    process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE})
    assert process.ask(bmc, "GET", SYSTEM).document["Boot"]["BootSourceOverrideMode"] == "Legacy"
    process.ask(bmc, "PATCH", SYSTEM, {"Boot": PXE | ONCE | {"BootSourceOverrideMode": "UEFI"}})
    assert process.ask(bmc, "GET", SYSTEM).document["Boot"]["BootSourceOverrideMode"] == "UEFI"


@pytest.mark.parametrize("quirk", ["closes", "chunked"])
def test_some_frame_their_answers_in_another_way(process: FleetProcess, bmc: Bmc, quirk: str) -> None:
    process.set_quirks(bmc, quirk)
    kept = http.client.HTTPConnection(bmc.address, bmc.port, timeout=10)
    answers = [ask(kept, "GET", SYSTEM) for _ in range(2)]
    kept.close()
    assert [answer.document["SerialNumber"] for answer in answers] == [bmc.serial] * 2
    headers = answers[0].headers
    assert (headers.get("connection"), headers.get("transfer-encoding")) == (
        ("close", None) if quirk == "closes" else (None, "chunked")
    )
    connections = process.rule("GET", f"/counts?address={bmc.address}")["connections"]
    assert connections == (3 if quirk == "closes" else 2)  # one of them for the quirk


def test_sensors_are_told_at_once_but_by_those_that_cannot_expand(process: FleetProcess, bmc: Bmc) -> None:
    links = process.ask(bmc, "GET", SENSORS).document["Members"]
    whole = process.ask(bmc, "GET", f"{SENSORS}?$expand=.").document["Members"]
    assert [one["@odata.id"] for one in links] == [one["@odata.id"] for one in whole]
    assert {one["ReadingType"] for one in whole} == {"Temperature", "Rotational", "Power", "Voltage"}
    assert process.ask(bmc, "GET", links[0]["@odata.id"]).document["Reading"] == pytest.approx(whole[0]["Reading"], 0.1)
    process.set_quirks(bmc, "no-expand")
    assert process.ask(bmc, "GET", f"{SENSORS}?$expand=.").status == 400


def test_sensors_may_take_longer_than_the_rest(process: FleetProcess, bmc: Bmc) -> None:
    process.order(bmcs=bmc.address, sensor_latency="60")
    impatient = http.client.HTTPConnection(bmc.address, bmc.port, timeout=0.3)
    with contextlib.closing(impatient), pytest.raises(TimeoutError):
        ask(impatient, "GET", "/redfish/v1/Chassis/1/Thermal")
    assert process.ask(bmc, "GET", SYSTEM).status == 200


def test_some_send_who_forgets_the_slash_elsewhere(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "redirects")
    answer = process.ask(bmc, "GET", "/redfish/v1")
    assert (answer.status, answer.headers["location"]) == (308, "/redfish/v1/")
    assert process.ask(bmc, "GET", "/redfish/v1/").status == 200


def test_some_take_sessions_alone_and_some_take_none(process: FleetProcess, bmc: Bmc) -> None:
    login = {"UserName": USERNAME, "Password": PASSWORD}
    process.order(bmcs=bmc.address, quirks=["no-sessions"])
    assert process.ask(bmc, "POST", SESSIONS, login).status == 404
    assert process.ask(bmc, "GET", SYSTEM).status == 200
    process.order(bmcs=bmc.address, quirks=["no-basic"])
    token = process.ask(bmc, "POST", SESSIONS, login).headers["x-auth-token"]
    assert process.ask(bmc, "GET", SYSTEM).status == 401
    assert process.ask(bmc, "GET", SYSTEM, authorization="", x_auth_token=token).status == 200


def test_some_have_an_etag_that_ignores_the_power(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "stale-etag")
    before = process.ask(bmc, "GET", SYSTEM).headers["etag"]
    process.ask(bmc, "POST", RESET, {"ResetType": "On"})
    until(lambda: power(process, bmc) == "On")
    assert process.ask(bmc, "GET", SYSTEM, if_none_match=before).status == 304
    process.set_quirks(bmc)
    assert process.ask(bmc, "GET", SYSTEM, if_none_match=before).status == 200


def test_some_do_nothing_else_for_a_while_after_a_reset(process: FleetProcess, bmc: Bmc) -> None:
    process.set_quirks(bmc, "busy-after-reset")
    assert process.ask(bmc, "POST", RESET, {"ResetType": "On"}).status == 204
    answer = process.ask(bmc, "POST", RESET, {"ResetType": "ForceOff"})
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert process.ask(bmc, "GET", SYSTEM).status == 200
    assert process.ledger(bmc) == [("redfish", "On")]


def test_an_unknown_quirk_is_refused_and_the_known_ones_are_named(process: FleetProcess, bmc: Bmc) -> None:
    answer = process.ask(bmc, "PUT", "/fleet/quirks", {"quirks": ["moody"]})
    assert answer.status == 400
    assert "post-lock" in answer.document["error"]
