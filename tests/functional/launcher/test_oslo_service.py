"""API and conductor are oslo.service services: its own launcher runs them, where it does not fail by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # noqa: TID251  # the launcher is a real process
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ironic_lite.web.listeners import listen
from tests.parts.service import Service, configured, run
from tests.waiting import until

PROGRAM = Path(__file__).with_name("oslo_program.py")
ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def launched(directory: Path, launcher: str, start_method: str) -> Iterator[Service]:
    """The program under the name `oslo` of a service that is not ours to start."""
    assert run("ironic-lite-dbsync", directory).code == 0
    begun = configured(directory, {})
    api, rpc = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    begun.port, begun.rpc_port = api.getsockname()[1], rpc.getsockname()[1]
    passed = (api.fileno(), rpc.fileno())
    with (directory / "oslo.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), launcher, start_method, *map(str, passed), str(begun.config)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            pass_fds=passed,
            stdout=output,
            stderr=output,
            start_new_session=True,  # cotyledon writes over its environment, where a mark would be
        )
    begun.programs["oslo"] = process
    api.close()
    rpc.close()
    try:
        yield begun
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def is_gone(group: int) -> bool:
    """Whether no process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("launcher", ["ServiceLauncher", "ProcessLauncher"])
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_oslo_services_launcher_runs_the_real_services(tmp_path: Path, launcher: str, start_method: str) -> None:
    with launched(tmp_path, launcher, start_method) as running:
        until(running.ready, 40)
        running.power(running.create("one"), "power on")
        running.programs["oslo"].send_signal(signal.SIGTERM)
        assert running.programs["oslo"].wait(30) == 0, running.log()[-4000:]
        until(lambda: is_gone(running.programs["oslo"].pid))


@pytest.mark.parametrize("launcher", ["ServiceLauncher", "ProcessLauncher"])
def test_oslo_services_launcher_itself_refuses_forkserver(tmp_path: Path, launcher: str) -> None:
    """Its cause: `_select_service_manager_context` knows fork and spawn only (oslo.service 4.8)."""
    with launched(tmp_path, launcher, "forkserver") as running:
        assert running.programs["oslo"].wait(30) == 1
        assert "ValueError: Invalid start_method 'forkserver'; expected 'fork' or 'spawn'" in running.log()
