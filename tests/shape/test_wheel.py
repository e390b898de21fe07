"""What is installed is what is in the tree: a file that the wheel forgets is missed only by users."""

from __future__ import annotations

import os
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "ironic_lite"
SUFFIXES = (".py", ".mako", ".typed")


def installed() -> set[str]:
    """The files of the installed wheel; none where only a tree is on the path."""
    records = (one.read_text("RECORD") or "" for one in distributions(name="ironic-lite"))
    paths = {line.partition(",")[0] for record in records for line in record.splitlines()}
    return {path for path in paths if path.startswith("ironic_lite/")}


def test_every_file_is_installed():
    there = installed()
    if not there and not os.environ.get("CI"):
        pytest.skip("ironic-lite is not installed here as a wheel.")
    wanted = {f"ironic_lite/{path.relative_to(ROOT)}" for path in ROOT.rglob("*") if path.suffix in SUFFIXES}
    assert wanted - there == set()
