"""What it costs to know the power of a machine whose BMC is known already."""

from __future__ import annotations

import json
import subprocess  # noqa: TID251  # threads of other tests would be counted too
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "poll_program.py"
# 102, and what ticks and looks cost, whose number is not ours to say.
MAX_CALLS = 106


def test_a_warm_poll_costs_few_python_calls(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    calls: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert calls["freshness.Freshness._answered"] == 1, "each is asked once"
    assert sum(calls.values()) <= MAX_CALLS, sorted(calls.items(), key=lambda one: -one[1])
