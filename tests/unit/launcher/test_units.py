"""The systemd units say what the launcher does."""

from __future__ import annotations

import configparser
import shutil
import subprocess  # noqa: TID251  # systemd's own checker
from pathlib import Path

import pytest

from ironic_lite.cluster.members import heartbeat_conf
from ironic_lite.launcher.service import conf

UNITS = sorted((Path(__file__).parents[3] / "etc/systemd").glob("*.service"))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_waits_longer_than_the_launcher(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    service = unit["Service"]
    assert int(service["TimeoutStopSec"]) > conf.options["graceful_shutdown_timeout"].default
    assert int(service["WatchdogSec"]) >= 2 * heartbeat_conf.options["heartbeat_interval"].default
    assert service["KillMode"] == "mixed"
    assert service["Type"] == "notify"
    assert service["ExecStart"].startswith(f"/usr/bin/{path.stem} ")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_understands_every_line(path: Path, tmp_path: Path) -> None:
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not installed.")
    unit = tmp_path / path.name
    unit.write_text(path.read_text().replace("/usr/bin/ironic-lite", "/bin/true "))
    done = subprocess.run(
        [checker, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    about_it = [line for line in done.stderr.splitlines() if path.name in line]
    assert about_it == [], done.stderr


def test_there_is_a_unit_for_each_program() -> None:
    assert [path.stem for path in UNITS] == ["ironic-lite-api", "ironic-lite-conductor", "ironic-lite"]
