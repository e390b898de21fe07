"""IPMI as polls see it: the same as through pyghmi, in the same turns, whatever the BMC and the network do.

`look` reads a machine's power in one of the two ways; what both must do alike is said once.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ironic_lite import errors
from ironic_lite.clock import SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.interfaces import NeedsThread, Reading
from ironic_lite.drivers.ipmi import client
from ironic_lite.drivers.ipmi.bmcs import BMCS
from ironic_lite.drivers.ipmi.dropped import DROPPED
from ironic_lite.drivers.ipmi.line import Line
from ironic_lite.drivers.settling import finish
from ironic_lite.drivers.tools import TOOLS
from ironic_lite.executors.programs import Programs
from ironic_lite.fleet.server import Bmc
from tests.drivers import conftest
from tests.drivers.conftest import UUID, attempt, deadline
from tests.parts.fleet import PASSWORD as FLEET_PASSWORD
from tests.parts.fleet import USERNAME as FLEET_USERNAME
from tests.parts.fleet import FleetProcess, fleet
from tests.parts.ipmi_sim import OPERATOR, PASSWORD, IpmiSim
from tests.parts.udp_proxy import UdpProxy, udp_proxy
from tests.waiting import until

Info = dict[str, object]
Look = Callable[..., Reading]


def node(driver_info: Info) -> Node:
    return Node(uuid=UUID, driver="ipmi", driver_info=driver_info)


def blocking(driver_info: Info, timeout_s: float = 20.0) -> Reading:
    return registry.power(node(driver_info)).read(node(driver_info), deadline(timeout_s))


def begun(driver_info: Info, timeout_s: float = 20.0) -> concurrent.futures.Future[Reading]:
    return conftest.begun(driver_info, timeout_s, driver="ipmi")


def polled(driver_info: Info, timeout_s: float = 20.0) -> Reading:
    return begun(driver_info, timeout_s).result(60)


@pytest.fixture(params=[blocking, polled])
def look(request: pytest.FixtureRequest) -> Look:
    chosen: Look = request.param
    return chosen


@pytest.fixture(scope="module")
def simulated() -> Iterator[FleetProcess]:
    with fleet(0, ipmi_size=1, first_address="127.83.0.1") as running:
        yield running


@pytest.fixture
def one(simulated: FleetProcess) -> Iterator[Bmc]:
    """A simulated BMC that is as it was made when the test ends."""
    bmc = simulated.bmcs[0]
    yield bmc
    simulated.order(bmcs=bmc.address, faults=[], quirks=[])


def fleet_info(bmc: Bmc, **more: object) -> Info:
    return {
        "ipmi_address": bmc.address,
        "ipmi_port": bmc.port,
        "ipmi_username": FLEET_USERNAME,
        "ipmi_password": FLEET_PASSWORD,
        **more,
    }


def same(info: Info, timeout_s: float = 20.0) -> str:
    """What both ways say, which is the same."""
    told = []
    for way in (polled, blocking):
        try:
            told.append(str(way(info, timeout_s).power))
        except errors.BMCError as exc:
            told.append(f"{type(exc).__name__}: {exc}")
    assert told[0] == told[1]
    return told[0]


# Peers that others wrote, and the simulator.


def test_ipmi_sim_says_the_same_to_both(sim: IpmiSim, look: Look) -> None:
    for power in (Power.ON, Power.OFF):
        sim.set_power(on=power == Power.ON)
        for more in ({}, {"ipmi_cipher_suite": 3}, {"ipmi_username": OPERATOR}, {"ipmi_priv_level": "USER"}):
            assert look({**sim.driver_info, **more}) == Reading(power=power)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"ipmi_password": "wrong"}, "BMCAccessDenied"),
        ({"ipmi_username": "nobody"}, "BMCAccessDenied"),
        ({"ipmi_hex_kg_key": "00ff"}, "BMCAccessDenied"),
        ({"ipmi_cipher_suite": 17}, "cipher suite 17"),
        ({"ipmi_port": 1}, "connection refused"),
        ({"ipmi_address": "no-such-host.invalid"}, "does not resolve"),
    ],
)
def test_ipmi_sim_refuses_both_in_the_same_words(sim: IpmiSim, more: Info, told: str) -> None:
    assert told in same({**sim.driver_info, **more})


@pytest.mark.parametrize("quirks", [[], ["sha1-only"], ["operator-only"], ["sha1-only", "operator-only"]])
def test_the_simulator_says_the_same_to_both(simulated: FleetProcess, one: Bmc, quirks: list[str]) -> None:
    simulated.order(bmcs=one.address, quirks=quirks)
    machine = node(fleet_info(one))
    for target in (PowerTarget.ON, PowerTarget.OFF):
        working = attempt()
        finish(registry.power(machine).change(machine, target, working), working)
        assert same(fleet_info(one)) == target.settles_as


@pytest.mark.parametrize(
    ("fault", "told"),
    [("503", "Node Busy"), ("500", "Unspecified"), ("401", "refused"), ("blackhole", "in time"), ("hang", "in time")],
)
def test_the_simulators_faults_are_the_same_to_both(simulated: FleetProcess, one: Bmc, fault: str, told: str) -> None:
    simulated.order(bmcs=one.address, faults=[{"fault": fault}])
    assert told in same(fleet_info(one), timeout_s=0.4 if told == "in time" else 20)


def test_a_name_is_looked_up(sim: IpmiSim, look: Look) -> None:
    family = socket.getaddrinfo("localhost", 1, type=socket.SOCK_DGRAM)[0][0]
    with udp_proxy(sim.port, family=family) as proxy:
        for _ in range(2):
            info = {**sim.driver_info, "ipmi_address": "localhost", "ipmi_port": proxy.port}
            assert look(info).power in (Power.ON, Power.OFF)


def test_ipv6(simulated: FleetProcess, one: Bmc, look: Look) -> None:
    with udp_proxy(one.port, one.address, socket.AF_INET6) as proxy:
        assert look(fleet_info(one, ipmi_address="::1", ipmi_port=proxy.port)).power == Power.OFF


# The network.


@pytest.fixture
def silent() -> Iterator[Info]:
    """driver_info of a BMC that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bmc:
        bmc.bind(("127.0.0.1", 0))
        yield {"ipmi_address": "127.0.0.1", "ipmi_port": bmc.getsockname()[1]}


def line() -> Line:
    return BMCS.lines[socket.AF_INET]


def test_lost_datagrams_are_asked_for_again(sim: IpmiSim, proxy: UdpProxy, through: Info) -> None:
    sim.set_power(on=True)
    assert polled(through).power == Power.ON  # from here on it is known how fast the BMC answers
    numbers = itertools.count()
    proxy.passes_answer = lambda _datagram: next(numbers) not in {0, 3, 7}
    assert polled(through).power == Power.ON
    assert next(numbers) > 8


def test_an_error_that_the_network_tells_of_another_bmc_is_that_ones(sim: IpmiSim, silent: Info) -> None:
    """The socket is one: an error of a closed port waits there for whoever sends next."""
    quiet = begun(silent, timeout_s=1.0)
    for _ in range(10):
        closed, open_ = begun({**sim.driver_info, "ipmi_port": 1}), begun(sim.driver_info)
        with pytest.raises(errors.BMCUnreachable, match="connection refused"):
            closed.result(30)
        assert open_.result(30).power in (Power.ON, Power.OFF)
    with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
        quiet.result(30)


def test_strangers_and_repeated_answers_are_dropped_and_counted(sim: IpmiSim, proxy: UdpProxy, through: Info) -> None:
    sim.set_power(on=False)
    heard: list[bytes] = []
    malformed, unexpected = DROPPED["malformed"], DROPPED["unexpected"]
    proxy.becomes = lambda datagram: heard.append(datagram) or (b"rubbish", datagram, datagram)  # type: ignore[func-returns-value]
    assert polled(through).power == Power.OFF
    port = line()._socket.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in (b"", *heard):
            stranger.sendto(datagram, ("127.0.0.1", port))
    sim.set_power(on=True)
    assert polled(through).power == Power.ON
    assert DROPPED["malformed"] > malformed + 4
    until(lambda: DROPPED["unexpected"] > unexpected + len(heard) / 2)


def test_the_deadline_holds_for_a_bmc_that_is_silent(silent: Info, look: Look) -> None:
    with pytest.raises(errors.BMCUnreachable, match="did not answer in time"):
        look(silent, timeout_s=0.3)


# One contact.


def test_polls_and_threads_take_turns() -> None:
    with fleet(0, ipmi_size=1, first_address="127.83.1.1", latency=0.01) as apart:
        info = fleet_info(apart.bmcs[0])
        with concurrent.futures.ThreadPoolExecutor(4) as callers:
            reads = [callers.submit(blocking, info) for _ in range(4)]
            polls = [begun(info) for _ in range(4)]
            assert {reading.result(60).power for reading in (*reads, *polls)} == {Power.OFF}
        counts = apart.rule("GET", "/report")["counts"]
        assert (counts["in_flight_max"], counts["sessions_max"]) == (1, 1)
        registry.close_all(deadline())


def test_a_thread_holds_polls_off_until_its_block_ends(sim: IpmiSim) -> None:
    info = sim.driver_info
    with client.visit(node(info), deadline()):
        with pytest.raises(errors.BMCUnreachable, match="still under way"):
            polled(info, timeout_s=0.1)
        with pytest.raises(errors.BMCUnreachable, match="still under way"):
            blocking(info, timeout_s=0.1)
        waiting = begun(info)
    assert waiting.result(30).power in (Power.ON, Power.OFF)


def test_a_thread_that_does_not_end_loses_its_turn_at_its_deadline(sim: IpmiSim) -> None:
    info = sim.driver_info
    with client.visit(node(info), deadline(1.5)):
        assert polled(info).power in (Power.ON, Power.OFF)


def test_a_thread_that_dies_gives_its_turn_back(sim: IpmiSim) -> None:
    with pytest.raises(RuntimeError), client.visit(node(sim.driver_info), deadline()):
        raise RuntimeError
    assert polled(sim.driver_info, timeout_s=5).power in (Power.ON, Power.OFF)


def test_kept_sessions_are_logged_out_at_the_end(simulated: FleetProcess, one: Bmc) -> None:
    for _ in range(3):
        polled(fleet_info(one))
    assert simulated.rule("GET", "/report")["counts"]["sessions"] == 1
    registry.close_all(deadline())
    assert simulated.rule("GET", "/report")["counts"]["sessions"] == 0


# BMCs that are not understood.

IPMITOOL_ID = bytes.fromhex("a4a3a2a0")  # the session id that it always takes


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The real ipmitool, behind a script that keeps what it was started with; the directory of that."""
    real = shutil.which("ipmitool")
    if real is None:
        assert not os.environ.get("CI"), "ipmitool is not installed"
        pytest.skip("ipmitool is not installed")
    script = tmp_path / "ipmitool"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/argv\nenv >> {tmp_path}/env\nexec {real} "$@"\n')
    script.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    TOOLS.programs = Programs(SystemClock())
    yield tmp_path
    assert TOOLS.programs.stop_all(deadline()) == []
    TOOLS.programs = None


def garbled_but_to_ipmitool(proxy: UdpProxy) -> list[bytes]:
    """A BMC that only ipmitool understands. The ids of the sessions that were asked for come into the list."""
    ids = [b""]

    def sees(datagram: bytes) -> bool:
        if datagram[4] == 6 and datagram[5] == 0x10:
            ids.append(datagram[20:24])
        return True

    proxy.passes_request = sees
    proxy.becomes = lambda datagram: (
        (datagram,) if ids[-1] == IPMITOOL_ID or datagram[4] == 0 else (b"\x06\x00\xff\x07\x06",)
    )
    return ids


def test_the_chain_ends_at_ipmitool(sim: IpmiSim, proxy: UdpProxy, through: Info, programs: Path) -> None:
    sim.set_power(on=True)
    ids = garbled_but_to_ipmitool(proxy)
    with pytest.raises(NeedsThread):
        polled(through, timeout_s=1.0)
    assert blocking(through).power == Power.ON
    del ids[:-1]
    with pytest.raises(NeedsThread):
        polled(through)
    sim.set_power(on=False)
    assert blocking(through).power == Power.OFF
    assert set(ids) == {IPMITOOL_ID}  # nobody else asks any more
    started = (programs / "argv").read_text().splitlines()
    assert len(started) == 4  # cipher suite 17, which ipmi_sim does not have, and 3, for each reading
    assert PASSWORD not in "".join(started) + (programs / "env").read_text()


def test_what_ipmitool_does_not_understand_either_is_told(through: Info, proxy: UdpProxy, programs: Path) -> None:
    proxy.becomes = lambda _datagram: (b"\x06\x00\xff\x07\x06",)
    with pytest.raises(errors.BMCError):
        blocking(through, timeout_s=2)


def test_without_programs_pyghmis_word_is_the_last(through: Info, proxy: UdpProxy) -> None:
    proxy.becomes = lambda _datagram: (b"\x06\x00\xff\x07\x06",)
    with pytest.raises(errors.BMCError, match="not what IPMI defines"):
        blocking(through, timeout_s=2)


def test_one_bmc_that_is_not_understood_is_polled_while_others_go_on(
    sim: IpmiSim, proxy: UdpProxy, through: Info
) -> None:
    proxy.becomes = lambda _datagram: (b"\x06\x00\xff\x07\x06",)
    bad = begun(through, timeout_s=1.0)
    assert polled(sim.driver_info).power in (Power.ON, Power.OFF)
    with pytest.raises(NeedsThread):
        bad.result(30)
    with pytest.raises(errors.BMCError):
        blocking(through, timeout_s=1)
