"""IPMI where BMCs and networks fail: logging in, silence, loss, and nothing sent twice."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import logging
import os
import resource
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.clock import SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import BootChoice, Collected, Reading
from ironic_lite.drivers.settling import finish
from tests.drivers.conftest import UUID, attempt, deadline
from tests.parts.fleet import PASSWORD as FLEET_PASSWORD
from tests.parts.fleet import USERNAME as FLEET_USERNAME
from tests.parts.fleet import fleet
from tests.parts.ipmi_sim import OPERATOR, PASSWORD, IpmiSim
from tests.parts.udp_proxy import UdpProxy, udp_proxy

Info = dict[str, object]


def node(driver_info: Info, **more: Any) -> Node:
    return Node(uuid=UUID, driver="ipmi", driver_info=driver_info, **more)


def read(driver_info: Info, timeout_s: float = 10.0) -> Reading:
    return registry.power(node(driver_info)).read(node(driver_info), deadline(timeout_s))


def change(driver_info: Info, target: PowerTarget, **more: Any) -> None:
    working = attempt(**more)
    finish(registry.power(node(driver_info)).change(node(driver_info), target, working), working)


# Logging in.


@pytest.mark.parametrize(
    "more",
    [
        {"ipmi_cipher_suite": 3},
        {"ipmi_cipher_suite": "3"},
        {"ipmi_username": OPERATOR},
        {"ipmi_priv_level": "OPERATOR"},
    ],
)
def test_logs_in(sim: IpmiSim, more: Any) -> None:
    assert read({**sim.driver_info, **more}).power in (Power.ON, Power.OFF)


@pytest.mark.parametrize("more", [{"ipmi_password": "wrong"}, {"ipmi_username": "nobody"}, {"ipmi_hex_kg_key": "00ff"}])
def test_wrong_credentials_are_told_at_once(sim: IpmiSim, more: Any) -> None:
    with pytest.raises(errors.BMCAccessDenied):
        read({**sim.driver_info, **more})


def test_a_cipher_suite_that_was_asked_for_is_not_replaced_by_a_weaker_one(sim: IpmiSim) -> None:
    with pytest.raises(errors.BMCError, match="cipher suite 17"):
        read({**sim.driver_info, "ipmi_cipher_suite": 17})


def test_each_visit_logs_out(sim: IpmiSim) -> None:
    for _ in range(200):
        read(sim.driver_info)


def test_no_thread_is_started_but_that_of_the_loop(sim: IpmiSim) -> None:
    read(sim.driver_info)
    before = threading.active_count()
    read(sim.driver_info)
    assert threading.active_count() == before


def test_works_beyond_1024_open_files(sim: IpmiSim) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
    with contextlib.ExitStack() as files, socket.socket() as first:
        for _ in range(1100):
            files.callback(os.close, os.dup(first.fileno()))
        assert read(sim.driver_info).power in (Power.ON, Power.OFF)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Silence and loss.


def test_a_closed_port_is_told_at_once(sim: IpmiSim) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(errors.BMCUnreachable, match="connection refused"):
        read({**sim.driver_info, "ipmi_port": port})


def test_the_deadline_holds_for_a_bmc_that_never_answers(sim: IpmiSim) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        start = SystemClock().monotonic()
        with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
            read({**sim.driver_info, "ipmi_port": silent.getsockname()[1]}, timeout_s=1.5)
        assert SystemClock().monotonic() - start < 15


def test_the_deadline_holds_for_a_bmc_that_falls_silent_after_the_login(proxy: UdpProxy, through: Info) -> None:
    answers = itertools.count()
    proxy.passes_answer = lambda _datagram: next(answers) < 5
    with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
        read(through, timeout_s=3)
    assert next(answers) > 5


@pytest.mark.parametrize("lost", range(6))
def test_a_reading_survives_the_loss_of_any_answer(proxy: UdpProxy, through: Info, lost: int) -> None:
    answers = itertools.count()
    proxy.passes_answer = lambda _datagram: next(answers) != lost
    assert read(through, timeout_s=15).power in (Power.ON, Power.OFF)


@pytest.mark.parametrize("lost", range(6))
def test_a_reading_survives_the_loss_of_any_request(proxy: UdpProxy, through: Info, lost: int) -> None:
    requests = itertools.count()
    proxy.passes_request = lambda _datagram: next(requests) != lost
    assert read(through, timeout_s=15).power in (Power.ON, Power.OFF)


def test_the_deadline_holds_under_a_flood(sim: IpmiSim) -> None:
    stop = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooding:
        flooding.bind(("127.0.0.1", 0))
        flood = threading.Thread(target=_flood, args=(flooding, stop))  # noqa: TID251  # the peer's own
        flood.start()
        start = SystemClock().monotonic()
        try:
            with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
                read({**sim.driver_info, "ipmi_port": flooding.getsockname()[1]}, timeout_s=0.5)
            assert SystemClock().monotonic() - start < 15
        finally:
            stop.set()
            flood.join(10)


def _flood(flooding: socket.socket, stop: threading.Event) -> None:
    _, client = flooding.recvfrom(4096)
    while not stop.is_set():
        with contextlib.suppress(OSError):
            flooding.sendto(b"no RMCP at all", client)


def test_packets_that_are_no_ipmi_are_an_error_of_the_bmc(sim: IpmiSim) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rubbish:
        rubbish.bind(("127.0.0.1", 0))
        answering = threading.Thread(target=_answer_rubbish, args=(rubbish,))  # noqa: TID251  # the peer's own
        answering.start()
        with pytest.raises(errors.BMCError, match="not what IPMI defines"):
            read({**sim.driver_info, "ipmi_port": rubbish.getsockname()[1]}, timeout_s=5)
        answering.join(10)


def _answer_rubbish(rubbish: socket.socket) -> None:
    _, client = rubbish.recvfrom(4096)
    rubbish.sendto(b"\x06\x00\xff\x07\x06", client)


def test_many_bmcs_at_once_with_loss_on_every_way(sim: IpmiSim) -> None:
    """A retransmission to one BMC beside a send to another is where pyghmi's own engine stands still."""
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(udp_proxy(sim.port)) for _ in range(8)]
        for number, proxy in enumerate(proxies):
            proxy.passes_answer = _loses(number)
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(8))
        infos = [{**sim.driver_info, "ipmi_port": proxy.port} for proxy in proxies]
        readings = list(pool.map(lambda info: read(info, timeout_s=30).power, infos))
    assert set(readings) <= {Power.ON, Power.OFF}


def _loses(first: int) -> Callable[[bytes], bool]:
    """Lose every eleventh answer."""
    answers = itertools.count()
    return lambda _datagram: next(answers) % 11 != first


# Changing.


def test_a_command_whose_answer_is_lost_is_sent_once(sim: IpmiSim, proxy: UdpProxy, through: Info) -> None:
    sim.set_power(on=True)
    before = len(sim.commands())
    losing: list[bool] = []

    def lose_one(datagram: bytes) -> bool:
        return not (losing and losing.pop())

    proxy.passes_answer = lose_one
    change(through, PowerTarget.OFF, permit=lambda: losing.append(True))
    assert sim.commands()[before:] == ["power 0"]


def test_a_command_that_is_lost_leaves_the_machine_and_is_told(sim: IpmiSim, proxy: UdpProxy, through: Info) -> None:
    sim.set_power(on=True)
    before = len(sim.commands())
    losing: list[bool] = []
    proxy.passes_request = lambda _datagram: not (losing and losing.pop())
    with pytest.raises(errors.PowerStateUnsettled, match='"power on"'):
        change(through, PowerTarget.OFF, permit=lambda: losing.append(True), timeout_s=7)
    assert sim.commands()[before:] == []


def test_a_machine_whose_power_must_not_be_cut_is_reset(sim: IpmiSim) -> None:
    sim.set_power(on=True)
    before = len(sim.commands())
    unstoppable = node(sim.driver_info, disable_power_off=True)
    working = attempt()
    finish(registry.power(unstoppable).change(unstoppable, PowerTarget.REBOOT, working), working)
    assert sim.commands()[before:] == ["reset 1"]


@pytest.mark.parametrize(
    ("device", "said"),
    [(BootDevice.PXE, "pxe"), (BootDevice.DISK, "default"), (BootDevice.CDROM, "cdrom"), (BootDevice.BIOS, "bios")],
)
def test_the_bmc_is_told_the_boot_device(sim: IpmiSim, device: BootDevice, said: str) -> None:
    before = len(sim.commands())
    target = node(sim.driver_info)
    registry.management(target).set_boot_device(target, BootChoice(boot_device=device, persistent=False), attempt())
    assert sim.commands()[before:] == [f"boot {said}"]


def test_sensors_are_told_as_ipmitool_tells_them(sim: IpmiSim) -> None:
    target = node(sim.driver_info)
    told = {
        "Sensor ID": "CPU Temp (0x01)",
        "Entity ID": "7.1 (System Board)",
        "Sensor Reading": "41 degrees C",
        "Status": "ok",
    }
    assert registry.management(target).sensors(target, deadline()) == Collected(
        {"Temperature": {"CPU Temp (0x01)": told}}
    )


def test_a_second_collection_reads_no_records_and_what_was_read_by_the_deadline_is_kept() -> None:
    with fleet(0, ipmi_size=1) as simulated:
        [bmc] = simulated.bmcs
        target = node(
            {"ipmi_address": bmc.address, "ipmi_port": bmc.port, "ipmi_username": FLEET_USERNAME,
             "ipmi_password": FLEET_PASSWORD}
        )  # fmt: skip

        def collect(timeout_s: float = 20.0) -> tuple[Collected, dict[str, int]]:
            simulated.rule("DELETE", f"/counts?address={bmc.address}")
            told = registry.management(target).sensors(target, deadline(timeout_s))
            requests: dict[str, int] = simulated.rule("GET", f"/counts?address={bmc.address}")["requests"]
            return told, requests

        told, requests = collect()
        assert {kind: len(entries) for kind, entries in told.sensors.items()} == {
            "Temperature": 3, "Fan": 4, "Power": 2, "Voltage": 2,
        }  # fmt: skip
        assert requests["get-record"] >= 11
        again, requests = collect()
        assert again.sensors.keys() == told.sensors.keys()
        assert "get-record" not in requests
        assert requests["reading"] == 11
        simulated.order(bmcs="all", sensor_latency="fixed:0.3")
        part, _ = collect(timeout_s=1.5)
        assert 0 < sum(len(entries) for entries in part.sensors.values()) < 11
        assert "of 11 could not be read" in part.missing["Sensors"]


def test_an_interrupt_is_sent_once() -> None:
    with fleet(0, ipmi_size=1) as simulated:
        [bmc] = simulated.bmcs
        info = {"ipmi_address": bmc.address, "ipmi_port": bmc.port}
        target = node({**info, "ipmi_username": FLEET_USERNAME, "ipmi_password": FLEET_PASSWORD})
        with pytest.raises(errors.BMCError):
            registry.management(target).inject_nmi(target, attempt())  # it is off
        simulated.order(reset="On")
        registry.management(target).inject_nmi(target, attempt())
        assert simulated.ledger(bmc) == [("front-panel", "On"), ("ipmi", "Nmi")]


def test_no_secret_is_in_an_error_or_a_log_record(
    sim: IpmiSim, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for more in ({}, {"ipmi_password": f"{PASSWORD}x"}, {"ipmi_port": 1}, {"ipmi_cipher_suite": 17}):
        try:
            read({**sim.driver_info, **more}, timeout_s=2)
        except errors.Error as exc:
            said += [str(exc), repr(exc), repr(exc.__cause__)]
    assert len(said) == 9
    assert PASSWORD not in "\n".join([*said, *caplog.messages, *capsys.readouterr()])
