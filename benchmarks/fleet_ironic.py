"""Ironic 39.0.0, unmodified, on the fleet simulator: 100 machines enrolled, switched behind its back, and seen so.

    python benchmarks/fleet_ironic.py [--ironic DIR_OF_A_VENV] [--redfish 20] [--ipmi 80]

Ironic takes charge of every machine (`manage`), then every second front panel is pressed, and Ironic's power sync has
to find out. It is an interoperability test of the simulator, not a measurement of Ironic; most of the time on Redfish
is its hashing of the password for each request.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from first_light import environment, get_nodes, ironics, pause
from processes import end

sys.path.insert(0, str(Path(__file__).parents[1]))

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet

PATIENCE_S = 1800.0
SETTINGS = "\n[conductor]\nsync_power_state_interval = 15\nforce_power_state_during_sync = false\n"


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--ironic", type=Path, help="an environment that holds ironic 39.0.0")
    args.add_argument("--redfish", type=int, default=20)
    args.add_argument("--ipmi", type=int, default=80)
    given = args.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        fleet(given.redfish, ipmi_size=given.ipmi) as process,
        ironic(Path(directory), environment(given.ironic)) as port,
    ):
        for bmc in process.bmcs:
            enrol(port, bmc)
        timed("managed", port, lambda nodes: all(node["provision_state"] == "manageable" for node in nodes))
        timed("power known", port, lambda nodes: all(node["power_state"] == "power off" for node in nodes))
        pressed = [bmc.address for bmc in process.bmcs[::2]]
        process.order(bmcs=pressed, reset="PushPowerButton")
        timed("power seen again", port, lambda nodes: tells_truth(process, nodes))
        show_counts(process)


@contextmanager
def ironic(directory: Path, peer: Path) -> Iterator[int]:
    """Ironic's all-in-one for as long as the block runs: its port."""
    argv, port = ironics(directory, peer)
    settings = Path(argv[-1])
    settings.write_text(settings.read_text().replace("\n[conductor]\n", SETTINGS))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            while get_nodes(port) is None:
                assert process.poll() is None, "Ironic ended by itself."
                pause(0.2)
            yield port
        finally:
            end(process)


def ask(port: int, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"X-OpenStack-Ironic-API-Version": "1.80", "Content-Type": "application/json"}
    try:
        for _attempt in range(600):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status not in {409, 503}:  # locked, or no worker is free
                break
            pause(0.5)
        assert answer.status < 300, text
        return json.loads(text) if text else None
    finally:
        connection.close()


def enrol(port: int, bmc: Bmc) -> None:
    info: dict[str, object] = {"username": USERNAME, "password": PASSWORD}
    if bmc.protocol == "redfish":
        info |= {"address": bmc.url, "system_id": "/redfish/v1/Systems/1"}
    else:
        info |= {"address": bmc.address, "port": bmc.port, "cipher_suite": 17}
    node = {
        "name": bmc.serial,
        "driver": bmc.protocol,
        "driver_info": {f"{bmc.protocol}_{name}": value for name, value in info.items()},
        "extra": {"address": bmc.address},
    }
    found = ask(port, "POST", "/v1/nodes", node)
    ask(port, "PUT", f"/v1/nodes/{found['uuid']}/states/provision", {"target": "manage"})


def tells_truth(process: FleetProcess, nodes: list[dict[str, Any]]) -> bool:
    truth = process.rule("GET", "/power")["power"]
    return all(node["power_state"] == f"power {truth[node['extra']['address']].lower()}" for node in nodes)


def timed(what: str, port: int, done: Callable[[list[dict[str, Any]]], bool]) -> None:
    clock = SystemClock()
    begun_s, deadline = clock.monotonic(), Deadline(clock, PATIENCE_S)
    fields = "/v1/nodes?fields=provision_state,power_state,extra,last_error&limit=1000"
    while not done(nodes := ask(port, "GET", fields)["nodes"]):
        assert not deadline.passed(), [node for node in nodes if node["last_error"]][:3]
        pause(1.0)
    print(f"{len(nodes)} machines {what} after {clock.monotonic() - begun_s:.0f} s.", flush=True)


def show_counts(process: FleetProcess) -> None:
    told = process.rule("GET", "/report")
    counts = told["counts"]
    print(f"The fleet was asked {counts['total']} times over {counts['connections']} connections: {counts['requests']}")
    by = sorted({action["by"] for action in process.rule("GET", "/actions")["actions"]})
    print(f"Power was changed by {', '.join(by)} alone; the fleet took {told['process']['cpu_s']:.1f} CPU s.")


if __name__ == "__main__":
    main()
