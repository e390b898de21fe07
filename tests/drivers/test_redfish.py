"""Redfish where BMCs differ and fail: logging in, TLS, silence, and nothing sent twice."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ironic_lite import config, errors
from ironic_lite.clock import SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, BootMode, Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import BootChoice, Reading
from ironic_lite.drivers.redfish.account import account
from ironic_lite.drivers.settling import finish
from tests.drivers.conftest import UUID, attempt, deadline, polled
from tests.parts.scripted_bmc import PASSWORD, RESET, SESSIONS, SYSTEM, ScriptedBmc, scripted_bmc
from tests.parts.sushy_emulator import PASSWORD as EMULATOR_PASSWORD
from tests.parts.sushy_emulator import Emulator
from tests.waiting import until

Info = dict[str, object]


@pytest.fixture
def bmc() -> Iterator[ScriptedBmc]:
    with scripted_bmc() as running:
        yield running


def node(driver_info: Info) -> Node:
    return Node(uuid=UUID, driver="redfish", driver_info=driver_info)


def read(driver_info: Info, timeout_s: float = 10.0) -> Reading:
    return registry.power(node(driver_info)).read(node(driver_info), deadline(timeout_s))


def change(driver_info: Info, target: PowerTarget, **more: Any) -> None:
    working = attempt(**more)
    finish(registry.power(node(driver_info)).change(node(driver_info), target, working), working)


def took_s(work: Callable[[], object]) -> float:
    clock = SystemClock()
    start = clock.monotonic()
    work()
    return clock.monotonic() - start


# Reading.


def test_a_reading_is_one_get_once_the_bmc_is_known(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    bmc.script.requests.clear()
    assert read(bmc.driver_info()) == Reading(power=Power.ON, boot_mode=BootMode.BIOS, health="Warning")
    assert bmc.script.requests == [f"GET {SYSTEM}"]
    assert bmc.script.connections <= 2  # one for reading, one for the login


@pytest.mark.parametrize(
    ("said", "power"),
    [("PoweringOn", Power.ON), ("PoweringOff", Power.OFF), ("Paused", None), ("Hibernating", None)],
)
def test_states_that_are_neither_on_nor_off(bmc: ScriptedBmc, said: str, power: Power | None) -> None:
    bmc.script.power = said
    assert read(bmc.driver_info()).power == power


def test_the_only_system_need_not_be_named(emulator: Emulator, bmc: ScriptedBmc) -> None:
    bmc.script.answers["/redfish/v1/Systems"] = (
        200,
        b'{"Name": "Systems", "Members": [{"@odata.id": "%s"}]}' % SYSTEM.encode(),
    )
    assert read(bmc.driver_info(redfish_system_id=None)).power == Power.ON
    with pytest.raises(errors.BMCError, match="System count is not exactly one"):
        read({**emulator.driver_info(), "redfish_system_id": None})


# Logging in.


def test_one_session_is_made_and_deleted_at_the_end(bmc: ScriptedBmc) -> None:
    for _ in range(3):
        read(bmc.driver_info())
    assert bmc.script.sent(f"POST {SESSIONS}") == 1
    registry.close_all(deadline(5))
    assert bmc.script.tokens == set()


def test_a_hanging_logout_takes_two_seconds_at_most(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    bmc.script.hangs = {f"{SESSIONS}/{token}" for token in bmc.script.tokens}
    assert took_s(lambda: registry.close_all(deadline(60))) < 15


def test_a_session_that_has_ended_is_made_again(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    bmc.script.tokens.clear()
    assert read(bmc.driver_info()).power == Power.ON
    assert bmc.script.sent(f"POST {SESSIONS}") == 2


def test_a_post_is_sent_again_after_401_with_a_permit_of_its_own(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    permits: list[None] = []

    def permit() -> None:
        permits.append(None)
        if len(permits) == 1:
            bmc.script.tokens.clear()

    change(bmc.driver_info(), PowerTarget.OFF, permit=permit)
    assert bmc.script.power == "Off"
    assert (bmc.script.sent(f"POST {RESET}"), len(permits)) == (2, 2)


def test_auto_falls_back_to_basic_where_there_are_no_sessions(bmc: ScriptedBmc) -> None:
    bmc.script.has_sessions = False
    assert read(bmc.driver_info()).power == Power.ON
    assert bmc.script.sent(f"POST {SESSIONS}") == 0


def test_auto_falls_back_to_basic_where_the_session_service_is_not_there(bmc: ScriptedBmc) -> None:
    bmc.script.answers[SESSIONS] = (404, b"{}")
    assert read(bmc.driver_info()).power == Power.ON


def test_session_is_insisted_on_where_asked_for(bmc: ScriptedBmc) -> None:
    bmc.script.has_sessions = False
    with pytest.raises(errors.BMCError, match="no session service; set redfish_auth_type"):
        read(bmc.driver_info(redfish_auth_type="session"))


def test_basic_makes_no_session(bmc: ScriptedBmc) -> None:
    assert read(bmc.driver_info(redfish_auth_type="basic")).power == Power.ON
    assert bmc.script.sent(f"POST {SESSIONS}") == 0


def test_a_wrong_password_is_tried_once(bmc: ScriptedBmc) -> None:
    with pytest.raises(errors.BMCAccessDenied):
        read(bmc.driver_info(redfish_password="wrong"))
    assert bmc.script.requests.count(f"POST {SESSIONS}") == 1
    assert bmc.script.sent(f"GET {SYSTEM}") == 0


def test_the_emulator_refuses_a_wrong_password(emulator: Emulator) -> None:
    with pytest.raises(errors.BMCAccessDenied):
        read({**emulator.driver_info(), "redfish_password": "wrong"})


def test_a_kept_session_does_not_serve_another_password(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    with pytest.raises(errors.BMCAccessDenied):
        read(bmc.driver_info(redfish_password="wrong"))
    assert read(bmc.driver_info()).power == Power.ON


def test_a_changed_password_makes_a_new_session(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    bmc.script.password = "another"
    bmc.script.tokens.clear()
    assert read(bmc.driver_info(redfish_password="another")).power == Power.ON


def test_the_least_recently_used_bmc_is_dropped_first_and_logged_out(bmc: ScriptedBmc) -> None:
    port = bmc.server_address[1]
    one, two, three = (f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"))
    config.CONF.set_override("connection_cache_size", 2, group="redfish")
    try:
        for address in (one, two, one, three):
            read(bmc.driver_info(redfish_address=address))
        until(lambda: len(bmc.script.tokens) == 2)
        bmc.script.requests.clear()
        read(bmc.driver_info(redfish_address=one))
        assert bmc.script.requests == [f"GET {SYSTEM}"]
        read(bmc.driver_info(redfish_address=two))
        assert bmc.script.sent(f"POST {SESSIONS}") == 1
    finally:
        config.CONF.clear_override("connection_cache_size", group="redfish")


# TLS.


def test_an_untrusted_certificate_is_told_with_what_to_set(tls_emulator: Emulator) -> None:
    with pytest.raises(errors.BMCCertificateUntrusted, match="redfish_verify_ca"):
        read({**tls_emulator.driver_info(), "redfish_verify_ca": True})


def test_verification_can_be_switched_off(tls_emulator: Emulator) -> None:
    assert read({**tls_emulator.driver_info(), "redfish_verify_ca": "false"}).power in (Power.ON, Power.OFF)


# Silence.


def test_a_closed_port_is_told_at_once(bmc: ScriptedBmc) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(errors.BMCUnreachable, match="connection refused"):
            read(bmc.driver_info(redfish_address=address))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_deadline_holds_for_a_listener_that_never_answers(bmc: ScriptedBmc, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"

        def visit() -> None:
            with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
                read(bmc.driver_info(redfish_address=address), timeout_s=0.5)

        assert took_s(visit) < 15  # alone, read_timeout would be 30 s


def test_the_deadline_holds_for_a_bmc_that_drips(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    bmc.script.drips = {SYSTEM}

    def visit() -> None:
        with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
            read(bmc.driver_info(), timeout_s=0.7)

    assert took_s(visit) < 15  # alone, read_timeout would be 30 s


def test_a_kept_connection_that_the_bmc_has_closed_is_no_error(bmc: ScriptedBmc) -> None:
    bmc.script.closes = True
    for _ in range(3):
        assert read(bmc.driver_info()).power == Power.ON


def test_one_request_at_a_time_and_no_longer_wait_than_the_deadline(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    bmc.script.hangs = {SYSTEM}
    bmc.script.requests.clear()
    failures: list[errors.Error] = []

    def hang() -> None:
        try:
            read(bmc.driver_info(), timeout_s=3)
        except errors.BMCUnreachable as exc:
            failures.append(exc)

    first = threading.Thread(target=hang)  # noqa: TID251  # a caller beside this one
    first.start()
    until(lambda: bmc.script.requests)
    with pytest.raises(errors.BMCUnreachable, match="still under way"):
        read(bmc.driver_info(), timeout_s=0.3)
    first.join(10)
    assert len(failures) == 1
    assert len(bmc.script.requests) == 1


# Changing.


def test_a_post_that_the_bmc_takes_and_does_not_answer_is_sent_once(bmc: ScriptedBmc) -> None:
    bmc.script.hangs = {RESET}
    with pytest.raises(errors.BMCUnreachable):
        change(bmc.driver_info(), PowerTarget.OFF, timeout_s=1.5)
    assert bmc.script.sent(f"POST {RESET}") == 1


def test_a_post_that_the_bmc_takes_and_hangs_up_on_is_sent_once(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    bmc.script.drops = {RESET}
    with pytest.raises(errors.BMCUnreachable, match="closed the connection without an answer"):
        change(bmc.driver_info(), PowerTarget.OFF)
    assert bmc.script.sent(f"POST {RESET}") == 1


def test_a_get_that_the_bmc_hangs_up_on_is_asked_once_more(bmc: ScriptedBmc) -> None:
    read(bmc.driver_info())
    read(bmc.driver_info())
    bmc.script.requests.clear()
    bmc.script.drops = {SYSTEM}
    with pytest.raises(errors.BMCUnreachable):
        read(bmc.driver_info())
    assert bmc.script.requests == [f"GET {SYSTEM}"] * 2


def test_a_post_that_fails_is_sent_once(bmc: ScriptedBmc) -> None:
    bmc.script.answers[RESET] = (503, b'{"error": {"message": "Busy with iLO SYS518."}}')
    with pytest.raises(errors.BMCError, match="HTTP status 503, Busy with iLO SYS518"):
        change(bmc.driver_info(), PowerTarget.OFF)
    assert bmc.script.sent(f"POST {RESET}") == 1


def test_a_reboot_without_force_restart_is_off_and_on(bmc: ScriptedBmc) -> None:
    change(bmc.driver_info(), PowerTarget.REBOOT)
    assert bmc.script.power == "On"
    assert bmc.script.sent(f"POST {RESET}") == 2


def test_a_reboot_is_one_request_where_the_bmc_offers_it(bmc: ScriptedBmc) -> None:
    bmc.script.resets.append("ForceRestart")
    change(bmc.driver_info(), PowerTarget.REBOOT)
    assert bmc.script.sent(f"POST {RESET}") == 1


def test_a_target_that_the_bmc_does_not_offer_is_refused(bmc: ScriptedBmc) -> None:
    bmc.script.resets.remove("GracefulShutdown")
    with pytest.raises(errors.UnsupportedByDriver, match="soft power off; supported are: ForceOff, On"):
        change(bmc.driver_info(), PowerTarget.SOFT_OFF)
    assert bmc.script.sent(f"POST {RESET}") == 0


def test_a_refusal_by_a_machine_that_is_there_meanwhile_is_success(bmc: ScriptedBmc) -> None:
    def permit() -> None:
        # Between our look at the machine and the request somebody else turns it off.
        bmc.script.power = "Off"

    bmc.script.answers[RESET] = (409, b"{}")
    change(bmc.driver_info(), PowerTarget.OFF, permit=permit)


def test_a_refusal_by_a_machine_that_is_not_there_is_an_error(bmc: ScriptedBmc) -> None:
    bmc.script.answers[RESET] = (409, b'{"error": {"@Message.ExtendedInfo": [{"Message": "Not now."}]}}')
    with pytest.raises(errors.BMCError, match="HTTP status 409, Not now"):
        change(bmc.driver_info(), PowerTarget.OFF)


def test_a_machine_that_does_not_get_there_is_told_with_its_state(bmc: ScriptedBmc) -> None:
    bmc.script.answers[RESET] = (204, b"")
    with pytest.raises(errors.PowerStateUnsettled, match=r'did not reach "power off" within 1 s.*"power on"'):
        change(bmc.driver_info(), PowerTarget.OFF, timeout_s=1.2)


@pytest.mark.parametrize(("device", "target"), [(BootDevice.BIOS, "BiosSetup"), (BootDevice.UEFIHTTP, "UefiHttp")])
def test_a_one_time_boot_device_comes_back(bmc: ScriptedBmc, device: BootDevice, target: PowerTarget) -> None:
    management = registry.management(node(bmc.driver_info()))
    choice = BootChoice(boot_device=device, persistent=False)
    management.set_boot_device(node(bmc.driver_info()), choice, attempt())
    assert bmc.script.boot["BootSourceOverrideTarget"] == target
    assert management.boot_device(node(bmc.driver_info()), deadline()) == choice


def test_a_disabled_override_is_no_boot_device(bmc: ScriptedBmc) -> None:
    found = registry.management(node(bmc.driver_info())).boot_device(node(bmc.driver_info()), deadline())
    assert found == BootChoice(boot_device=None, persistent=None)


def test_sensors_of_a_bmc_without_any_are_what_the_system_says(bmc: ScriptedBmc) -> None:
    info = node(bmc.driver_info())
    assert set(registry.management(info).sensors(info, deadline()).sensors) == {"Extra"}


# Nonsense and secrets.


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"{}", b"\xff\xfe", b'{"Id": 1, "Boot": 7}'])
def test_an_answer_that_is_no_system_is_an_error_of_the_bmc(bmc: ScriptedBmc, body: bytes) -> None:
    bmc.script.answers[SYSTEM] = (200, body)
    with pytest.raises(errors.BMCError):
        read(bmc.driver_info())


@pytest.mark.parametrize("mishap", ["denied", "hangs", "fails", "refuses", "none"])
def test_no_secret_is_in_an_error_or_a_log_record(
    bmc: ScriptedBmc, emulator: Emulator, caplog: pytest.LogCaptureFixture, mishap: str
) -> None:
    caplog.set_level(logging.DEBUG)
    info = bmc.driver_info()
    match mishap:
        case "denied":
            info["redfish_password"] = f"{PASSWORD}-wrong"
        case "hangs":
            bmc.script.hangs = {SYSTEM}
        case "fails":
            bmc.script.answers[SESSIONS] = (500, b"no")
        case "refuses":
            info["redfish_address"] = f"http://someone:{PASSWORD}@127.0.0.1:1"
    said: list[str] = []
    for way, driver_info in ((read, info), (polled, info), (read, emulator.driver_info())):
        try:
            way(driver_info, timeout_s=0.7)
        except errors.Error as exc:
            said += [str(exc), repr(exc), repr(exc.__cause__)]
    text = "\n".join([*said, *caplog.messages, repr(account(node(bmc.driver_info())))])
    assert text
    for secret in (PASSWORD, EMULATOR_PASSWORD, "token-", "Basic "):
        assert secret not in text
