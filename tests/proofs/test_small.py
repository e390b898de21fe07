"""Every proof in its small size; the full ones are `tox -e proof-NAME`."""

from __future__ import annotations

import subprocess  # noqa: TID251  # each proof is a program
import sys
from pathlib import Path

import pytest

PROGRAMS = [
    "worker_memory.py",
    "slow_sensors.py",
    "flips.py",
    "flips.py --forces --engine=threads",
    "crashes.py",
    "lives.py",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_small_size_passes(program: str):
    name, *arguments = program.split()
    argv = [sys.executable, str(Path(__file__).parent / name), "--small", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
