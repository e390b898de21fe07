"""pyghmi, unmodified, against the simulator's IPMI BMCs: in a process of its own, as its state is global."""

from __future__ import annotations

import json
import subprocess  # noqa: TID251  # see above
import sys

from tests.parts.fleet import PASSWORD, USERNAME, fleet

PROGRAM = """
import json, sys
from pyghmi.ipmi import command
host, port, user, password = sys.argv[1:]
bmc = command.Command(bmc=host, userid=user, password=password, port=int(port))
seen = [bmc.get_power()["powerstate"]]
for wanted in ("on", "off", "on", "shutdown"):
    bmc.set_power(wanted)
    seen.append(bmc.get_power()["powerstate"])
bmc.set_bootdev("network", persist=True, uefiboot=True)
boot = bmc.get_bootdev()
sensors = [(one.name, one.value, one.units, one.health) for one in bmc.get_sensor_data()]
bmc.ipmi_session.logout()
print(json.dumps({"power": seen, "boot": boot, "sensors": sensors}))
"""


def test_power_boot_device_and_sensors() -> None:
    with fleet(0, ipmi_size=1) as process:
        [bmc] = process.bmcs
        arguments = [bmc.address, str(bmc.port), USERNAME, PASSWORD]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["power"] == ["off", "on", "off", "on", "off"]
        assert told["boot"] == {"bootdev": "network", "persistent": True, "uefimode": True}
        values = {name: value for name, value, _, _ in told["sensors"]}
        assert len(values) == 11
        assert 15 < values["Inlet Temp"] < 30
        assert values["Fan1"] == 0
        assert process.ledger(bmc) == [("ipmi", what) for what in ("On", "ForceOff", "On", "GracefulShutdown")]
        assert process.rule("GET", f"/counts?address={bmc.address}")["sessions"] == 0
