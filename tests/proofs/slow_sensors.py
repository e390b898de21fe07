"""Some BMCs take very long for their sensors, from a cold start: nobody else waits, and what they told is kept.

    python tests/proofs/slow_sensors.py            # 1,000 BMCs, a tenth of them slow; some minutes
    python tests/proofs/slow_sensors.py --small    # 40 BMCs; counts alone

Two runs, each a whole conductor in an interpreter of its own with power sync and sensors on at once: all BMCs quick,
then a tenth that answer each request late, so that a collection takes longer than `[sensor_data]wait_timeout`. Compared
is how old the power states and the sensors of the quick ones get (99th percentile). Counted is that no collection was
repeated or overlapped, that each slow one tells something at last, in part if need be, and that none was given up. The
small size has the second run alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess  # noqa: TID251  # each run is a process of its own
import sys
import tempfile
import threading
from typing import Any, Final, NamedTuple

from ironic_lite.clock import SystemClock
from ironic_lite.conductor.context import Conductor
from ironic_lite.conductor.picture import Mode, Seen
from ironic_lite.conductor.process import ConductorService
from ironic_lite.conductor.reports import SensorReport
from tests.parts.conductor import machine, whole_conductor
from tests.parts.fleet import FleetProcess, fleet
from tests.waiting import until

CLOCK: Final = SystemClock()
SAMPLE_S: Final = 0.5
SHARE: Final = 10  # every tenth is slow
MOVES: Final = 1.10


class Size(NamedTuple):
    """How many, how slow, how often; seconds."""

    bmcs: int
    late_s: float
    sync_s: int
    sensors_s: int
    timeout_s: int
    rounds: int


FULL: Final = Size(bmcs=1000, late_s=5.0, sync_s=30, sensors_s=60, timeout_s=40, rounds=3)
SMALL: Final = Size(bmcs=40, late_s=0.7, sync_s=4, sensors_s=9, timeout_s=6, rounds=1)


def main() -> int:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--small", action="store_true")
    args.add_argument("--run", help=argparse.SUPPRESS)
    given = args.parse_args()
    size = SMALL if given.small else FULL
    if given.run:
        print(json.dumps(run(size, json.loads(given.run))))
        return 0
    quick = None if given.small else measured(size, given.small, late=False)
    return judge(quick, measured(size, given.small, late=True))


def measured(size: Size, small: bool, *, late: bool) -> dict[str, Any]:  # noqa: FBT001  # as the argument is
    """One run, and what its simulator counted of the slow ones."""
    with (
        tempfile.TemporaryDirectory() as directory,
        fleet(size.bmcs, latency="0.05", first_address="127.83.0.1") as bmcs,
    ):
        slow = bmcs.bmcs[::SHARE] if late else ()
        if slow:
            bmcs.order(bmcs=[bmc.address for bmc in slow], faults=[{"fault": "slow", "seconds": size.late_s}])
        what = {
            "directory": directory, "urls": [bmc.url for bmc in bmcs.bmcs], "slow": [bmc.url for bmc in slow],
        }  # fmt: skip
        argv = [sys.executable, __file__, "--run", json.dumps(what), *(["--small"] if small else [])]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=1800, check=True)
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told | {"collections": [collections(bmcs, url) for url in what["slow"]]}


def collections(bmcs: FleetProcess, url: str) -> int:
    """How often the BMC was asked for what a collection asks first."""
    bmc = next(one for one in bmcs.bmcs if one.url == url)
    counts: dict[str, int] = bmcs.rule("GET", f"/counts?address={bmc.address}")["requests"]
    return counts.get("GET thermal", 0)


def run(size: Size, what: dict[str, Any]) -> dict[str, Any]:
    """A conductor from its cold start, watched for some intervals."""
    logging.disable(logging.CRITICAL)
    conductor, service = start(size, what)
    slow = {url.removeprefix("http://") for url in what["slow"]}
    began = CLOCK.monotonic()
    every = until_placed(conductor, size)
    quick = [seen for seen in every if seen.view.way.address.removeprefix("http://") not in slow]
    late = [seen for seen in every if seen.view.way.address.removeprefix("http://") in slow]
    until(lambda: all(conductor.sensors.latest(seen.view.uuid) for seen in quick), 10 * size.sensors_s)
    power: list[float] = []
    sensors: list[float] = []
    partial: set[str] = set()
    end = CLOCK.monotonic() + size.rounds * size.sensors_s
    while CLOCK.monotonic() < end:
        now, time = CLOCK.monotonic(), CLOCK.now()
        power += [now - seen.at for seen in quick if seen.at is not None]
        reports = [conductor.sensors.latest(seen.view.uuid) for seen in quick]
        sensors += [(time - report.collected_at).total_seconds() for report in reports if report]
        told = told_by(conductor, late)
        partial |= {uuid for uuid, report in told.items() if report and report.missing}
        threading.Event().wait(SAMPLE_S)
    until(lambda: all(told_by(conductor, late).values()), 4 * size.sensors_s)
    figures = {
        "power_p99_s": p99(power), "sensors_p99_s": p99(sensors), "slow": len(late), "partial": len(partial),
        "turns": (CLOCK.monotonic() - began) / size.sensors_s,
        "synced": sum(seen.view.mode is Mode.SYNC and seen.at is not None for seen in late),
    }  # fmt: skip
    service.stop()
    return figures


def told_by(conductor: Conductor, some: list[Seen]) -> dict[str, SensorReport | None]:
    """What each of them told last."""
    return {seen.view.uuid: conductor.sensors.latest(seen.view.uuid) for seen in some}


def start(size: Size, what: dict[str, Any]) -> tuple[Conductor, ConductorService]:
    settings = {
        "conductor": {
            "sync_power_state_interval": size.sync_s, "metrics_port": 0, "force_power_state_during_sync": False,
        },
        "sensor_data": {"send_sensor_data": True, "interval": size.sensors_s, "wait_timeout": size.timeout_s},
    }  # fmt: skip
    rows = [machine(f"node-{number}", url) for number, url in enumerate(what["urls"])]
    return whole_conductor(what["directory"], settings, rows)


def until_placed(conductor: Conductor, size: Size) -> list[Seen]:
    until(lambda: len(conductor.freshness.every()) == size.bmcs, 120)
    return conductor.freshness.every()


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def judge(quick: dict[str, Any] | None, slow: dict[str, Any]) -> int:
    """Tell everything; 0 if all of it is kept."""
    kept = True
    for what in ("power_p99_s", "sensors_p99_s"):
        if quick is not None:
            ratio = slow[what] / quick[what]
            print(f"{what}: {quick[what]:.1f} s alone, {slow[what]:.1f} s beside slow BMCs: x {ratio:.3f}")
            kept &= ratio < MOVES
    most = slow["collections"]
    print(f"slow BMCs: {slow['slow']}, of which {slow['partial']} told a part; power known: {slow['synced']}")
    print(f"collections begun, by slow BMC: {min(most)} to {max(most)} in {slow['turns']:.2f} intervals")
    kept &= slow["synced"] == slow["slow"] and (quick is None or slow["partial"] > 0)
    kept &= 1 <= min(most) <= max(most) <= slow["turns"] + 1
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
