"""Many nodes deployed and torn down at the same time, with few threads.

    python tests/proofs/lives.py [--small]

All nodes get each verb at once and a deployment takes some seconds; the conductor has a tenth as many workers as there
are nodes. Every node must be active, and then available again, no lock may be left, and the conductor never have more
threads than its workers and the few that it always has.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from ironic_lite.clock import SystemClock
from tests.parts.service import Service, service
from tests.waiting import until

CLOCK: Final = SystemClock()
ALWAYS: Final = 20  # threads of a conductor beside its workers: JSON-RPC, agenda, I/O loop, SQLite
PATIENCE_S: Final = 300.0


class Sizes(msgspec.Struct, frozen=True):
    """How many nodes, with how many workers."""

    nodes: int
    workers: int


SMALL: Final = Sizes(nodes=20, workers=8)
FULL: Final = Sizes(nodes=200, workers=20)


def threads(pid: int) -> int:
    """How many the process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def give(running: Service, uuids: list[str], target: str) -> int:
    """Give the verb to all, asking again whoever is told 503; how often one was."""
    refused = 0
    for uuid in uuids:

        def taken(uuid: str = uuid) -> bool:
            nonlocal refused
            status, _, document = running.request("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": target})
            assert status in (202, 503), (status, document)
            refused += status == 503
            return status == 202

        until(taken, 60)
    return refused


def arrive(running: Service, state: str, pid: int) -> int:
    """Wait until all nodes are in that state and free; the most threads that were seen meanwhile."""
    most = 0

    def arrived() -> bool:
        nonlocal most
        most = max(most, threads(pid))
        rows: list[Any] = running.get("/v1/nodes?fields=provision_state,reservation,last_error")["nodes"]
        assert not [row for row in rows if row["provision_state"].endswith("failed")], rows
        return all((row["provision_state"], row["reservation"]) == (state, None) for row in rows)

    until(arrived, PATIENCE_S)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    sizes, began = SMALL if parser.parse_args().small else FULL, CLOCK.monotonic()
    options: dict[str, Any] = {
        "DEFAULT": {"debug": False},
        "fake": {"deploy_delay": "2,4"},
        "conductor": {
            "workers_pool_size": sizes.workers,
            "max_concurrent_clean": sizes.nodes,
            "sync_power_state_interval": 0,
            "metrics_port": 0,
        },
    }
    with tempfile.TemporaryDirectory() as directory, service(Path(directory), **options) as running:
        pid = running.pids()["conductor"]
        uuids = [running.create(f"node-{number}") for number in range(sizes.nodes)]
        refused, most = 0, threads(pid)
        for verb, state in (("manage", "manageable"), ("provide", "available"), ("active", "active"),
                            ("deleted", "available")):  # fmt: skip
            refused += give(running, uuids, verb)
            most = max(most, arrive(running, state, pid))
    bound = sizes.workers + ALWAYS
    assert most <= bound, f"{most} threads were seen, more than {bound}."
    took_s = CLOCK.monotonic() - began
    print(
        f"{sizes.nodes} nodes through their life with {sizes.workers} workers in {took_s:.0f} s: at most {most} threads"
    )
    print(f"{refused} requests were told 503 and asked again")


if __name__ == "__main__":
    main()
