"""Start-up CPU, idle memory and threads of the all-in-one, beside Ironic 39.0.0 in the same run.

    python benchmarks/first_light.py [--ironic DIR_OF_A_VENV] [--rounds 3] [--nodes 10]

Without --ironic, an environment with ironic 39.0.0 is made under .tox/ironic (once, some minutes). Both run with
auth none on a SQLite file that exists, with the hardware types redfish, ipmi and fake-hardware and that many nodes of
fake-hardware; the rounds alternate between the two. CPU counts every process from the first fork to the first
answered GET /v1/nodes; memory is PSS, after `--settle` seconds of idleness.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import venv
from pathlib import Path
from typing import NamedTuple

from processes import cpu_s, end, pss_mib, threads, tree, wakeups

ROOT = Path(__file__).parents[1]
GOALS = {"cpu_s": 0.4, "pss_mib": 100.0, "threads": 30}


class Figures(NamedTuple):
    """What one start of one service cost."""

    cpu_s: float
    pss_mib: float
    threads: int
    wakeups_s: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def get_nodes(port: int) -> int | None:
    """The number of nodes, or None while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/v1/nodes", headers={"X-OpenStack-Ironic-API-Version": "1.50"})
        answer = connection.getresponse()
        body = answer.read()
    except OSError:
        return None
    finally:
        connection.close()
    return len(json.loads(body)["nodes"]) if answer.status == 200 else None


def create_node(port: int, number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"driver": "fake-hardware", "name": f"bench-{number}"})
    headers = {"X-OpenStack-Ironic-API-Version": "1.50", "Content-Type": "application/json"}
    for _attempt in range(50):
        connection.request("POST", "/v1/nodes", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 503:  # the API may answer before the conductor serves
            break
        pause(0.1)
    if answer.status != 201:
        raise SystemExit(f"POST /v1/nodes answered {answer.status}: {text!r}")
    connection.close()


def ours(directory: Path) -> tuple[list[str], int]:
    """The command of the all-in-one, and its port."""
    port = free_port()
    settings = directory / "ironic.conf"
    settings.write_text(
        f"[DEFAULT]\nstate_path = {directory}\nhost = bench\n"
        "enabled_hardware_types = redfish,ipmi,fake-hardware\n"
        f"[api]\nport = {port}\n[json_rpc]\nport = {free_port()}\n"
    )
    return [sys.executable, "-m", "ironic_lite", "--config-file", str(settings)], port


def ironics(directory: Path, environment: Path) -> tuple[list[str], int]:
    """The command of Ironic's all-in-one, and its port; the schema is made where it is missing."""
    port, settings = free_port(), directory / "ironic.conf"
    for name in ("httpboot", "tftpboot", "images"):
        (directory / name).mkdir(exist_ok=True)
    settings.write_text(
        "[DEFAULT]\nauth_strategy = noauth\nrpc_transport = none\nhost = 127.0.0.1\nmy_ip = 127.0.0.1\n"
        f"state_path = {directory}\nlog_file = {directory}/log\n"
        "enabled_hardware_types = redfish,ipmi,fake-hardware\n"
        "enabled_power_interfaces = redfish,ipmitool,fake\nenabled_management_interfaces = redfish,ipmitool,fake\n"
        "enabled_boot_interfaces = pxe,fake,ipxe\nenabled_deploy_interfaces = direct,fake\n"
        "enabled_network_interfaces = noop\nenabled_inspect_interfaces = no-inspect,fake\n"
        "enabled_bios_interfaces = no-bios,fake\nenabled_console_interfaces = no-console,fake\n"
        "enabled_raid_interfaces = no-raid,fake\nenabled_rescue_interfaces = no-rescue,fake\n"
        "enabled_vendor_interfaces = no-vendor,fake\nenabled_firmware_interfaces = no-firmware,fake\n"
        "enabled_storage_interfaces = noop\n"
        f"[api]\nhost_ip = 127.0.0.1\nport = {port}\n[database]\nconnection = sqlite:///{directory}/ironic.sqlite\n"
        f"[deploy]\nhttp_root = {directory}/httpboot\nhttp_url = http://127.0.0.1:1\n"
        f"[pxe]\ntftp_root = {directory}/tftpboot\ntftp_master_path = {directory}/images\n"
        f"images_path = {directory}/images\ninstance_master_path = {directory}/images\n"
        "[conductor]\nautomated_clean = false\n[service_catalog]\nauth_type = none\nendpoint_override = http://127.0.0.1\n"
    )
    if not (directory / "ironic.sqlite").exists():
        dbsync = [str(environment / "bin/ironic-dbsync"), "--config-file", str(settings), "create_schema"]
        subprocess.run(dbsync, check=True, capture_output=True, timeout=300)
    return [str(environment / "bin/ironic"), "--config-file", str(settings)], port


def measure(argv: list[str], port: int, *, nodes: int, settle_s: float) -> Figures:
    """Start, wait for the first answer, let it rest, stop."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
        try:
            found = None
            while found is None:
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"{argv[0]} ended by itself:\n{log.read().decode()[-3000:]}")
                pause(0.05)
                found = get_nodes(port)
            started_s = cpu_s(tree(process.pid))
            for number in range(found, nodes):
                create_node(port, number)
            pause(settle_s)
            pids = tree(process.pid)
            before = wakeups(pids)
            pause(5)
            figures = Figures(started_s, pss_mib(pids), threads(pids), (wakeups(pids) - before) / 5)
        finally:
            end(process)
    return figures


def environment(given: Path | None) -> Path:
    """An environment with Ironic 39.0.0."""
    found = given or ROOT / ".tox/ironic"
    if not (found / "bin/ironic").exists():
        venv.create(found, with_pip=True)
        subprocess.run([str(found / "bin/pip"), "install", "-q", "ironic==39.0.0"], check=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ironic", type=Path, help="an environment that holds ironic 39.0.0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--settle", type=float, default=20.0, help="seconds of idleness before memory is read")
    given = parser.parse_args()
    peer = environment(given.ironic)
    figures: dict[str, list[Figures]] = {"ironic_lite": [], "ironic 39.0.0": []}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        for turn in range(given.rounds + 1):
            for name, (argv, port) in {
                "ironic_lite": ours(Path(one)),
                "ironic 39.0.0": ironics(Path(two), peer),
            }.items():
                settle_s = given.settle if turn else 1.0
                found = measure(argv, port, nodes=given.nodes, settle_s=settle_s)
                if turn:  # the first start makes the nodes and fills the caches
                    figures[name].append(found)
                    print(
                        f"{name:14} round {turn}: {found.cpu_s:.2f} CPU-s to the first answer, PSS "
                        f"{found.pss_mib:.1f} MiB, {found.threads} threads, {found.wakeups_s:.1f} wake-ups/s"
                    )
    summary(figures)


def summary(figures: dict[str, list[Figures]]) -> None:
    """Medians, and the ratio of each to Ironic's in this run."""
    print(f"\n{'median':22}{'ironic_lite':>14}{'ironic 39.0.0':>16}{'ratio':>8}")
    for field in Figures._fields:
        mine, theirs = (statistics.median(getattr(one, field) for one in rounds) for rounds in figures.values())
        print(f"{field:22}{mine:14.2f}{theirs:16.2f}{mine / theirs:8.2f}")
    print("Goals: at most " + ", ".join(f"{name} {goal}" for name, goal in GOALS.items()) + " (cpu_s: the ratio).")


if __name__ == "__main__":
    main()
