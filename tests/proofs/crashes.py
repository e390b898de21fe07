"""A conductor that is killed again and again, and what becomes of the nodes that it worked on.

    python tests/proofs/crashes.py [--small] [--seed N]

Redfish machines are cleaned by steps of which one, a reboot, must never be done twice; fake machines are led through
their whole life. The conductor is killed (SIGKILL) at every step of the cleaning in turn, and at random moments, and
started again. Each time every node must come to rest in a state from which the API can go on, with no lock left; what
became manageable was restarted exactly once, and what failed says why and was restarted once at most, by the ledgers
of the machines themselves. In the end every node is led to available.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random  # noqa: TID251  # seeded, for a workload
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ironic_lite.clock import SystemClock
from ironic_lite.db.engine import Database
from ironic_lite.db.tables import nodes
from ironic_lite.domain.states import STABLE, Provision
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet
from tests.parts.service import START_S, Service, services_alone
from tests.waiting import until

CLOCK: Final = SystemClock()
REST_S: Final = 120.0
STEPS: Final = [
    {"interface": "power", "step": "power_on"},
    {"interface": "power", "step": "reboot"},
    {"interface": "power", "step": "wait", "args": {"seconds": 1}},
    {"interface": "power", "step": "power_off"},
]
AT_REST: Final = STABLE | {one for one in Provision if one.endswith("failed")}
SERVICE_STEPS: Final = [{"interface": "vendor", "step": name} for name in ("log_passthrough", "trigger_servicewait")]
# What a fake machine is asked next: by its state, one of these.
NEXT: Final[Mapping[str, tuple[dict[str, Any], ...]]] = {
    "enroll": ({"target": "manage"},),
    "manageable": ({"target": "provide"}, {"target": "adopt"}),
    "available": ({"target": "active"},),
    "active": (
        {"target": "deleted"}, {"target": "rebuild"}, {"target": "rescue", "rescue_password": "x"},
        {"target": "service", "service_steps": SERVICE_STEPS},
    ),
    "rescue": ({"target": "unrescue"}, {"target": "deleted"}),
    "error": ({"target": "deleted"},),
    "clean failed": ({"target": "manage"},),
    "adopt failed": ({"target": "manage"},),
    "deploy failed": ({"target": "active"}, {"target": "deleted"}),
    "rescue failed": ({"target": "unrescue"},),
    "unrescue failed": ({"target": "unrescue"},),
    "service failed": ({"target": "abort"},),
}  # fmt: skip


class Sizes(msgspec.Struct, frozen=True):
    """How much is proven: machines, the steps at which there is a kill, and kills at random moments."""

    machines: int
    fakes: int
    steps: Sequence[int]
    random_kills: int


SMALL: Final = Sizes(machines=3, fakes=4, steps=(1, 2), random_kills=0)
FULL: Final = Sizes(machines=12, fakes=24, steps=range(len(STEPS)), random_kills=200)


class Scene:
    """The running service, its database, and the machines."""

    def __init__(self, running: Service, database: Database, process: FleetProcess, rng: Random) -> None:
        self.running, self.database, self.process, self.rng = running, database, process, rng
        self.machines: dict[str, str] = {}  # the UUID of each node, and the address of its BMC
        self.fakes: list[str] = []
        self.ends: Counter[str] = Counter()

    def enrol(self, fakes: int) -> None:
        """A node for each BMC, and fake ones."""
        for number, bmc in enumerate(self.process.bmcs):
            info = {"redfish_address": bmc.url, "redfish_username": USERNAME, "redfish_password": PASSWORD}
            uuid = self.running.create(f"machine-{number}", "redfish", driver_info=info)
            self.machines[uuid] = bmc.address
        self.fakes = [self.running.create(f"fake-{number}") for number in range(fakes)]
        for uuid in self.machines:
            self.running.manage(uuid)

    def rows(self) -> dict[str, Any]:
        with self.database.read() as connection:
            return {row.uuid: row for row in connection.execute(sa.select(nodes))}

    def ask(self, uuid: str, body: Mapping[str, Any]) -> None:
        """Give a verb to a node at rest; a node that its failure put into maintenance is taken out of it.

        As clients do, it asks again for as long as it is told 503: the new conductor may not listen yet.
        """
        self.running.request("DELETE", f"/v1/nodes/{uuid}/maintenance")
        answers: list[tuple[int, Any]] = []

        def answered() -> bool:
            status, _, document = self.running.request("PUT", f"/v1/nodes/{uuid}/states/provision", body)
            answers.append((status, document))
            return status != 503

        until(answered, START_S)
        assert answers[-1][0] == 202, answers[-1]

    def begin(self) -> None:
        """Give every node something to do."""
        rows = self.rows()
        for uuid in self.machines:
            if rows[uuid].provision_state == "clean failed":
                self.ask(uuid, {"target": "manage"})
            self.ask(uuid, {"target": "clean", "clean_steps": STEPS})
        for uuid in self.fakes:
            self.ask(uuid, self.rng.choice(NEXT[rows[uuid].provision_state]))

    def kill(self) -> None:
        """End the conductor as a crash does, and start it again."""
        program = self.running.programs["ironic-lite-conductor"]
        program.send_signal(signal.SIGKILL)
        program.wait(10)
        self.running.start("ironic-lite-conductor")

    def reached(self, index: int) -> bool:
        """Whether some machine is at that step."""
        rows = self.rows()
        return any(rows[uuid].driver_internal_info.get("clean_step_index") == index for uuid in self.machines)

    def comes_to_rest(self) -> None:
        """Wait until nobody works on any node, and nobody waits."""

        def rests() -> bool:
            return all(row.reservation is None and row.provision_state in AT_REST for row in self.rows().values())

        until(self.running.ready, START_S)
        until(rests, REST_S)

    def restarts(self) -> Counter[str]:
        """How often each machine was restarted."""
        actions = self.process.rule("GET", "/actions")["actions"]
        return Counter(one["address"] for one in actions if one["reset"] == "ForceRestart")

    def judge(self, before: Counter[str]) -> None:
        """By the machines' own ledgers."""
        now, rows = self.restarts(), self.rows()
        for uuid, address in self.machines.items():
            row, times = rows[uuid], now[address] - before[address]
            where = f"{row.name}: {row.provision_state}, restarted {times} times: {row.last_error}"
            assert row.provision_state in ("manageable", "clean failed"), where
            assert times == 1 if row.provision_state == "manageable" else times <= 1 and row.last_error, where
            self.ends[row.provision_state] += 1
        for uuid in self.fakes:
            assert not rows[uuid].provision_state.endswith("failed") or rows[uuid].last_error, rows[uuid]
            self.ends[rows[uuid].provision_state] += 1


def prove(scene: Scene, sizes: Sizes) -> int:
    """How many kills there were. Raises `AssertionError` at the first thing that is not as it must be."""
    moments: list[int | float] = [*sizes.steps, *(scene.rng.uniform(0, 6) for _ in range(sizes.random_kills))]
    for moment in moments:
        before = scene.restarts()
        scene.begin()
        if isinstance(moment, int):
            until(lambda index=moment: scene.reached(index), 60)  # type: ignore[misc]  # mypy does not see the default
        else:
            threading.Event().wait(moment)
        scene.kill()
        scene.comes_to_rest()
        scene.judge(before)
    return len(moments)


def lead_home(scene: Scene) -> None:
    """The API can go on from wherever they are: every node becomes available."""
    way = {state: bodies[0] for state, bodies in NEXT.items() if state != "available"}
    for _ in range(5):
        away = {uuid: row for uuid, row in scene.rows().items() if row.provision_state != "available"}
        if not away:
            return
        for uuid, row in away.items():
            scene.ask(uuid, way[row.provision_state])
        scene.comes_to_rest()
    raise AssertionError(f"They did not get home: {Counter(row.provision_state for row in away.values())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    sizes, began = SMALL if given.small else FULL, CLOCK.monotonic()
    options: dict[str, Any] = {
        "DEFAULT": {"debug": False},
        "json_rpc": {"username": "u", "password": "p"},
        "fake": {"deploy_delay": "1,3", "rescue_delay": "1", "vendor_delay": "1"},
        "conductor": {"sync_power_state_interval": 0},
    }
    with (
        tempfile.TemporaryDirectory() as directory,
        fleet(sizes.machines, seed=given.seed, latency=0.3) as process,
        services_alone(Path(directory), **options) as running,
    ):
        database = Database(sa.URL.create("sqlite", database=str(Path(directory) / "ironic.sqlite")))
        scene = Scene(running, database, process, Random(given.seed))
        scene.enrol(sizes.fakes)
        kills = prove(scene, sizes)
        lead_home(scene)
        database.dispose()
    took_s = CLOCK.monotonic() - began
    print(
        f"{kills} kills, {sizes.machines} machines, {sizes.fakes} fake ones: all at rest after each, in {took_s:.0f} s"
    )
    print("where they rested: " + ", ".join(f"{state} {count}" for state, count in scene.ends.most_common()))


if __name__ == "__main__":
    main()
