"""OpenIPMI's ipmi_sim as a process: an IPMI BMC that nobody here wrote, with a machine whose power really changes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess  # noqa: TID251  # a peer is a child of the test
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import until

USERNAME, PASSWORD = "admin", "secret-ipmi-7"
OPERATOR = "operator"

LAN = """
name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{chassis}"
  user 2 true "{username}" "{password}" admin 10
  user 3 true "{operator}" "{password}" operator 10
"""

# What ipmi_sim asks of its chassis program: "get NAME" is answered with "NAME:value", "set NAME value" with nothing.
CHASSIS = """#!/bin/sh
cd {directory}
op=$1; shift
if [ $op = get ]; then
    while [ $# -gt 0 ]; do echo "$1:$(cat $1)"; shift; done
    exit 0
fi
echo "$@" >> commands
while [ $# -gt 0 ]; do
    case $1 in
    power|boot) echo $2 > $1; shift 2;;
    reset) shift;;
    shutdown) echo 0 > power; shift;;
    *) shift;;
    esac
done
"""

# A full sensor record (type 01h) of a temperature sensor: 41 degrees C, warning at 80, critical at 90.
SDR = (
    bytes.fromhex(
        "2000010701 7f6801 01 800a800a3f3f 800100 00 01000000 0000 00 00 00 00 7f00 5f5a50 000000 0000 0000 00 c8"
    )
    + b"CPU Temp"
)
EMULATION = """
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sensor_add 0x20 0 1 1 1
sensor_set_value 0x20 0 1 0x29 0
sensor_set_threshold 0x20 0 1 settable 111000 0x5f 0x5a 0x50 0 0 0
sensor_set_event_support 0x20 0 1 enable scanning per-state {none} {none} {none} {none}
main_sdr_add 0x20 {sdr}
mc_enable 0x20
"""


@dataclass(frozen=True)
class IpmiSim:
    """A running ipmi_sim."""

    port: int
    directory: Path

    @property
    def driver_info(self) -> dict[str, object]:
        """How to log in."""
        return {
            "ipmi_address": "127.0.0.1",
            "ipmi_port": self.port,
            "ipmi_username": USERNAME,
            "ipmi_password": PASSWORD,
        }

    def power(self) -> str:
        """The machine's power: "1" or "0"."""
        return (self.directory / "power").read_text().strip()

    def set_power(self, *, on: bool) -> None:
        """Press the button behind the BMC's back."""
        (self.directory / "power").write_text(f"{int(on)}\n")

    def commands(self) -> list[str]:
        """Everything that changed the machine, in order."""
        return (self.directory / "commands").read_text().split("\n")[:-1]


@contextlib.contextmanager
def ipmi_sim(directory: Path) -> Iterator[IpmiSim]:
    """Run ipmi_sim in this directory. Skips where it is not installed; fails in CI."""
    program = shutil.which("ipmi_sim")
    if program is None:
        assert not os.environ.get("CI"), "ipmi_sim is not installed"
        pytest.skip("ipmi_sim is not installed")
    sim = IpmiSim(port=_free_udp_port(), directory=directory)
    _write(sim)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-n", "-c", "lan.conf", "-f", "emulation", "-s", "state"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: _answers(sim.port))
        yield sim
    finally:
        process.kill()
        process.wait(10)


def _write(sim: IpmiSim) -> None:
    (sim.directory / "state").mkdir(parents=True)
    chassis = sim.directory / "chassis"
    chassis.write_text(CHASSIS.format(directory=sim.directory))
    chassis.chmod(stat.S_IRWXU)
    for name, text in {"power": "0\n", "boot": "none\n", "commands": ""}.items():
        (sim.directory / name).write_text(text)
    (sim.directory / "lan.conf").write_text(
        LAN.format(port=sim.port, chassis=chassis, username=USERNAME, password=PASSWORD, operator=OPERATOR)
    )
    (sim.directory / "emulation").write_text(
        EMULATION.format(none="0" * 15, sdr=" ".join(f"{byte:#04x}" for byte in (0, 0, 0x51, 1, len(SDR), *SDR)))
    )


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    """Whether Get Channel Authentication Capabilities, which needs no session, is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        probe.connect(("127.0.0.1", port))
        try:
            probe.send(bytes.fromhex("0600ff0700000000000000000009 2018c8 8100388e04b5"))
            return bool(probe.recv(64))
        except OSError:
            return False
