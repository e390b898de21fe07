"""An operator's good day and bad days, with the unmodified `baremetal` command and BMCs that nobody here wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.parts import ipmi_sim as ipmi
from tests.parts import sushy_emulator as redfish
from tests.parts.service import HOST, Service, free_port, service
from tests.peers.cli import Cli
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)

SECRET = "do-not-tell-7"
SECRETS = (SECRET, redfish.PASSWORD, ipmi.PASSWORD)
MAC = "52:54:00:12:34:56"


@dataclass(frozen=True)
class Peer:
    """A BMC, and what is known of its machine from elsewhere than from the service."""

    driver: str
    driver_info: dict[str, Any]
    is_on: Callable[[], bool]
    # What was sent to change the machine's power, so far.
    resets: Callable[[], int]
    resets_of_a_reboot: int
    power_interface: str
    boot_devices: set[str]
    # What `boot device show` tells after `set pxe --persistent`.
    boot_device: dict[str, Any]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all; at its end, its whole log at DEBUG is searched for secrets and traces."""
    directory = tmp_path_factory.mktemp("service")
    with service(directory, conductor={"poll_timeout": 10}) as started:
        yield started
    log = started.log()
    assert " DEBUG " in log
    assert [secret for secret in SECRETS if secret in log] == []
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def cli(running: Service) -> Cli:
    return Cli(running.url)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redfish.Emulator]:
    with redfish.sushy_emulator(tmp_path_factory.mktemp("redfish") / "plain") as started:
        yield started


@pytest.fixture(scope="module")
def tls_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redfish.Emulator]:
    with redfish.sushy_emulator(tmp_path_factory.mktemp("redfish") / "tls", tls=True) as started:
        yield started


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ipmi.IpmiSim]:
    with ipmi.ipmi_sim(tmp_path_factory.mktemp("ipmi") / "sim") as started:
        yield started


@pytest.fixture(params=["redfish", "ipmi"])
def peer(request: pytest.FixtureRequest) -> Peer:
    if request.param == "redfish":
        emulator = request.getfixturevalue("emulator")
        return Peer(
            driver="redfish",
            driver_info=emulator.driver_info(),
            is_on=lambda: emulator.system()["PowerState"] == "On",
            resets=lambda: sum(line.endswith("ComputerSystem.Reset") for line in emulator.requests()),
            resets_of_a_reboot=1,
            power_interface="redfish",
            boot_devices={"pxe", "disk", "cdrom", "uefihttp"},
            boot_device={"boot_device": "pxe", "persistent": True},
        )
    sim = request.getfixturevalue("sim")
    return Peer(
        driver="ipmi",
        driver_info=sim.driver_info,
        is_on=lambda: sim.power() == "1",
        resets=lambda: sum(not line.startswith("boot") for line in sim.commands()),
        resets_of_a_reboot=2,
        power_interface="ipmitool",
        boot_devices={"pxe", "disk", "safe", "cdrom", "bios"},
        # ipmi_sim keeps the device, and never marks it valid.
        boot_device={"boot_device": None, "persistent": None},
    )


def test_an_operators_day(running: Service, cli: Cli, peer: Peer) -> None:
    look_around(cli, peer)
    name = f"{peer.driver}-1"
    info = [part for key, value in peer.driver_info.items() for part in ("--driver-info", f"{key}={value}")]
    made = cli.shows("node", "create", "--driver", peer.driver, "--name", name, *info)
    assert (made["name"], made["driver"], made["provision_state"]) == (name, peer.driver, "enroll")
    assert made["driver_info"][f"{peer.driver}_password"] == "******"
    uuid = made["uuid"]

    valid = {one["Interface"]: one["Result"] for one in cli.shows("node", "validate", name)}
    assert (valid["power"], valid["management"], valid["raid"]) == (True, True, None)
    cli.does("node", "manage", name, "--wait", "60")

    change_power(running, cli, peer, name)
    choose_boot_device(cli, peer, name)
    change_modes(running, cli, peer, name)
    change_record(cli, peer, name)
    keep_ports(cli, name, uuid)

    cli.does("node", "provide", name, "--wait", "60")
    [listed] = [one for one in cli.shows("node", "list") if one["uuid"] == uuid]
    assert (listed["provision_state"], listed["power_state"], listed["maintenance"]) == (
        "available",
        "power off",
        False,
    )
    told = [one["event"] for one in cli.shows("node", "history", "list", name)]
    assert any("The BMC answers" in event for event in told)
    assert any('Power changed by "soft power off"' in event for event in told)
    assert cli.does("node", "delete", name) == f"Deleted node {name}\n"
    assert cli.fails("node", "show", uuid).startswith(f"Node {uuid} could not be found. (HTTP 404)")


def look_around(cli: Cli, peer: Peer) -> None:
    drivers = {one["name"]: one["hosts"] for one in cli.shows("driver", "list")}
    assert drivers == dict.fromkeys(("fake-hardware", "ipmi", "redfish"), HOST)
    driver = cli.shows("driver", "show", peer.driver)
    assert (driver["hosts"], driver["default_power_interface"]) == (HOST, peer.power_interface)
    properties = {one["property"] for one in cli.shows("driver", "property", "list", peer.driver)}
    assert properties >= peer.driver_info.keys()
    [conductor] = cli.shows("conductor", "list")
    assert (conductor["hostname"], conductor["alive"]) == (HOST, True)
    assert cli.shows("conductor", "show", HOST)["drivers"] == ["fake-hardware", "ipmi", "redfish"]


def change_power(running: Service, cli: Cli, peer: Peer, name: str) -> None:
    """Each change is seen on the machine itself, and then in the record."""
    cli.does("node", "power", "on", name, "--power-timeout", "30")
    until(peer.is_on, 30)
    assert running.settled(name)["power_state"] == "power on"

    until(lambda: peer.resets() == 1, 30)  # a peer logs a command after it has answered, maybe after it was seen
    cli.does("node", "reboot", name)
    until(lambda: peer.resets() == 1 + peer.resets_of_a_reboot, 30)
    assert running.settled(name)["power_state"] == "power on"
    assert peer.is_on()

    cli.does("node", "power", "off", name, "--soft", "--power-timeout", "30")
    assert running.settled(name)["power_state"] == "power off"
    assert not peer.is_on()

    cli.does("node", "power", "on", name)
    assert running.settled(name)["power_state"] == "power on"
    assert peer.is_on()
    cli.does("node", "power", "off", name)
    assert running.settled(name)["power_state"] == "power off"
    assert not peer.is_on()


def choose_boot_device(cli: Cli, peer: Peer, name: str) -> None:
    supported = cli.shows("node", "boot", "device", "show", name, "--supported")["supported_boot_devices"]
    assert set(supported.split(", ")) == peer.boot_devices
    cli.does("node", "boot", "device", "set", name, "pxe", "--persistent")
    assert cli.shows("node", "boot", "device", "show", name) == peer.boot_device


def change_modes(running: Service, cli: Cli, peer: Peer, name: str) -> None:
    """Redfish knows boot modes, IPMI does not; what the machine is made of was read as it was verified."""
    cli.does("node", "boot", "mode", "set", name, "bios")
    told = running.settled(name)
    if peer.driver == "ipmi":
        assert "does not support a change of the boot mode" in told["last_error"]
        return
    assert (told["boot_mode"], told["last_error"]) == ("bios", None)
    cli.does("node", "secure", "boot", "on", name)
    assert running.settled(name)["secure_boot"] is True
    assert cli.shows("node", "bios", "setting", "list", name) == []  # this machine has none
    assert [one["component"] for one in cli.shows("node", "firmware", "list", name)] == ["bmc"]
    assert "not inspected yet, could not be found. (HTTP 404)" in cli.fails("node", "inventory", "save", name)


def change_record(cli: Cli, peer: Peer, name: str) -> None:
    cli.does("node", "maintenance", "set", name, "--reason", "a new fan")
    shown = cli.shows("node", "show", name, "--fields", "maintenance", "maintenance_reason", "power_state")
    assert shown == {"maintenance": True, "maintenance_reason": "a new fan", "power_state": "power off"}
    cli.does("node", "maintenance", "unset", name)

    # What is not given stays: the password above all.
    user = f"{peer.driver}_username"
    new = [f"--name={name}-b", "--extra", "rack=r1", "--driver-info", f"{user}={peer.driver_info[user]}"]
    cli.does("node", "set", name, *new)
    cli.does("node", "unset", f"{name}-b", "--extra", "rack")
    cli.does("node", "set", f"{name}-b", "--name", name, "--resource-class", "big")
    [listed] = cli.shows("node", "list", "--driver", peer.driver, "--fields", "name", "extra", "resource_class")
    assert listed == {"name": name, "extra": {}, "resource_class": "big"}


def keep_ports(cli: Cli, name: str, uuid: str) -> None:
    refusal = cli.fails("port", "create", MAC, "--node", name)
    assert refusal.startswith(f"Expected a UUID for node_uuid but received '{name}'. (HTTP 400)")
    port = cli.shows("port", "create", MAC, "--node", uuid)
    assert (port["address"], port["node_uuid"]) == (MAC, uuid)
    assert cli.shows("port", "list", "--node", name) == [{"uuid": port["uuid"], "address": MAC}]
    assert cli.does("port", "delete", port["uuid"]) == f"Deleted port {port['uuid']}\n"


def test_traits_and_allocations(running: Service, cli: Cli) -> None:
    status, _, node = running.request("POST", "/v1/nodes", {"name": "rack-1", "driver": "fake-hardware"}, "1.10")
    assert (status, node["provision_state"]) == (201, "available")
    running.power("rack-1", "power off")
    assert cli.does("node", "add", "trait", "rack-1", "CUSTOM_GPU", "HW_CPU_X86_VMX", "CUSTOM_OLD") == (
        "Added trait CUSTOM_GPU\nAdded trait HW_CPU_X86_VMX\nAdded trait CUSTOM_OLD\n"
    )
    assert cli.does("node", "remove", "trait", "rack-1", "CUSTOM_OLD") == "Removed trait CUSTOM_OLD\n"
    assert [one["traits"] for one in cli.shows("node", "trait", "list", "rack-1")] == ["CUSTOM_GPU", "HW_CPU_X86_VMX"]
    cli.does("node", "set", "rack-1", "--resource-class", "gpu")

    wish = ["--resource-class", "gpu", "--trait", "CUSTOM_GPU", "--candidate-node", "rack-1"]
    made = cli.shows("allocation", "create", "--name", "a1", *wish, "--extra", "k=v", "--wait", "60")
    assert (made["state"], made["node_uuid"], made["extra"]) == ("active", node["uuid"], {"k": "v"})
    cli.does("allocation", "set", "a1", "--name", "a2")
    shown = cli.shows("allocation", "show", "a2")
    assert shown == made | {"name": "a2", "updated_at": shown["updated_at"]}
    refused = cli.run("allocation", "create", *wish, "--wait", "60")
    assert (refused.returncode, "of 1 nodes 1 are in use already" in refused.stderr) == (1, True)
    told = {one["uuid"]: one["node_uuid"] for one in cli.shows("allocation", "list")}
    assert (len(told), set(told.values())) == (2, {None, node["uuid"]})
    assert cli.does("allocation", "delete", *told) == "".join(f"Deleted allocation {uuid}\n" for uuid in told)
    assert running.get("/v1/nodes/rack-1")["instance_uuid"] is None
    assert running.request("DELETE", "/v1/nodes/rack-1")[0] == 204


def test_the_command_says_what_is_wrong(running: Service, cli: Cli, emulator: redfish.Emulator) -> None:
    assert cli.fails("node", "create", "--driver", "toaster").startswith(
        "Driver 'toaster' is not served by any conductor; served are: fake-hardware, ipmi, redfish. (HTTP 400)"
    )
    assert cli.fails("node", "show", "nobody").startswith("Node nobody could not be found. (HTTP 404)")
    uuid = running.create("misplaced", "redfish", driver_info=emulator.driver_info() | {"redfish_password": SECRET})
    done = cli.run("node", "manage", "misplaced", "--wait", "60")
    assert (done.returncode, SECRET in done.stdout + done.stderr) == (1, False)
    assert "failed to reach state manageable" in done.stderr
    shown = cli.shows("node", "show", uuid, "--fields", "provision_state", "last_error")
    assert shown["provision_state"] == "enroll"
    assert "refused the user name or password" in shown["last_error"]
    cli.does("node", "delete", uuid)
    cli.does("node", "list")


def unverifiable(running: Service, driver: str, **driver_info: object) -> str:
    """Why a node with that BMC cannot be verified."""
    uuid = running.create("lost", driver, driver_info=driver_info)
    running.put(f"/v1/nodes/{uuid}/states/provision", {"target": "manage"})
    until(lambda: running.get(f"/v1/nodes/{uuid}")["target_provision_state"] is None, 60)
    node = running.get(f"/v1/nodes/{uuid}")
    history = running.get(f"/v1/nodes/{uuid}/history?detail=true")
    assert (node["provision_state"], node["power_state"], node["reservation"]) == ("enroll", None, None)
    assert [secret for secret in SECRETS if secret in str((node, history))] == []
    assert running.request("DELETE", f"/v1/nodes/{uuid}")[0] == 204
    assert node["last_error"].startswith(f'Node {uuid} failed in state "verifying": The ')
    return str(node["last_error"])


def test_a_wrong_password_of_a_redfish_bmc(running: Service, emulator: redfish.Emulator) -> None:
    wrong = emulator.driver_info() | {"redfish_password": SECRET}
    assert "refused the user name or password of driver_info" in unverifiable(running, "redfish", **wrong)


def test_a_wrong_password_of_an_ipmi_bmc(running: Service, sim: ipmi.IpmiSim) -> None:
    wrong = sim.driver_info | {"ipmi_password": SECRET}
    assert "refused the user name or password of driver_info" in unverifiable(running, "ipmi", **wrong)


def test_a_certificate_that_nobody_trusts(running: Service, tls_emulator: redfish.Emulator) -> None:
    reason = unverifiable(running, "redfish", **tls_emulator.driver_info() | {"redfish_verify_ca": "true"})
    assert "The TLS certificate of the BMC" in reason
    assert "is not trusted" in reason
    assert not any(line.startswith("POST") for line in tls_emulator.requests())


def test_a_bmc_that_nobody_reaches(running: Service) -> None:
    port = free_port()
    address = {"redfish_address": f"http://127.0.0.1:{port}", "redfish_username": "a", "redfish_password": SECRET}
    reason = unverifiable(running, "redfish", **address)
    assert f"127.0.0.1:{port} could not be reached" in reason
    reason = unverifiable(running, "ipmi", ipmi_address="127.0.0.1", ipmi_port=port, ipmi_password=SECRET)
    assert f"127.0.0.1:{port} could not be reached" in reason


def test_driver_info_that_names_no_bmc(running: Service) -> None:
    uuid = running.create("nowhere", "redfish", driver_info={"redfish_password": SECRET})
    status, _, refusal = running.request("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": "manage"})
    assert status == 400
    assert "redfish_address is missing" in refusal["error_message"]
    power = running.get(f"/v1/nodes/{uuid}/validate")["power"]
    assert power["result"] is False
    assert "redfish_address is missing" in power["reason"]
    assert SECRET not in str((refusal, power))
    assert running.request("DELETE", f"/v1/nodes/{uuid}")[0] == 204


def test_a_machines_whole_life(running: Service, cli: Cli) -> None:
    """On fake-hardware, whose every interface is there."""
    steps = json.dumps([{"interface": "vendor", "step": "log_passthrough"}, {"interface": "power", "step": "hold"}])
    cli.does("node", "create", "--driver", "fake-hardware", "--name", "life")
    for verb, *more, after in (
        ("manage", "manageable"),
        ("adopt", "active"),
        ("rescue", "--rescue-password", SECRET, "rescue"),
        ("unrescue", "active"),
        ("service", "--service-steps", steps, "service hold"),
        ("unhold", "active"),
        ("undeploy", "available"),
        ("deploy", "--config-drive", '{"meta_data": {}}', "active"),
        ("rebuild", "active"),
        ("undeploy", "available"),
        ("manage", "manageable"),
        ("clean", "--clean-steps", steps, "clean hold"),
        ("abort", "clean failed"),
    ):
        cli.does("node", verb, "life", *more)
        node = running.settled("life")
        assert node["provision_state"] == after, (verb, node["last_error"])
    assert "was aborted by request" in cli.shows("node", "show", "life")["last_error"]
    cli.does("node", "manage", "life", "--wait", "60")
    refused = cli.fails("node", "clean", "life", "--clean-steps", '[{"interface": "raid", "step": "paint"}]')
    assert "has no clean step 'raid.paint'; it has: bios.apply_configuration, bios.factory_reset, " in refused
    cli.does("node", "delete", "life")
