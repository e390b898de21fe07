"""What a warm poll costs a whole conductor, told by an interpreter that runs nothing else: a directory's path in, JSON
with the Python calls of ours out that the I/O loop's thread makes for each answer, by function."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from ironic_lite.conductor.context import Conductor
from ironic_lite.drivers import contact
from tests.parts.conductor import machine, whole_conductor
from tests.parts.fleet import fleet
from tests.waiting import until

BMCS = 50
SYSTEM = "/redfish/v1/Systems/1"
NEVER = 10**6


class Calls:
    """Those of our own code in the loop's thread; asyncio's own follow from how many answers one wake-up finds."""

    def __init__(self) -> None:
        self.counting = False
        self.made: Counter[CodeType] = Counter()

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and self.counting and "ironic_lite" in frame.f_code.co_filename:
            self.made[frame.f_code] += threading.current_thread().name == "bmc loop"


def rests(conductor: Conductor) -> bool:
    """Whether everybody has answered, and what they said is written."""
    known = conductor.freshness.overview()
    return (known.synced, known.unseen, known.unwritten, conductor.pool.stats().busy) == (BMCS, 0, 0, 0)


def main(directory: Path) -> None:
    calls = Calls()
    threading.setprofile(calls.profile)
    settings = {"sync_power_state_interval": NEVER, "metrics_port": 0, "force_power_state_during_sync": False}
    with fleet(BMCS, latency=0.2) as process:
        rows = [machine(f"node-{number}", bmc.url, redfish_system_id=SYSTEM) for number, bmc in enumerate(process.bmcs)]
        conductor, service = whole_conductor(str(directory), {"conductor": settings}, rows)
        until(lambda: rests(conductor), 60)
        calls.counting = True
        for answer in [conductor.freshness.look(seen.view.uuid, 0.0) for seen in conductor.freshness.every()]:
            answer.result(30)
        assert contact.IO.call(setattr, calls, "counting", False)
        until(lambda: not calls.counting)
        service.stop()
    made = {f"{Path(code.co_filename).stem}.{code.co_qualname}": count / BMCS for code, count in calls.made.items()}
    print(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
