"""What idleness costs: threads, and what is imported before anybody asks for it."""

from __future__ import annotations

import json
import subprocess  # noqa: TID251  # only a fresh interpreter tells what a start brings along
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "idle_program.py"
# Both services in one process. Side by side they have a main thread more, and so has their launcher.
MAX_THREADS = 12
# What only some deployments need, or only some moments: BMC libraries and what they bring (10 MiB), the schema's
# upgrade (8 MiB), other databases, what SQLAlchemy has beyond its Core, another kind of concurrency.
UNWANTED = {
    "alembic", "cryptography", "eventlet", "greenlet", "psycopg", "pyghmi", "pymysql", "requests",
    "sqlalchemy.dialects.mysql", "sqlalchemy.dialects.postgresql", "sqlalchemy.orm", "sushy", "urllib3",
}  # fmt: skip


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    argv = [sys.executable, str(PROGRAM), str(tmp_path_factory.mktemp("idle"))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_idle_services_have_few_threads(idle: dict[str, Any]):
    assert len(idle["threads"]) <= MAX_THREADS, idle["threads"]


def test_what_is_not_needed_yet_is_not_imported(idle: dict[str, Any]):
    blocked = {name for name in ("eventlet", "greenlet") if name in idle["modules"]}  # as None: see test_import.py
    assert UNWANTED & set(idle["modules"]) == blocked


def test_what_both_services_need_is_imported_before_the_fork(idle: dict[str, Any]):
    """What a child imports is its own; what the launcher has imported is shared, until somebody writes to it."""
    assert [name for name in idle["late"] if not name.startswith("encodings.")] == []
