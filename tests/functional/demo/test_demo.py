"""`ironic-lite demo` as a user runs it: the real service over the real simulator, and nothing left behind."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess  # noqa: TID251  # the program itself is what is tested
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ironic_lite.clock import Deadline, SystemClock
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

MARK = "IRONIC_LITE_TEST_MARK"  # inherited by every process of a demo, so that a leftover is found by it


@contextmanager
def demo(tmp_path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A demo whose temporary files are in `tmp_path`, and the mark of its processes; all are killed in the end."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "ironic_lite", "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), MARK: mark},
    )
    try:
        yield process, mark
    finally:
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=30)


def marked(mark: str) -> list[int]:
    """The processes that have the mark in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


def read_until(process: subprocess.Popen[str], text: str, timeout_s: float = 90.0) -> str:
    """The output up to and with that text."""
    assert process.stdout is not None
    deadline, read = Deadline(SystemClock(), timeout_s), b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while text.encode() not in read:
            assert selector.select(deadline.left_s()), f"No {text!r} within {timeout_s} s: {read.decode()}"
            chunk = os.read(process.stdout.fileno(), 65536)
            assert chunk, f"The demo ended without {text!r}: {read.decode()}"
            read += chunk
    return read.decode()


def assert_nothing_is_left(mark: str, tmp_path: Path) -> None:
    until(lambda: not marked(mark))
    assert list(tmp_path.iterdir()) == []


def test_it_enrols_shows_tells_what_to_type_and_ends_by_itself(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "8", "--nodes", "3", "--api-port", "0") as (process, mark):
        output, errors = process.communicate(timeout=150)
        assert (process.returncode, errors) == (0, "")
        for name in ("demo-1", "demo-2", "demo-3"):
            assert f"{name}: manageable\n" in output
            assert f"{name}: power off\n" in output
        port = re.search(r"OS_ENDPOINT=http://127.0.0.1:(\d+)\n", output)
        assert port is not None
        assert int(port[1]) > 0
        assert "baremetal node power on demo-1" in output
        assert "3 nodes: 3 power off" in output
        assert_nothing_is_left(mark, tmp_path)


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    with demo(tmp_path, "--nodes", "2", "--api-port", "0") as (process, mark):
        read_until(process, "2 nodes: ")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert_nothing_is_left(mark, tmp_path)


def test_ctrl_c_while_it_starts_ends_it_cleanly(tmp_path: Path) -> None:
    with demo(tmp_path, "--nodes", "2", "--api-port", "0") as (process, mark):
        read_until(process, "Starting")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert_nothing_is_left(mark, tmp_path)


def test_a_fleet_that_dies_ends_it_with_the_reason(tmp_path: Path) -> None:
    with demo(tmp_path, "--nodes", "2", "--api-port", "0") as (process, mark):
        read_until(process, "2 nodes: ")
        [fleet] = [
            pid
            for pid in marked(mark)
            if b"ironic_lite.fleet" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
        os.kill(fleet, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "The fleet ended with status 9" in errors
        assert_nothing_is_left(mark, tmp_path)


def test_a_taken_port_is_told_with_the_name_of_the_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with demo(tmp_path, "--api-port", str(taken.getsockname()[1])) as (process, mark):
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "--api-port" in errors
        assert_nothing_is_left(mark, tmp_path)


def test_a_state_directory_is_kept_and_must_be_empty(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    arguments = ["--nodes", "1", "--seconds", "1", "--api-port", "0", "--state-dir", str(kept)]
    with demo(tmp_path, *arguments) as (process, mark):
        process.communicate(timeout=120)
        assert process.returncode == 0
        assert {"ironic.conf", "service.err", "fleet.err"} <= {path.name for path in kept.iterdir()}
        assert (kept / "ironic.conf").stat().st_mode & 0o077 == 0
    with demo(tmp_path, *arguments) as (process, mark):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "is not empty" in errors
        until(lambda: not marked(mark))
