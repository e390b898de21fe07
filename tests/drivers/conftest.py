"""The machines that the drivers' suites run against, and the conductor's side of a piece of work."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import msgspec
import pytest

from ironic_lite import clock, config, errors
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers import registry
from ironic_lite.drivers.contact import IO
from ironic_lite.drivers.interfaces import Attempt, PowerPoller, Reading
from tests.parts.ipmi_sim import IpmiSim, ipmi_sim
from tests.parts.sushy_emulator import Emulator, sushy_emulator
from tests.parts.udp_proxy import UdpProxy, udp_proxy

UUID = "22222222-0000-4000-8000-000000000001"


@pytest.fixture(scope="session", autouse=True)
def options() -> None:
    """The options of every driver, at their defaults."""
    for hardware_type in registry.HARDWARE_TYPES:
        registry.properties(hardware_type.name)
    config.load([], program="tests", files=[])


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with sushy_emulator(tmp_path_factory.mktemp("redfish") / "plain") as running:
        yield running


@pytest.fixture(scope="session")
def tls_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with sushy_emulator(tmp_path_factory.mktemp("redfish") / "tls", tls=True) as running:
        yield running


@pytest.fixture(scope="session")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpmiSim]:
    with ipmi_sim(tmp_path_factory.mktemp("ipmi") / "sim") as running:
        yield running


@pytest.fixture
def proxy(sim: IpmiSim) -> Iterator[UdpProxy]:
    with udp_proxy(sim.port) as running:
        yield running


@pytest.fixture
def through(sim: IpmiSim, proxy: UdpProxy) -> dict[str, object]:
    """driver_info that goes through the proxy."""
    return {**sim.driver_info, "ipmi_port": proxy.port}


@pytest.fixture(autouse=True)
def logged_out() -> Iterator[None]:
    """No test finds the sessions of another."""
    yield
    registry.close_all(deadline(10))


def deadline(timeout_s: float = 20.0) -> clock.Deadline:
    return clock.Deadline(clock.SystemClock(), timeout_s)


def begun(
    driver_info: dict[str, object], timeout_s: float = 20.0, driver: str = "redfish"
) -> concurrent.futures.Future[Reading]:
    """A poll on the I/O loop."""
    node = Node(uuid=UUID, driver=driver, driver_info=driver_info)
    poller = cast("PowerPoller", registry.power(node))
    return IO.submit(poller.poll(poller.target(node), deadline(timeout_s)), "poll")


def polled(driver_info: dict[str, object], timeout_s: float = 20.0, driver: str = "redfish") -> Reading:
    """What a poll on the I/O loop tells."""
    return begun(driver_info, timeout_s, driver).result(60)


def attempt(timeout_s: float = 20.0, permit: Callable[[], None] = lambda: None) -> Attempt:
    """Work whose lock is held, unless `permit` says otherwise."""
    never = threading.Event()
    return Attempt(
        deadline=deadline(timeout_s),
        permit=permit,
        pause=lambda pause_s: _wait(never, pause_s),
        report=lambda _text: None,
    )


def lost() -> None:
    """The permit of work whose lock was taken over."""
    raise errors.LockLost(node=UUID, purpose="test")


def _wait(never: threading.Event, pause_s: float) -> None:
    never.wait(pause_s)


@dataclass
class Machine:
    """A node, and what is known of its machine from elsewhere than our drivers."""

    node: Node
    is_on: Callable[[], bool]
    press: Callable[[bool], None]
    # How many requests have changed the machine so far.
    changes: Callable[[], int]
    # What a conductor writes down after a change; fake-hardware is nothing but its row.
    written: Callable[[PowerTarget], None] = field(default=lambda _target: None)
    reads_boot_device_back: bool = True


@pytest.fixture(params=["redfish", "redfish-tls", "ipmi", "fake-hardware"])
def machine(request: pytest.FixtureRequest) -> Machine:
    match request.param:
        case "redfish":
            return redfish_machine(request.getfixturevalue("emulator"))
        case "redfish-tls":
            return redfish_machine(request.getfixturevalue("tls_emulator"))
        case "ipmi":
            return ipmi_machine(request.getfixturevalue("sim"))
    return fake_machine()


def redfish_machine(emulator: Emulator) -> Machine:
    return Machine(
        node=Node(uuid=UUID, driver="redfish", driver_info=emulator.driver_info()),
        is_on=lambda: emulator.system()["PowerState"] == "On",
        press=lambda on: emulator.set_power(on=on),
        changes=lambda: sum(not line.startswith("GET ") for line in emulator.requests()),
    )


def ipmi_machine(sim: IpmiSim) -> Machine:
    return Machine(
        node=Node(uuid=UUID, driver="ipmi", driver_info=sim.driver_info),
        is_on=lambda: sim.power() == "1",
        press=lambda on: sim.set_power(on=on),
        changes=lambda: len(sim.commands()),
        # ipmi_sim keeps the device, and never marks it valid.
        reads_boot_device_back=False,
    )


def fake_machine() -> Machine:
    def written(target: PowerTarget) -> None:
        made.node = msgspec.structs.replace(made.node, power_state=target.settles_as)

    made = Machine(
        node=Node(uuid=UUID, driver="fake-hardware"),
        is_on=lambda: made.node.power_state == Power.ON,
        press=lambda on: written(PowerTarget.ON if on else PowerTarget.OFF),
        changes=lambda: 0,
        written=written,
        reads_boot_device_back=False,
    )
    return made
