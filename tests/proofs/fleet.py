"""The proof of the fleet simulator: many BMCs of both kinds, polled and switched, under every fault, and counted right.

    python -m tests.proofs.fleet --size 7000 --ipmi-size 3000 --own-listeners 1000 --seed 1 [--tls]

It ends with an error at the first thing that is not as it must be, and tells what it cost.
"""

from __future__ import annotations

import argparse
import os
import resource
import ssl
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251  # the type
from typing import Any

from ironic_lite.clock import SystemClock, seeded
from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.fleet_load import IpmiLoad, RedfishLoad, Result
from tests.parts.rmcp import POWER_ON

PATIENCE_S = 120.0
SILENCE_S = 0.5
GONE = {"ConnectionResetError", "BrokenPipeError", "SSLEOFError", "SSLZeroReturnError"}

# What a poll of a BMC with that fault ends with, at a Redfish one and at an IPMI one; empty: with its power.
ENDS: dict[str, tuple[set[str], set[str]]] = {
    "hang": ({"TimeoutError"}, {"TimeoutError"}),
    "blackhole": ({"TimeoutError"}, {"TimeoutError"}),
    "refuse": (GONE, {"TimeoutError"}),
    "503": ({"503"}, {"0xc0"}),
    "500": ({"500"}, {"0xff"}),
    "401": ({"401"}, {"LoginError"}),
    "garbage": ({"garbage"}, {"MalformedError"}),
    "truncated": (GONE, {"MalformedError"}),
    "slow": (set(), set()),
}


@dataclass(frozen=True)
class Sizes:
    """How much is proven."""

    redfish: int
    ipmi: int
    own_listeners: int = 0
    polls: int = 3
    tls: bool = False


@dataclass
class Stage:
    """The fleet and its two clients."""

    process: FleetProcess
    redfish: list[Bmc]
    ipmi: list[Bmc]
    rng: Random
    redfish_load: RedfishLoad
    ipmi_load: IpmiLoad
    tell: Callable[[str], None]

    def poll(self, bmcs: Sequence[Bmc], timeout_s: float = PATIENCE_S) -> Result:
        """Poll these, those of each kind at the same time."""
        first = self.redfish_load.poll([bmc for bmc in bmcs if bmc.protocol == "redfish"], timeout_s)
        second = self.ipmi_load.poll([bmc for bmc in bmcs if bmc.protocol == "ipmi"], timeout_s)
        return Result(first.power | second.power, first.errors | second.errors)

    def report(self) -> dict[str, Any]:
        """What the fleet tells of itself."""
        told: dict[str, Any] = self.process.rule("GET", "/report")
        return told


def prove(sizes: Sizes, seed: int, tell: Callable[[str], None] = lambda _line: None) -> None:
    """Raises `AssertionError` at the first thing that is not as it must be."""
    with tempfile.TemporaryDirectory() as directory:
        ca_file = Path(directory) / "ca.pem"
        options = {"ipmi_size": sizes.ipmi, "own_listeners": sizes.own_listeners, "seed": seed}
        clock = SystemClock()
        begun_s = clock.monotonic()
        with fleet(sizes.redfish, **options, **({"tls": ca_file} if sizes.tls else {})) as process:
            tell(f"{len(process.bmcs)} BMCs started in {clock.monotonic() - begun_s:.1f} s.")
            context = ssl.create_default_context(cafile=str(ca_file)) if sizes.tls else None
            load = RedfishLoad(USERNAME, PASSWORD, context)
            redfish, ipmi = process.bmcs[: sizes.redfish], process.bmcs[sizes.redfish :]
            rng = seeded(f"proof {seed}")
            stage = Stage(process, [*redfish], [*ipmi], rng, load, IpmiLoad(USERNAME, PASSWORD), tell)
            try:
                _prove_all(stage, sizes)
            finally:
                load.close()


def _prove_all(stage: Stage, sizes: Sizes) -> None:
    every = [*stage.redfish, *stage.ipmi]
    assert stage.redfish_load.connect(stage.redfish, PATIENCE_S) == {}
    _prove_counts(stage, every, sizes)
    _prove_power(stage, every)
    _prove_faults(stage, every)
    _prove_recovery(stage, every)
    process = stage.report()["process"]
    stage.tell(f"The fleet: {process['rss_kib'] / 1024:.0f} MiB, {process['descriptors']} descriptors.")


def _prove_counts(stage: Stage, every: Sequence[Bmc], sizes: Sizes) -> None:
    """Each is polled so many times, and has counted exactly that."""
    for bmcs in (stage.redfish, stage.ipmi):
        _measure(stage, bmcs, sizes.polls)
    counts = stage.report()["counts"]
    assert counts["requests"]["GET system"] == len(stage.redfish) * sizes.polls
    assert counts["requests"]["chassis-status"] == len(stage.ipmi) * sizes.polls
    assert counts["connections"] == counts["connected"] == len(stage.redfish)
    assert counts["handshakes"] == (len(stage.redfish) if sizes.tls else 0)
    assert counts["logins"] == len(stage.ipmi) * sizes.polls
    most = {name: counts[name] for name in ("connected_max", "in_flight_max", "sessions_max", "pipelined", "sessions")}
    assert most == {"connected_max": 1, "in_flight_max": 1, "sessions_max": 1, "pipelined": 0, "sessions": 0}
    one = stage.process.rule("GET", f"/counts?address={stage.rng.choice(every).address}")
    assert one["requests"].get("GET system", one["requests"].get("chassis-status")) == sizes.polls


def _measure(stage: Stage, bmcs: Sequence[Bmc], polls: int) -> None:
    clock = SystemClock()
    before_s, begun_s = stage.report()["process"]["cpu_s"], clock.monotonic()
    for _ in range(polls):
        result = stage.poll(bmcs)
        assert set(result.power.values()) <= {"Off"}
        assert len(result.power) == len(bmcs), result.errors
    wall_s, cpu_s = clock.monotonic() - begun_s, stage.report()["process"]["cpu_s"] - before_s
    done = len(bmcs) * polls
    stage.tell(
        f"{done} polls ({bmcs[0].protocol}): {done / wall_s:.0f} a second with their client, "
        f"{cpu_s / done * 1e3:.3f} ms of the fleet's CPU each."
    )


def _prove_power(stage: Stage, every: Sequence[Bmc]) -> None:
    """A part goes on by the front panel, some over the network; all tell the truth, and the ledgers tell who did it."""
    pressed = stage.rng.sample(every, len(every) // 3)
    assert stage.process.order(bmcs=[bmc.address for bmc in pressed], reset="PushPowerButton") == len(pressed)
    others = [bmc for bmc in stage.ipmi if bmc not in set(pressed)][: len(stage.ipmi) // 3]
    assert stage.ipmi_load.poll(others, PATIENCE_S, POWER_ON).errors == {}
    on = {bmc.address for bmc in (*pressed, *others)}
    told = stage.poll(every).power
    assert {address for address, power in told.items() if power == "On"} == on
    assert told == stage.process.rule("GET", "/power")["power"]
    actions = stage.process.rule("GET", "/actions")
    assert actions["total"] == len(actions["actions"]) == len(on)
    by = {(one["address"], one["by"], one["before"]) for one in actions["actions"]}
    assert by == {(bmc.address, "front-panel", "Off") for bmc in pressed} | {
        (bmc.address, "ipmi", "Off") for bmc in others
    }
    stage.tell(f"{len(on)} machines switched on, each once in its ledger.")


def _prove_faults(stage: Stage, every: Sequence[Bmc]) -> None:
    """Each fault on some of either kind shows as it must there, and nowhere else."""
    shuffled = stage.rng.sample(every, len(every))
    part = len(every) // (2 * len(ENDS))
    faulty = {fault: shuffled[index * part : (index + 1) * part] for index, fault in enumerate(ENDS)}
    healthy = shuffled[len(ENDS) * part :]
    for fault, bmcs in faulty.items():
        step = {"fault": fault} | ({"seconds": 0.1} if fault == "slow" else {})
        assert stage.process.order(bmcs=[bmc.address for bmc in bmcs], faults=[step]) == len(bmcs)
    result = stage.poll(healthy)
    assert result.errors == {}
    silent = {fault for fault in ENDS if "TimeoutError" in ENDS[fault][0] | ENDS[fault][1]}
    _prove_ends(stage, {fault: bmcs for fault, bmcs in faulty.items() if fault in silent}, SILENCE_S)
    _prove_ends(stage, {fault: bmcs for fault, bmcs in faulty.items() if fault not in silent}, PATIENCE_S)
    assert stage.report()["faulty"] == dict.fromkeys(ENDS, part)
    stage.tell(f"{len(ENDS)} faults, each on {part} BMCs, showed there and nowhere else.")


def _prove_ends(stage: Stage, faulty: dict[str, list[Bmc]], timeout_s: float) -> None:
    result = stage.poll([bmc for bmcs in faulty.values() for bmc in bmcs], timeout_s)
    for fault, bmcs in faulty.items():
        for bmc in bmcs:
            ends, error = ENDS[fault][bmc.protocol == "ipmi"], result.errors.get(bmc.address)
            assert error in ends if ends else bmc.address in result.power, (fault, bmc, error)


def _prove_recovery(stage: Stage, every: Sequence[Bmc]) -> None:
    """When the faults end all answer again, over the connection that was kept or over a new one."""
    assert stage.process.order(faults=[]) == len(every)
    assert stage.redfish_load.connect(stage.redfish, PATIENCE_S) == {}
    result = stage.poll(every)
    assert result.power == stage.process.rule("GET", "/power")["power"], result.errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove it in full."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--size", type=int, default=7000)
    args.add_argument("--ipmi-size", type=int, default=3000)
    args.add_argument("--own-listeners", type=int, default=1000)
    args.add_argument("--polls", type=int, default=5)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--tls", action="store_true")
    given = args.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sizes = Sizes(given.size, given.ipmi_size, given.own_listeners, given.polls, given.tls)
    prove(sizes, given.seed, lambda line: print(line, flush=True))
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"Proven with seed {given.seed} on {os.cpu_count()} CPUs; the client took {own.ru_utime + own.ru_stime:.1f} s."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
