"""tooz's hash ring beside the coordination of the same package: what an import costs, and what a lookup does.

Each import is measured in fresh interpreters that have imported ironic_lite, which blocks eventlet: alone, and on top
of what each of our processes imports anyway.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from tooz.hashring import HashRing

from choices.figures import cpu_us, tell
from ironic_lite.clock import new_uuid

ROUNDS = 5
ANYWAY = ("ironic_lite.log", "ironic_lite.executors.taskpool", "ironic_lite.db.engine")
RING = "tooz.hashring"
COORDINATION = "tooz.coordination"
PROGRAM = """
import importlib, json, sys, time
import ironic_lite
for name in sys.argv[2:]:
    importlib.import_module(name)
def private_mib():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
before_s, before_mib = time.process_time(), private_mib()
importlib.import_module(sys.argv[1])
print(json.dumps([time.process_time() - before_s, private_mib() - before_mib]))
"""


def cost(module: str, *before: str) -> tuple[float, float]:
    """CPU milliseconds and MiB of private memory that importing the module adds after those before: medians."""
    found = [_added(module, *before) for _ in range(ROUNDS)]
    return statistics.median(cpu_s * 1000 for cpu_s, _ in found), statistics.median(mib for _, mib in found)


def _added(module: str, *before: str) -> tuple[float, float]:
    argv = [sys.executable, "-c", PROGRAM, module, *before]
    cpu_s, mib = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    return cpu_s, mib


def main() -> None:
    for where, before in {"alone": (), "in our processes": ANYWAY}.items():
        costs = {module: cost(module, *before) for module in (COORDINATION, RING)}
        tell(f"CPU ms of the import, {where}", {who: ms for who, (ms, _) in costs.items()}, baseline=COORDINATION)
        tell(
            f"private MiB of the import, {where}", {who: mib for who, (_, mib) in costs.items()}, baseline=COORDINATION
        )
    ring = HashRing([f"conductor-{number}" for number in range(4)], partitions=32)
    uuids = [new_uuid().encode() for _ in range(1000)]
    per_lookup_us = cpu_us(lambda: [ring.get_nodes(uuid) for uuid in uuids], 5) / len(uuids)
    tell("lookups in a CPU second, 4 conductors, 32 partitions", {RING: 1e6 / per_lookup_us}, baseline=RING)


if __name__ == "__main__":
    main()
