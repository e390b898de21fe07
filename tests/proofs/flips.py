"""Machines whose power is switched at their front panels, at random and under faults, and what the service makes of it.

    python tests/proofs/flips.py [--small] [--seed N] [--engine coroutines|threads] [--forces]

Round by round some machines are switched, and some BMCs of one half get a fault, which stays for some rounds. What is
switched in the other half must be recorded within two intervals (and the second look); when all faults have ended, all
nodes must leave maintenance by themselves, and then every state be right as soon. Meanwhile the service presses
nothing: the machines' own ledgers tell of the front panel alone. No BMC ever has two requests or connections of ours
at a time; a second session it may have, as a fault may swallow the answer to a log-in.

With --forces it is the other way around: what is switched off is brought back, but never a machine whose power was not
known; those are a part of the fleet from the start.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random  # noqa: TID251  # seeded, for a workload
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ironic_lite.clock import SystemClock
from ironic_lite.db import migrate
from ironic_lite.db.engine import Database
from ironic_lite.db.tables import nodes
from ironic_lite.fleet.server import Bmc
from tests.builders import a_row
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.service import service

CLOCK: Final = SystemClock()
RECORDS: Final = {"On": "power on", "Off": "power off"}
QUICK: Final = ("500", "503", "garbage", "truncated", "refuse")
SLOW: Final = ("hang", "blackhole", "drip", "401")
DEBOUNCE_S: Final = 1
PATIENCE_S: Final = 900.0  # a breaker that is open pauses for up to ten minutes
UNKNOWN_PART: Final = 5  # of the fleet that is to be brought back, one in so many has no power recorded
LOOK_S: Final = 0.25


class Sizes(msgspec.Struct, frozen=True):
    """How much is proven. `strict`: two intervals are a bound, and not only waited for."""

    bmcs: int
    rounds: int
    flips: int
    interval_s: int
    faults: Sequence[str]
    strict: bool


SMALL: Final = Sizes(bmcs=40, rounds=3, flips=20, interval_s=2, faults=QUICK, strict=False)
FULL: Final = Sizes(bmcs=1000, rounds=20, flips=480, interval_s=10, faults=QUICK + SLOW, strict=True)


class Scene:
    """The fleet, the database of the service that asks it, and who has a fault until which round."""

    def __init__(self, process: FleetProcess, database: Database, sizes: Sizes, rng: Random) -> None:
        self.process, self.database, self.sizes, self.rng = process, database, sizes, rng
        self.addresses = [bmc.address for bmc in process.bmcs]
        self.prone = rng.sample(self.addresses, len(self.addresses) // 2)  # faults are theirs alone
        self.faulty: dict[str, int] = {}
        self.flipped = 0
        self.slowest_s = 0.0

    def recorded(self) -> dict[str, tuple[str | None, bool]]:
        """Power and maintenance of each node, by the address of its BMC."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(nodes.c.name, nodes.c.power_state, nodes.c.maintenance))
            return {address_of(row.name): (row.power_state, row.maintenance) for row in rows}

    def wrong(self, among: Iterable[str]) -> set[str]:
        """Of these the ones whose record is not what is true."""
        truth, known = self.process.rule("GET", "/power")["power"], self.recorded()
        return {address for address in among if known[address] != (RECORDS[truth[address]], False)}

    def press(self, addresses: Sequence[str]) -> None:
        """Press power buttons."""
        assert self.process.order(bmcs=list(addresses), reset="PushPowerButton") == len(addresses)
        self.flipped += len(addresses)

    def becomes_right(self, among: Sequence[str], *, strict: bool) -> None:
        """Wait until all these are recorded as they are."""
        bound_s, began, never = 2 * self.sizes.interval_s + DEBOUNCE_S, CLOCK.monotonic(), threading.Event()
        while wrong := self.wrong(among):
            assert CLOCK.monotonic() - began < PATIENCE_S, f"{len(wrong)} are wrong: {sorted(wrong)[:5]}"
            never.wait(LOOK_S)
        took_s = CLOCK.monotonic() - began
        if strict:
            self.slowest_s = max(self.slowest_s, took_s)
            assert not self.sizes.strict or took_s < bound_s, f"It took {took_s:.1f} s."

    def change_faults(self, number: int) -> None:
        """Mend those whose time is over, and break some others."""
        if mended := [address for address, until in self.faulty.items() if until <= number]:
            self.process.order(bmcs=mended, faults=[])
        self.faulty = {address: until for address, until in self.faulty.items() if until > number}
        broken = self.rng.sample(self.prone, len(self.prone) // 10)
        for address in [one for one in broken if one not in self.faulty]:
            self.faulty[address] = number + self.rng.randint(1, 3)
            self.process.order(bmcs=address, faults=[{"fault": self.rng.choice(self.sizes.faults)}])


def address_of(name: str) -> str:
    """The address of the BMC of the node with that name."""
    return name.removeprefix("at-").replace("-", ".")


def enrol(directory: Path, bmcs: Iterable[Bmc], power: dict[str, str | None]) -> Database:
    """A database in which each BMC has a node, for a service that is to be started there."""
    url = sa.URL.create("sqlite", database=str(directory / "ironic.sqlite"))
    migrate.upgrade(url)
    database = Database(url)
    account = {"redfish_username": USERNAME, "redfish_password": PASSWORD}
    system = {"redfish_system_id": "/redfish/v1/Systems/1"}
    with database.write() as connection:
        for bmc in bmcs:
            row = a_row(
                name=f"at-{bmc.address.replace('.', '-')}", driver="redfish", power_interface="redfish",
                management_interface="redfish", provision_state="active", power_state=power[bmc.address],
                driver_info={"redfish_address": bmc.url, **account, **system},
            )  # fmt: skip
            connection.execute(sa.insert(nodes).values(created_at=sa.func.current_timestamp(), revision=0, **row))
    return database


def options(sizes: Sizes, engine: str, *, forces: bool) -> dict[str, Any]:
    """A power sync that is as quick as the sizes say."""
    return {
        "DEFAULT": {"debug": False},
        "conductor": {
            "poll_engine": engine,
            "sync_power_state_interval": sizes.interval_s,
            "power_failure_recovery_interval": sizes.interval_s,
            "power_state_sync_debounce": DEBOUNCE_S,
            "force_power_state_during_sync": forces,
            "sync_power_state_workers": 64,
            "periodic_max_workers": 64,
        },
    }


def prove_records(scene: Scene) -> None:
    """Raises `AssertionError` at the first thing that is not as it must be."""
    sizes, rng = scene.sizes, scene.rng
    scene.becomes_right(scene.addresses, strict=False)
    for number in range(sizes.rounds):
        scene.change_faults(number)
        pressed = rng.sample(scene.addresses, sizes.flips)
        scene.press(pressed)
        scene.becomes_right([one for one in pressed if one not in scene.prone], strict=True)
    scene.process.order(faults=[])
    scene.press(scene.prone)
    scene.becomes_right(scene.addresses, strict=False)  # so each has been asked since, and no breaker is open
    scene.press(rng.sample(scene.addresses, sizes.flips))
    scene.becomes_right(scene.addresses, strict=True)
    by = {action["by"] for action in scene.process.rule("GET", "/actions")["actions"]}
    assert by == {"front-panel"}, by


def prove_bringing_back(scene: Scene, unknown: set[str]) -> None:
    """Those that are known are brought back, and of the others what they are is recorded."""
    known = sorted(set(scene.addresses) - unknown)
    for number in range(scene.sizes.rounds):
        scene.becomes_right(scene.addresses, strict=False)
        on = {one for one, power in scene.process.rule("GET", "/power")["power"].items() if power == "On"}
        assert on >= set(known), f"round {number}"
        scene.press(scene.rng.sample(known, min(len(known), scene.sizes.flips)))
    scene.becomes_right(scene.addresses, strict=False)
    actions = scene.process.rule("GET", "/actions")["actions"]
    assert not [one for one in actions if one["address"] in unknown], "nothing is pressed on an unknown state"
    assert {(one["reset"], one["before"]) for one in actions if one["by"] == "redfish"} == {("On", "Off")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--engine", default="coroutines")
    parser.add_argument("--forces", action="store_true")
    given = parser.parse_args()
    sizes, rng, began = SMALL if given.small else FULL, Random(given.seed), CLOCK.monotonic()
    with tempfile.TemporaryDirectory() as directory, fleet(sizes.bmcs, seed=given.seed) as process:
        addresses = [bmc.address for bmc in process.bmcs]
        unknown = set(rng.sample(addresses, sizes.bmcs // UNKNOWN_PART)) if given.forces else set[str]()
        if given.forces:
            process.order(bmcs=sorted(set(addresses) - unknown), reset="On")
        power = {one: None if one in unknown else "power on" if given.forces else "power off" for one in addresses}
        database = enrol(Path(directory), process.bmcs, power)
        scene = Scene(process, database, sizes, rng)
        with service(Path(directory), **options(sizes, given.engine, forces=given.forces)):
            prove_bringing_back(scene, unknown) if given.forces else prove_records(scene)
        counts = process.rule("GET", "/report")["counts"]
        database.dispose()
    assert (counts["in_flight_max"], counts["connected_max"]) == (1, 1), counts
    print(
        f"{scene.flipped} flips of {sizes.bmcs} machines, seed {given.seed}, {given.engine}: every state right, the "
        f"slowest after {scene.slowest_s:.1f} s at an interval of {sizes.interval_s} s; {counts['total']} requests, "
        f"one at a time per BMC, at most {counts['sessions_max']} sessions; {CLOCK.monotonic() - began:.0f} s."
    )


if __name__ == "__main__":
    main()
