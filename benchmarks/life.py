"""What a node's life costs: manage, provide, active, deleted on fake-hardware, beside Ironic 39.0.0 in the same run.

    python benchmarks/life.py [--ironic DIR_OF_A_VENV] [--nodes 40] [--rounds 3] [--delay 0]

Both all-in-ones run with auth none on SQLite, with the same delay of the fake deployment. Each round makes new nodes,
gives each verb to all of them at once, and looks at the list of nodes ten times a second until all have arrived. CPU
counts every process of the service, the answers to those looks included; the rounds alternate between the two.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from first_light import ROOT, environment, get_nodes, ironics, ours, pause
from processes import cpu_s, end, tree

LIFE = (("manage", "manageable"), ("provide", "available"), ("active", "active"), ("deleted", "available"))
LOOK_S = 0.1
PATIENCE_S = 600.0
VERSION = {"X-OpenStack-Ironic-API-Version": "1.80", "Content-Type": "application/json"}
GOAL = 1 / 20


class Figures(NamedTuple):
    """One round of one service: CPU of one node's life, and how many lives it led in a minute."""

    cpu_ms_a_node: float
    nodes_a_minute: float


class Client:
    """One connection to a service."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and document. What is refused for now (503, or 409 of a lock) is asked again."""
        for _attempt in range(600):
            self._connection.request(method, path, json.dumps(body) if body is not None else None, VERSION)
            answer = self._connection.getresponse()
            text = answer.read()
            if answer.status not in (409, 503):
                break
            pause(LOOK_S)
        if answer.status >= 400:
            raise SystemExit(f"{method} {path} answered {answer.status}: {text!r}")
        return answer.status, json.loads(text) if text else None

    def states(self) -> dict[str, str]:
        """The provision state of each node."""
        _, document = self.ask("GET", "/v1/nodes?fields=uuid,provision_state")
        return {node["uuid"]: node["provision_state"] for node in document["nodes"]}

    def close(self) -> None:
        self._connection.close()


def live(client: Client, count: int) -> None:
    """Lead so many new nodes through their life, and remove them."""
    made = [client.ask("POST", "/v1/nodes", {"driver": "fake-hardware"})[1]["uuid"] for _ in range(count)]
    for verb, arrived in LIFE:
        for uuid in made:
            client.ask("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": verb})
        began = time.monotonic()
        while any(state != arrived for state in client.states().values()):
            if time.monotonic() - began > PATIENCE_S:
                raise SystemExit(f"After {verb!r} the nodes are {client.states()}.")
            pause(LOOK_S)
    for uuid in made:
        client.ask("DELETE", f"/v1/nodes/{uuid}")


@contextmanager
def running(argv: list[str], port: int) -> Iterator[int]:
    """The service, and the process from which all others of it come."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
        try:
            while get_nodes(port) is None:
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"{argv[0]} ended by itself:\n{log.read().decode()[-3000:]}")
                pause(0.1)
            yield process.pid
        finally:
            end(process)


def measure(pid: int, port: int, count: int) -> Figures:
    """One round."""
    client = Client(port)
    before, began = cpu_s(tree(pid)), time.monotonic()
    live(client, count)
    took_s, used_s = time.monotonic() - began, cpu_s(tree(pid)) - before
    client.close()
    return Figures(1000 * used_s / count, 60 * count / took_s)


def with_delay(directory: Path, delay_s: str) -> None:
    """Add it to the configuration."""
    with (directory / "ironic.conf").open("a") as file:
        file.write(f"[fake]\ndeploy_delay = {delay_s}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ironic", type=Path, help="an environment that holds ironic 39.0.0")
    parser.add_argument("--nodes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", default="0", help="seconds of a fake deployment")
    given = parser.parse_args()
    peer = environment(given.ironic)
    figures: dict[str, list[Figures]] = {"ironic 39.0.0": [], "ironic_lite": []}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        theirs, mine = ironics(Path(one), peer), ours(Path(two))
        for directory in (one, two):
            with_delay(Path(directory), given.delay)
        with running(*theirs) as ironic, running(*mine) as lite:
            services = {"ironic 39.0.0": (ironic, theirs[1]), "ironic_lite": (lite, mine[1])}
            for pid, port in services.values():
                measure(pid, port, 5)  # warm
            for turn in range(1, given.rounds + 1):
                for name, (pid, port) in services.items():
                    found = measure(pid, port, given.nodes)
                    figures[name].append(found)
                    print(
                        f"{name:14} round {turn}: {found.cpu_ms_a_node:.1f} ms of CPU a node, "
                        f"{found.nodes_a_minute:.0f} nodes a minute"
                    )
    print(f"\n{'median':18}{'ironic 39.0.0':>16}{'ironic_lite':>14}{'ratio':>8}")
    for field in Figures._fields:
        their, our = (statistics.median(getattr(one, field) for one in rounds) for rounds in figures.values())
        print(f"{field:18}{their:16.1f}{our:14.1f}{our / their:8.3f}")
    print(f"Goal: {GOAL} of Ironic's CPU.")


if __name__ == "__main__":
    main()
