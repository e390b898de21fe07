"""The demo's machines: the fleet simulator as a child."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.demo.children import Child
from ironic_lite.demo.ending import Ending
from ironic_lite.demo.failure import DemoFailed
from ironic_lite.fleet.documents import SYSTEM
from ironic_lite.fleet.server import Bmc

START_S: Final = 30.0
STOP_S: Final = 5.0

# Simulated machines on the loopback device, whose credentials the demo prints: there is nothing to guard.
USERNAME: Final = "admin"
PASSWORD: Final = "password"  # noqa: S105  # see above


def start(directory: Path, size: int) -> Child:
    """Start a fleet of that size."""
    arguments = ["ironic_lite.fleet", f"--size={size}", f"--username={USERNAME}", f"--password={PASSWORD}"]
    return Child("fleet", arguments, directory, {})


def wait_until_ready(child: Child, ending: Ending) -> list[Bmc]:
    """The BMCs, when all of them listen. Raises `DemoFailed` after `START_S`."""
    deadline = Deadline(SystemClock(), START_S)
    while (line := child.first_line()) is None:
        child.check()
        if deadline.passed():
            raise DemoFailed(reason=f"The fleet is not ready after {START_S:.0f} s. Its last words:\n{child.tail()}")
        ending.pause(0.1)
    return [Bmc(**bmc) for bmc in json.loads(line)["bmcs"]]


def driver_info(bmc: Bmc) -> dict[str, str]:
    """What a node needs to know of its BMC."""
    return {
        "redfish_address": bmc.url,
        "redfish_system_id": SYSTEM,
        "redfish_username": USERNAME,
        "redfish_password": PASSWORD,
    }
