"""Redfish as polls see it: the same as through sushy, over the same connection, whatever the BMC does.

`look` reads a machine's power in one of the two ways; what both must do alike is said once.
"""

from __future__ import annotations

import codecs
import concurrent.futures
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootMode, Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import Reading
from ironic_lite.drivers.settling import finish
from tests.drivers.conftest import UUID, attempt, begun, deadline, polled
from tests.parts.fleet import PASSWORD as FLEET_PASSWORD
from tests.parts.fleet import USERNAME as FLEET_USERNAME
from tests.parts.fleet import FleetProcess, fleet
from tests.parts.scripted_bmc import RESET, SESSIONS, SYSTEM, ScriptedBmc, scripted_bmc
from tests.parts.sushy_emulator import Emulator
from tests.waiting import until

Info = dict[str, object]
Look = Callable[..., Reading]

OFF = json.dumps({"Id": "1", "PowerState": "Off"}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(OFF)


@pytest.fixture
def bmc() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as running:
        yield running


@pytest.fixture(scope="module")
def simulated() -> Iterator[FleetProcess]:
    with fleet(1) as running:
        yield running


def node(driver_info: Info) -> Node:
    return Node(uuid=UUID, driver="redfish", driver_info=driver_info)


def blocking(driver_info: Info, timeout_s: float = 20.0) -> Reading:
    return registry.power(node(driver_info)).read(node(driver_info), deadline(timeout_s))


@pytest.fixture(params=[blocking, polled])
def look(request: pytest.FixtureRequest) -> Look:
    chosen: Look = request.param
    return chosen


def change(driver_info: Info, target: PowerTarget, **more: Any) -> None:
    working = attempt(**more)
    finish(registry.power(node(driver_info)).change(node(driver_info), target, working), working)


# What documents mean.

SAID: dict[str, tuple[dict[str, Any], Reading]] = {
    "nothing": ({}, Reading(power=None)),
    "null": ({"PowerState": None, "Boot": None, "Status": None, "Manufacturer": None}, Reading(power=None)),
    "on": ({"PowerState": "On"}, Reading(power=Power.ON)),
    "on its way": ({"PowerState": "PoweringOff"}, Reading(power=Power.OFF)),
    "paused": ({"PowerState": "Paused"}, Reading(power=None)),
    "another case": ({"PowerState": "on"}, Reading(power=None)),
    "number": ({"PowerState": 1}, Reading(power=None)),
    "object": ({"PowerState": {"Value": "On"}}, Reading(power=None)),
    "list": ({"PowerState": ["On"]}, Reading(power=None)),
    "uefi": ({"Boot": {"BootSourceOverrideMode": "UEFI"}}, Reading(power=None, boot_mode=BootMode.UEFI)),
    "legacy": ({"Boot": {"BootSourceOverrideMode": "Legacy"}}, Reading(power=None, boot_mode=BootMode.BIOS)),
    "boot without mode": ({"Boot": {}}, Reading(power=None)),
    "odd mode": ({"Boot": {"BootSourceOverrideMode": "legacy"}}, Reading(power=None)),
    "health": ({"Status": {"Health": "Critical", "State": "Enabled"}}, Reading(power=None, health="Critical")),
    "odd health": ({"Status": {"Health": "Bad"}}, Reading(power=None)),
    "no health": ({"Status": {"State": "Enabled"}}, Reading(power=None)),
    "vendor": ({"Manufacturer": "Contoso"}, Reading(power=None, vendor="Contoso")),
}


@pytest.mark.parametrize("name", list(SAID))
def test_a_document_means_the_same_to_both(bmc: ScriptedBmc, look: Look, name: str) -> None:
    said, reading = SAID[name]
    bmc.script.answers[SYSTEM] = (200, json.dumps({"Id": "1", **said}).encode())
    assert look(bmc.driver_info(redfish_auth_type="basic")) == reading


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b'"x"', b"7", b"null", b"{}", b"\xff\xfe", b'{"Id": 1, "Boot": 7}',
        b'{"Id": "1", "Status": "OK"}', b'{"Id": "1", "PowerState": "On"', b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)  # fmt: skip
def test_what_is_no_system_is_an_error_of_the_bmc_to_both(bmc: ScriptedBmc, look: Look, body: bytes) -> None:
    bmc.script.answers[SYSTEM] = (200, body)
    with pytest.raises(errors.BMCError, match=r"is not what Redfish defines|missing|JSON"):
        look(bmc.driver_info(redfish_auth_type="basic"))


def test_a_byte_order_mark_is_forgiven(bmc: ScriptedBmc, look: Look) -> None:
    bmc.script.answers[SYSTEM] = (200, codecs.BOM_UTF8 + OFF)
    assert look(bmc.driver_info()).power == Power.OFF


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ((200, b'{"Id": "S", "Boot": {"BootSourceOverrideMode": "UEFI"}}'), BootMode.UEFI),
        ((200, b'{"Id": "S"}'), None),
        ((200, b"<html>"), None),
        ((404, b"{}"), None),
    ],
)
def test_a_boot_mode_that_is_kept_in_the_settings_is_found(
    bmc: ScriptedBmc, look: Look, settings: tuple[int, bytes], mode: BootMode | None
) -> None:
    link = {"@odata.id": f"{SYSTEM}/Settings"}
    bmc.script.system = {"Boot": {}, "@Redfish.Settings": {"@odata.type": "x", "SettingsObject": link}}
    bmc.script.answers[f"{SYSTEM}/Settings"] = settings
    assert look(bmc.driver_info()) == Reading(power=Power.ON, boot_mode=mode, health="Warning")


def test_the_only_system_need_not_be_named(bmc: ScriptedBmc, look: Look) -> None:
    members = b'{"Name": "Systems", "Members": [{"@odata.id": "%s"}%s]}'
    bmc.script.answers["/redfish/v1/Systems"] = (200, members % (SYSTEM.encode(), b', {"@odata.id": "/x"}'))
    bmc.script.answers["/x"] = (200, OFF)
    with pytest.raises(errors.BMCError, match="System"):
        look(bmc.driver_info(redfish_system_id=None))
    bmc.script.answers["/redfish/v1/Systems"] = (200, members % (SYSTEM.encode(), b""))
    assert look(bmc.driver_info(redfish_system_id=None)).power == Power.ON
    bmc.script.requests.clear()
    assert look(bmc.driver_info(redfish_system_id=None)).power == Power.ON
    assert bmc.script.requests == [f"GET {SYSTEM}"]


# How answers come.

# Name -> bytes, and whether the connection may be used again.
MANNERS = {
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in OFF)
        + b"0\r\nX-Trailer: 1\r\n\r\n",
        True,
    ),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + OFF, True),
    "bare newlines": (b"HTTP/1.0 200\n" + LENGTH.replace(b"\r", b"") + b"\n" + OFF, False),
    "more than was asked for": (b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + OFF + b"HTTP/1.1 500 Late\r\n\r\n", False),
    "says that it closes": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + LENGTH + b"\r\n" + OFF, False),
}


@pytest.mark.parametrize("manner", list(MANNERS))
def test_an_answer_may_come_in_any_manner(bmc: ScriptedBmc, look: Look, manner: str) -> None:
    bmc.script.raw[SYSTEM], kept = MANNERS[manner]
    for _ in range(3):
        assert look(bmc.driver_info()).power == Power.OFF
    assert bmc.script.connections == (1 if kept else 3)


def test_an_answer_may_end_with_its_connection(bmc: ScriptedBmc, look: Look) -> None:
    bmc.script.raw[SYSTEM], bmc.script.closes = b"HTTP/1.1 200 OK\r\n\r\n" + OFF, True
    for _ in range(3):
        assert look(bmc.driver_info()).power == Power.OFF


def test_a_connection_may_be_closed_whenever_it_is_idle(bmc: ScriptedBmc, look: Look) -> None:
    bmc.script.idle_s = 0.001
    for _ in range(20):
        assert look(bmc.driver_info()).power == Power.ON


@pytest.mark.parametrize("to", ["/redfish/v1/Systems/Self", "Self", "http://127.0.0.1:{port}/redfish/v1/Systems/Self"])
def test_a_redirect_within_the_bmc_is_followed(bmc: ScriptedBmc, look: Look, to: str) -> None:
    location = to.format(port=bmc.server_address[1]).encode()
    bmc.script.raw[SYSTEM] = b"HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location
    bmc.script.answers["/redfish/v1/Systems/Self"] = (200, OFF)
    assert look(bmc.driver_info()).power == Power.OFF


@pytest.mark.parametrize(
    ("location", "why"),
    [
        (b"http://127.0.0.2/x", "to another host, http://127.0.0.2:80"),
        (b"http://127.0.0.1:1/x", "to another host, http://127.0.0.1:1"),
        (b"https://127.0.0.1/x", "to another host, https://127.0.0.1:443"),
        (b"//127.0.0.2/x", "to another host, http://127.0.0.2:80"),
        (b"http://[/x", "is no address"),
        (SYSTEM.encode(), "more than 3 times"),
    ],
)
def test_a_redirect_leads_nowhere_else(bmc: ScriptedBmc, look: Look, location: bytes, why: str) -> None:
    bmc.script.raw[SYSTEM] = b"HTTP/1.1 301 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location
    with pytest.raises(errors.BMCError, match=why):
        look(bmc.driver_info())


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x28" * 99 + b"\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000 + b"\r\n\r\n", "head of its answer is over the limit of 32 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", "over the limit of 8192 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", "in the middle of its answer"),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_bmc(bmc: ScriptedBmc, look: Look, raw: bytes, why: str) -> None:
    bmc.script.raw[SYSTEM], bmc.script.closes = raw, True
    with pytest.raises(errors.BMCError, match=why):
        look(bmc.driver_info())


@pytest.mark.parametrize(
    ("status", "why"), [(404, "HTTP status 404"), (500, "HTTP status 500, Not now"), (503, "HTTP status 503, Not now")]
)
def test_an_error_is_told_in_the_bmcs_words(bmc: ScriptedBmc, look: Look, status: int, why: str) -> None:
    bmc.script.answers[SYSTEM] = (status, b'{"error": {"@Message.ExtendedInfo": [{"Message": "Not now."}]}}')
    with pytest.raises(errors.BMCError, match=why):
        look(bmc.driver_info())
    assert bmc.script.sent(f"GET {SYSTEM}") == 1


# Time.


@pytest.mark.parametrize("path", ["/redfish/v1/", SESSIONS, SYSTEM])
@pytest.mark.parametrize("fault", ["hangs", "drips"])
def test_one_deadline_covers_login_and_reading(bmc: ScriptedBmc, look: Look, path: str, fault: str) -> None:
    setattr(bmc.script, fault, {path})
    with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
        look(bmc.driver_info(), timeout_s=0.4)
    setattr(bmc.script, fault, set())
    assert look(bmc.driver_info()).power == Power.ON  # nothing of the late answer is taken for this one


def test_a_bmc_that_is_busy_with_another_request_is_told(bmc: ScriptedBmc) -> None:
    polled(bmc.driver_info())
    bmc.script.held = {SYSTEM}
    bmc.script.requests.clear()
    first = begun(bmc.driver_info())
    until(lambda: bmc.script.requests)
    with pytest.raises(errors.BMCUnreachable, match="still under way"):
        polled(bmc.driver_info(), timeout_s=0.2)
    with pytest.raises(errors.BMCUnreachable, match="still under way"):
        blocking(bmc.driver_info(), timeout_s=0.2)
    bmc.let_go.set()
    assert first.result(30).power == Power.ON
    assert bmc.script.requests == [f"GET {SYSTEM}"]


# One contact.


def test_polls_and_sushy_share_a_connection_a_session_and_their_turns(bmc: ScriptedBmc) -> None:
    info = bmc.driver_info()
    polls = [begun(info) for _ in range(5)]
    sensors = threading.Thread(  # noqa: TID251  # a caller beside this one
        target=registry.management(node(info)).sensors, args=(node(info), deadline())
    )
    sensors.start()
    assert blocking(info).power == Power.ON
    assert {one.result(30).power for one in polls} == {Power.ON}
    sensors.join(30)
    assert (bmc.script.connections, bmc.script.most_under_way) == (1, 1)
    assert len(bmc.script.tokens) == bmc.script.sent(f"POST {SESSIONS}") == 1
    registry.close_all(deadline())
    assert bmc.script.tokens == set()


def test_power_does_not_wait_for_the_end_of_a_collection_of_sensors(bmc: ScriptedBmc, look: Look) -> None:
    info, chassis = bmc.driver_info(), "/redfish/v1/Chassis/1"
    bmc.script.system = {"Links": {"Chassis": [{"@odata.id": chassis}]}}
    bmc.script.answers[chassis] = (200, b'{"Id": "1", "Name": "c", "ChassisType": "Rack"}')
    bmc.script.held = {chassis}
    look(info)
    with concurrent.futures.ThreadPoolExecutor(2) as callers:
        sensors = callers.submit(registry.management(node(info)).sensors, node(info), deadline())
        until(lambda: bmc.script.sent(f"GET {chassis}"))
        bmc.script.requests.clear()
        later = callers.submit(look, info)
        until(lambda: IO._running is not None and IO._running[1].stats().in_flight == 2)
        bmc.let_go.set()
        assert later.result(30).power == Power.ON
        assert sensors.result(30)
    assert bmc.script.requests[0] == f"GET {SYSTEM}"
    assert bmc.script.most_under_way == 1


def test_the_permit_is_asked_when_the_turn_has_come(bmc: ScriptedBmc) -> None:
    info, asked = bmc.driver_info(), threading.Event()
    polled(info)

    def permit() -> None:
        bmc.script.held, bmc.script.requests = {SYSTEM}, []
        waiting.append(begun(info))
        assert bmc.script.requests == []  # the turn is ours: nobody else's request goes ahead of the change
        asked.set()

    waiting: list[concurrent.futures.Future[Reading]] = []
    bmc.let_go.set()
    change(info, PowerTarget.OFF, permit=permit)
    assert asked.is_set()
    assert waiting[0].result(30).power == Power.OFF
    assert bmc.script.requests[0] == f"POST {RESET}"


def test_a_change_goes_over_a_connection_of_its_own_once(bmc: ScriptedBmc) -> None:
    polled(bmc.driver_info())
    before = bmc.script.connections
    change(bmc.driver_info(), PowerTarget.OFF)
    assert bmc.script.sent(f"POST {RESET}") == 1
    assert bmc.script.connections == before + 1


def test_nodes_behind_one_bmc_share_it_and_another_account_ends_the_session_first(bmc: ScriptedBmc) -> None:
    bmc.script.answers["/redfish/v1/Systems/2"] = (200, OFF)
    assert polled(bmc.driver_info()).power == Power.ON
    assert polled(bmc.driver_info(redfish_system_id="/redfish/v1/Systems/2")).power == Power.OFF
    assert (len(bmc.script.tokens), bmc.script.connections) == (1, 1)
    assert polled(bmc.driver_info(redfish_auth_type="basic")).power == Power.ON
    assert bmc.script.tokens == set()


# Logging in.


@pytest.mark.parametrize("auth", ["auto", "basic"])
def test_refused_credentials_are_not_shown_again_unless_for_an_action(bmc: ScriptedBmc, auth: str) -> None:
    wrong = bmc.driver_info(redfish_password="wrong", redfish_auth_type=auth)
    login = f"POST {SESSIONS}" if auth == "auto" else f"GET {SYSTEM}"
    for _ in range(3):
        with pytest.raises(errors.BMCAccessDenied):
            polled(wrong)
    assert bmc.script.sent(login) == 1
    with pytest.raises(errors.BMCAccessDenied):
        change(wrong, PowerTarget.OFF)
    assert bmc.script.sent(login) == 2
    assert polled(bmc.driver_info(redfish_auth_type=auth)).power == Power.ON


def test_refused_credentials_do_not_end_the_session_of_others_again_and_again(bmc: ScriptedBmc) -> None:
    for _ in range(3):
        polled(bmc.driver_info())
        with pytest.raises(errors.BMCAccessDenied):
            polled(bmc.driver_info(redfish_password="wrong"))
    assert bmc.script.sent(f"POST {SESSIONS}") == 3  # ours, the wrong one, and ours again


def test_a_session_that_keeps_ending_is_renewed_once_in_a_while(bmc: ScriptedBmc) -> None:
    polled(bmc.driver_info())
    bmc.script.tokens.clear()
    assert polled(bmc.driver_info()).power == Power.ON
    bmc.script.tokens.clear()
    for _ in range(3):
        with pytest.raises(errors.BMCAccessDenied):
            polled(bmc.driver_info())
    assert bmc.script.sent(f"POST {SESSIONS}") == 2


def test_without_a_free_session_basic_stands_in(bmc: ScriptedBmc, look: Look) -> None:
    bmc.script.answers[SESSIONS] = (503, b'{"error": {"message": "Too many sessions."}}')
    for _ in range(3):
        assert look(bmc.driver_info()).power == Power.ON
    assert bmc.script.sent(f"POST {SESSIONS}") == 1
    with pytest.raises(errors.BMCError, match="HTTP status 503, Too many sessions"):
        look(bmc.driver_info(redfish_auth_type="session"))


# Addresses.


@pytest.mark.parametrize("host", ["::1", "::1%1"])
def test_ipv6_addresses_and_zones(look: Look, host: str) -> None:
    with scripted_bmc("::1") as bmc:
        address = f"http://[{host}]:{bmc.server_address[1]}"
        assert look(bmc.driver_info(redfish_address=address)).power == Power.ON
        assert bmc.script.host_headers == {f"[::1]:{bmc.server_address[1]}"}


def test_a_name_is_looked_up(bmc: ScriptedBmc, look: Look) -> None:
    assert look(bmc.driver_info(redfish_address=f"http://localhost:{bmc.server_address[1]}")).power == Power.ON
    with pytest.raises(errors.BMCUnreachable, match="does not resolve"):
        look(bmc.driver_info(redfish_address="http://no-such-host.invalid"))


# Peers that others wrote, and the simulator.


@pytest.mark.parametrize("kind", ["emulator", "tls_emulator"])
def test_the_emulator_says_the_same_to_both(request: pytest.FixtureRequest, kind: str) -> None:
    emulator: Emulator = request.getfixturevalue(kind)
    for on in (True, False):
        emulator.set_power(on=on)
        reading = polled(emulator.driver_info())
        assert reading == blocking(emulator.driver_info())
        assert reading.power == (Power.ON if on else Power.OFF)


def test_an_untrusted_certificate_is_told_with_what_to_set(tls_emulator: Emulator) -> None:
    with pytest.raises(errors.BMCCertificateUntrusted, match="redfish_verify_ca"):
        polled({**tls_emulator.driver_info(), "redfish_verify_ca": True})
    assert polled({**tls_emulator.driver_info(), "redfish_verify_ca": False}).power in (Power.ON, Power.OFF)


def fleet_info(simulated: FleetProcess) -> Info:
    return {
        "redfish_address": simulated.bmcs[0].url,
        "redfish_system_id": SYSTEM,
        "redfish_username": FLEET_USERNAME,
        "redfish_password": FLEET_PASSWORD,
    }


def test_the_simulator_says_the_same_to_both(simulated: FleetProcess) -> None:
    info, path = fleet_info(simulated), f"{SYSTEM}/Actions/ComputerSystem.Reset"
    for reset, power in (("On", Power.ON), ("ForceOff", Power.OFF)):
        simulated.ask(simulated.bmcs[0], "POST", path, {"ResetType": reset})
        reading = polled(info)
        assert reading == blocking(info)
        assert (reading.power, reading.health) == (power, "OK")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"fault": "garbage"}, errors.BMCError),
        ({"fault": "503"}, errors.BMCError),
        ({"fault": "hang"}, errors.BMCUnreachable),
        ({"fault": "slow", "seconds": 0.1}, None),
        ({"fault": "closes-idle"}, None),
    ],
    ids=lambda value: str(value["fault"]) if isinstance(value, dict) else "",
)
def test_the_simulators_faults_are_the_same_to_both(
    simulated: FleetProcess, look: Look, fault: Info, error: type[errors.BMCError] | None
) -> None:
    info = fleet_info(simulated)
    look(info)
    simulated.set_faults(simulated.bmcs[0], fault)
    try:
        for _ in range(2):
            if error is None:
                assert look(info).health == "OK"
            else:
                with pytest.raises(errors.BMCError) as caught:
                    look(info, timeout_s=0.4)
                assert type(caught.value) is error
    finally:
        simulated.set_faults(simulated.bmcs[0])
    assert look(info).health == "OK"
