"""What the fleet simulator's own CPU allows, so that it is not what a poller is measured by.

    python benchmarks/fleet.py [--size 5000]

The fleet runs in a process of its own; CPU is the fleet's alone. Rates are those of one client process beside it on the
same machine, which is the slower of the two.
"""

from __future__ import annotations

import argparse
import resource
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ironic_lite.clock import SystemClock
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.fleet_load import IpmiLoad, RedfishLoad

PATIENCE_S = 300.0


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--size", type=int, default=5000)
    args.add_argument("--rounds", type=int, default=5)
    given = args.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{given.size} BMCs, each polled {given.rounds} times:")
    print(f"{'what':<44}{'a second':>10}{'fleet CPU, ms each':>20}")
    with fleet(given.size) as process:
        measure_redfish(process, given.rounds, "HTTP", None)
    with tempfile.TemporaryDirectory() as directory:
        ca_file = Path(directory) / "ca.pem"
        with fleet(given.size, tls=ca_file) as process:
            measure_redfish(process, given.rounds, "HTTPS", ssl.create_default_context(cafile=str(ca_file)))
    with fleet(0, ipmi_size=given.size) as process:
        measure_ipmi(process, given.rounds)


def measure_redfish(process: FleetProcess, rounds: int, name: str, context: ssl.SSLContext | None) -> None:
    bmcs, load = process.bmcs, RedfishLoad(USERNAME, PASSWORD, context)
    print(f"{name}: {memory_mib(process):.0f} MiB without a connection")
    show(process, f"{name}: connections made", len(bmcs), lambda: load.connect(bmcs, PATIENCE_S))
    load.poll(bmcs, PATIENCE_S)  # makes the documents
    show(process, f"{name}: GET of the system, kept", len(bmcs) * rounds, lambda: repeat(rounds, load, process))
    print(f"{name}: {memory_mib(process):.0f} MiB with {len(bmcs)} connections")
    load.close()


def measure_ipmi(process: FleetProcess, rounds: int) -> None:
    load = IpmiLoad(USERNAME, PASSWORD)
    print(f"IPMI: {memory_mib(process):.0f} MiB")
    what = "IPMI: chassis status, a session each, suite 17"
    show(process, what, len(process.bmcs) * rounds, lambda: repeat(rounds, load, process))


def repeat(rounds: int, load: RedfishLoad | IpmiLoad, process: FleetProcess) -> None:
    for _ in range(rounds):
        result = load.poll(process.bmcs, PATIENCE_S)
        assert len(result.power) == len(process.bmcs), result.errors


def show(process: FleetProcess, what: str, count: int, work: Callable[[], object]) -> None:
    clock = SystemClock()
    cpu_s, begun_s = spent_s(process), clock.monotonic()
    work()
    wall_s, cpu_s = clock.monotonic() - begun_s, spent_s(process) - cpu_s
    print(f"{what:<44}{count / wall_s:>10.0f}{cpu_s / count * 1e3:>20.3f}", flush=True)


def spent_s(process: FleetProcess) -> float:
    return float(process.rule("GET", "/report")["process"]["cpu_s"])


def memory_mib(process: FleetProcess) -> float:
    return float(process.rule("GET", "/report")["process"]["rss_kib"]) / 1024


if __name__ == "__main__":
    main()
