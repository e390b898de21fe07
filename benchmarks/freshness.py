"""What it costs a whole conductor to keep the power of a fleet fresh: CPU, memory, lateness.

    python benchmarks/freshness.py                        # 1,000 BMCs, both engines, some minutes
    python benchmarks/freshness.py --bmcs 10000 --latency 1 --engines coroutines --tls --dead 0.05 --fault hang

The BMCs are `python -m ironic_lite.fleet` in a process of its own. Each row is a conductor in an interpreter of its
own, on SQLite: JSON-RPC, heartbeats, pool, agenda and all. Four phases: cold (from the start until every BMC has
answered), burst (somebody wants to know all at once, in sweeps), paced (turns as the interval has them), and, with
`--dead`, paced again when that share of the BMCs has died by the fault. CPU is of the conductor's process alone, and
per answer; `freshness` is how old the power states of healthy nodes are, sampled twice a second.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from ironic_lite.conductor.context import Conductor
from tests.parts.conductor import machine, whole_conductor
from tests.parts.fleet import FleetProcess, fleet

SYSTEM = "/redfish/v1/Systems/1"
SWEEPS = 5
SAMPLE_S = 0.5
PATIENCE_S = 600.0
NEVER = 10**6
COLUMNS = (
    ("cold_s", "cold start, s", "{:.1f}"), ("cold_cpu_s", "its CPU, s", "{:.1f}"), ("kib", "KiB per BMC", "{:.1f}"),
    ("kib_later", "after the bursts and a minute", "{:.1f}"),
    ("burst_s", "burst, s", "{:.1f}"), ("burst_ms", "CPU ms per answer", "{:.3f}"),
    ("paced_ms", "paced, CPU ms per answer", "{:.3f}"), ("paced_core", "% of a core", "{:.2f}"),
    ("lag_ms", "start lag p99, ms", "{:.0f}"), ("fresh_s", "freshness p99, s", "{:.1f}"),
    ("fresh_dead_s", "with dead ones, s", "{:.1f}"), ("lag_dead_ms", "lag p99 then, ms", "{:.0f}"),
)  # fmt: skip


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--bmcs", type=int, default=1000)
    args.add_argument("--latency", default="0.2", help="of each answer, as the fleet takes it")
    args.add_argument("--interval", type=int, default=60)
    args.add_argument("--paced", type=float, default=60.0, help="seconds that the paced phases last")
    args.add_argument("--engines", default="coroutines,threads")
    args.add_argument("--workers", type=int, default=100, help="sync_power_state_workers, for the threads")
    args.add_argument("--tls", action="store_true")
    args.add_argument("--dead", type=float, default=0.0, help="share of the BMCs that dies")
    args.add_argument("--fault", default="hang", help="by what")
    args.add_argument("--one", help=argparse.SUPPRESS)
    given = args.parse_args()
    if given.one:
        measure(given, json.loads(given.one))
        return
    rows = []
    for engine in given.engines.split(","):
        with tempfile.TemporaryDirectory() as directory:
            ca = Path(directory) / "ca.pem"
            more = {"tls": ca} if given.tls else {}
            with fleet(given.bmcs, latency=given.latency, first_address="127.81.0.1", **more) as process:
                rows.append((engine, one(given, engine, process, Path(directory), ca if given.tls else None)))
    show(given, rows)


def one(given: argparse.Namespace, engine: str, process: FleetProcess, directory: Path, ca: Path | None) -> Any:
    """A row, from an interpreter of its own; what the dead ones die of comes from here."""
    what = {
        "engine": engine, "directory": str(directory), "ca": str(ca) if ca else None, "control": process.control,
        "bmcs": [[bmc.address, bmc.url] for bmc in process.bmcs],
    }  # fmt: skip
    spec = directory / "spec.json"
    spec.write_text(json.dumps(what))
    argv = [sys.executable, __file__, *sys.argv[1:], "--one", json.dumps(str(spec))]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    for line in child.stdout:
        told = json.loads(line)
        if "row" in told:
            child.wait(60)
            return told["row"]
        dead = [bmc.address for bmc in process.bmcs[:: max(1, round(1 / given.dead))]]
        process.order(bmcs=dead, faults=[{"fault": given.fault}])
        child.stdin.write(json.dumps(dead) + "\n")
        child.stdin.flush()
    raise SystemExit(f"The measuring process ended with {child.wait()}.")


def measure(given: argparse.Namespace, spec: str) -> None:
    """In the interpreter of the row."""
    what = json.loads(Path(spec).read_text())
    logging.disable(logging.CRITICAL)  # hundreds of BMCs die
    conductor, stop = start(given, what)
    before_kib = rss_kib()
    row = cold(given, conductor)
    row |= burst(conductor)
    row |= paced(given, conductor, ())
    row |= {"kib_later": (rss_kib() - before_kib) / given.bmcs}
    if given.dead:
        print(json.dumps({"die": given.dead}), flush=True)
        dead = json.loads(sys.stdin.readline())
        settle(given, conductor)
        after = paced(given, conductor, tuple(dead))
        row |= {"fresh_dead_s": after["fresh_s"], "lag_dead_ms": after["lag_ms"]}
    print(json.dumps({"row": row}), flush=True)
    stop()


def start(given: argparse.Namespace, what: Any) -> tuple[Conductor, Callable[[], None]]:
    """The conductor, with every node in its database; its clock of the cold start begins here."""
    settings = {
        "poll_engine": what["engine"], "sync_power_state_interval": given.interval, "metrics_port": 0,
        "sync_power_state_workers": given.workers, "periodic_max_workers": given.workers,
        "force_power_state_during_sync": False,
    }  # fmt: skip
    info = {"redfish_system_id": SYSTEM, "redfish_verify_ca": what["ca"] or True}
    rows = [machine(f"node-{number}", url, **info) for number, (_, url) in enumerate(what["bmcs"])]
    conductor, service = whole_conductor(what["directory"], {"conductor": settings}, rows)
    return conductor, service.stop


def answers(conductor: Conductor) -> int:
    return conductor.freshness._outcomes["answered"]  # noqa: SLF001  # an overview would cost what is measured


def _answered(conductor: Conductor, wanted: int) -> bool:
    return answers(conductor) >= wanted


def wait(until: Callable[[], bool], pause_s: float = 0.05) -> None:
    end = time.monotonic() + PATIENCE_S
    while not until():
        if time.monotonic() > end:
            raise SystemExit("It takes too long.")
        threading.Event().wait(pause_s)


def rss_kib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


def cold(given: argparse.Namespace, conductor: Conductor) -> dict[str, float]:
    before_kib, began, cpu = rss_kib(), time.monotonic(), time.process_time()

    def all_seen() -> bool:
        now = conductor.freshness.overview()
        return now.synced == given.bmcs and now.unseen == 0

    wait(all_seen, 0.2)
    row = {"cold_s": time.monotonic() - began, "cold_cpu_s": time.process_time() - cpu}
    wait(lambda: conductor.freshness.overview().unwritten == 0 and conductor.pool.stats().busy == 0)
    gc.collect()
    return row | {"kib": (rss_kib() - before_kib) / given.bmcs}


def burst(conductor: Conductor) -> dict[str, float]:
    """All at once, several times; the median."""
    walls, costs = [], []
    for _ in range(SWEEPS):
        uuids, before = [seen.view.uuid for seen in conductor.freshness.every()], answers(conductor)
        began, cpu = time.monotonic(), time.process_time()
        for uuid in uuids:
            conductor.freshness.look(uuid, 0.0)
        wanted = before + len(uuids)
        wait(functools.partial(_answered, conductor, wanted), 0.02)
        walls.append(time.monotonic() - began)
        costs.append((time.process_time() - cpu) * 1e3 / len(uuids))
    return {"burst_s": sorted(walls)[SWEEPS // 2], "burst_ms": sorted(costs)[SWEEPS // 2]}


def settle(given: argparse.Namespace, conductor: Conductor) -> None:
    """Until the breakers of the dead ones are open, or for some intervals."""
    wanted = round(given.dead * given.bmcs)
    wait(lambda: conductor.freshness.overview().open_breakers >= wanted * 0.95, 1.0)


def paced(given: argparse.Namespace, conductor: Conductor, dead: tuple[str, ...]) -> dict[str, float]:
    """Turns as they come, for a while."""
    healthy = [seen for seen in conductor.freshness.every() if urlsplit(seen.view.way.address).hostname not in dead]
    before, began, cpu = answers(conductor), time.monotonic(), time.process_time()
    ages: list[float] = []
    sampling = 0.0
    while time.monotonic() < began + given.paced:
        at = time.process_time()
        now = time.monotonic()
        ages.extend(now - seen.at for seen in healthy if seen.at is not None)
        sampling += time.process_time() - at
        threading.Event().wait(SAMPLE_S)
    spent, wall = time.process_time() - cpu - sampling, time.monotonic() - began
    lanes = {lane.name: lane for lane in conductor.freshness.lanes()}
    lag = max(lanes["coroutines"].lag_p99_s, lanes["threads"].lag_p99_s)
    ages.sort()
    return {
        "paced_ms": spent * 1e3 / max(1, answers(conductor) - before), "paced_core": 100 * spent / wall,
        "lag_ms": lag * 1e3, "fresh_s": ages[int(len(ages) * 0.99)],
    }  # fmt: skip


def show(given: argparse.Namespace, rows: list[tuple[str, Any]]) -> None:
    kind = "TLS" if given.tls else "plain"
    print(f"\n{given.bmcs} BMCs, {kind}, {given.latency} s an answer, interval {given.interval} s", end="")
    print(f", {given.dead:.0%} dead by {given.fault}" if given.dead else "")
    print("|  |" + "".join(f" {engine} |" for engine, _ in rows) + ("  ratio |" if len(rows) > 1 else ""))
    print("|---|" + "---|" * (len(rows) + (len(rows) > 1)))
    for key, title, form in COLUMNS:
        values = [row.get(key) for _, row in rows]
        if None not in values:
            ratio = f" {values[-1] / values[0]:.1f} |" if len(rows) > 1 and values[0] else ""
            print(f"| {title} |" + "".join(f" {form.format(value)} |" for value in values) + ratio)


if __name__ == "__main__":
    main()
