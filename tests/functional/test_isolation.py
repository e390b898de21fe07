"""Dead BMCs, each in its own manner, and healthy ones beside them: who is asked how often, by the BMCs' own counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ironic_lite.db.engine import Database
from ironic_lite.db.tables import nodes
from tests.parts.fleet import FleetProcess, fleet
from tests.parts.service import service
from tests.proofs.flips import SMALL, address_of, enrol, options
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

MANNERS = ("hang", "blackhole", "drip", "401", "garbage", "refuse", "500")
COME_BACK = ("refuse", "500")  # those that are tried again within seconds
HEALTHY = 8
TURNS = 6
PATIENCE_S = 90.0


def asked(process: FleetProcess, address: str) -> int:
    """How often the BMC was asked for its power since its counts were cleared."""
    times: int = process.rule("GET", f"/counts?address={address}")["requests"].get("GET system", 0)
    return times


def in_maintenance(database: Database) -> set[str]:
    with database.read() as connection:
        rows = connection.execute(sa.select(nodes.c.name).where(nodes.c.maintenance))
        return {address_of(row.name) for row in rows}


@pytest.mark.parametrize("engine", ["coroutines", "threads"])
def test_healthy_ones_have_their_turns_beside_dead_ones_of_every_manner(tmp_path: Path, engine: str) -> None:
    with fleet(len(MANNERS) + HEALTHY) as process:
        addresses = [bmc.address for bmc in process.bmcs]
        dead, healthy = dict(zip(MANNERS, addresses, strict=False)), addresses[len(MANNERS) :]
        database = enrol(tmp_path, process.bmcs, dict.fromkeys(addresses, "power off"))
        settings = options(SMALL, engine, forces=False)
        settings["conductor"] |= {"sync_power_state_interval": 1, "power_state_sync_max_retries": 1}
        with service(tmp_path, **settings):
            until(lambda: all(asked(process, one) for one in addresses), PATIENCE_S)
            for fault, address in dead.items():
                process.order(bmcs=address, faults=[{"fault": fault}])
            quick = {dead[fault] for fault in COME_BACK}
            until(lambda: quick <= in_maintenance(database), PATIENCE_S)

            before = {one: asked(process, one) for one in healthy}
            until(lambda: asked(process, healthy[0]) >= before[healthy[0]] + TURNS, PATIENCE_S)
            turns = [asked(process, one) - before[one] for one in [*healthy, healthy[0]]]
            assert min(turns) >= TURNS - 3, "each at its turns"
            assert max(turns) <= turns[-1] + 3, "and no oftener"

            process.order(bmcs=sorted(quick), faults=[])
            until(lambda: not quick & in_maintenance(database), PATIENCE_S)
            assert not in_maintenance(database) & set(healthy)
            counts = process.rule("GET", "/report")["counts"]
            assert (counts["in_flight_max"], counts["connected_max"], counts["sessions_max"]) == (1, 1, 1)
            process.order(faults=[])  # so that nothing hangs at the end
        database.dispose()
