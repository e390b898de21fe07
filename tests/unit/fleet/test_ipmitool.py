"""ipmitool, unmodified, against the simulator's IPMI BMCs."""

from __future__ import annotations

import os
import shutil
import subprocess  # noqa: TID251  # a peer is a child of the test
from collections.abc import Iterator

import pytest

from ironic_lite.fleet.server import Bmc
from tests.parts.fleet import PASSWORD, USERNAME, FleetProcess, fleet

SUITES = (3, 17)


@pytest.fixture(scope="module")
def process() -> Iterator[FleetProcess]:
    if shutil.which("ipmitool") is None:
        assert not os.environ.get("CI"), "ipmitool is not installed"
        pytest.skip("ipmitool is not installed")
    with fleet(0, ipmi_size=3) as running:
        yield running


def ipmitool(
    bmc: Bmc, *command: str, suite: int = 17, password: str = PASSWORD, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    where = ["-H", bmc.address, "-p", str(bmc.port), "-U", USERNAME, "-E", "-C", str(suite)]
    return subprocess.run(
        ["ipmitool", "-I", "lanplus", *where, *options, *command],
        env={**os.environ, "IPMI_PASSWORD": password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("suite", SUITES)
def test_power_goes_on_soft_off_and_through_a_cycle(process: FleetProcess, suite: int) -> None:
    bmc = process.bmcs[SUITES.index(suite)]
    seen = []
    for command in ("on", "status", "cycle", "soft", "status"):
        told = ipmitool(bmc, "power", command, suite=suite)
        assert told.returncode == 0, told.stderr
        seen.append(told.stdout.strip())
    assert seen[1::3] == ["Chassis Power is on", "Chassis Power is off"]
    assert [what for by, what in process.ledger(bmc) if by == "ipmi"] == ["On", "PowerCycle", "GracefulShutdown"]
    refused = ipmitool(bmc, "power", "cycle", suite=suite)
    assert "not supported in present state" in refused.stderr


def test_the_boot_device_is_set_for_once_and_used_up(process: FleetProcess) -> None:
    bmc = process.bmcs[2]
    assert ipmitool(bmc, "chassis", "bootdev", "pxe", "options=efiboot").returncode == 0
    told = ipmitool(bmc, "chassis", "bootparam", "get", "5").stdout
    assert "Boot Device Selector : Force PXE" in told
    assert "BIOS EFI boot" in told
    assert "Options apply to only next boot" in told
    ipmitool(bmc, "power", "on")
    assert "No override" in ipmitool(bmc, "chassis", "bootparam", "get", "5").stdout


def test_sensors_are_listed_with_units_and_thresholds(process: FleetProcess) -> None:
    lines = ipmitool(process.bmcs[0], "sensor", "list").stdout.splitlines()
    rows = {cells[0]: cells for cells in ([cell.strip() for cell in line.split("|")] for line in lines)}
    assert list(rows) == [
        *("Inlet Temp", "CPU1 Temp", "CPU2 Temp", "Fan1", "Fan2", "Fan3", "Fan4"),
        *("PSU1 Power", "PSU2 Power", "PSU1 Voltage", "PSU2 Voltage"),
    ]
    assert rows["Inlet Temp"][2:4] == ["degrees C", "ok"]
    assert 15 < float(rows["Inlet Temp"][1]) < 30
    assert [float(cell) for cell in rows["CPU1 Temp"][7:9]] == [75, 90]
    assert rows["Fan1"][2] == "RPM"
    assert rows["PSU1 Voltage"][2] == "Volts"


def test_a_wrong_password_opens_no_session(process: FleetProcess) -> None:
    bmc = process.bmcs[0]
    logins = process.rule("GET", f"/counts?address={bmc.address}")["logins"]
    told = ipmitool(bmc, "power", "status", password="wrong", options=("-N", "1", "-R", "1"))
    assert told.returncode == 1
    assert process.rule("GET", f"/counts?address={bmc.address}")["logins"] == logins
