"""The fleet as a program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess  # noqa: TID251  # the program itself is what is tested
import sys

import pytest

from tests.parts.fleet import fleet


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ironic_lite.fleet", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_names_the_control_paths_and_the_faults() -> None:
    told = run("--help")
    assert told.returncode == 0
    assert "/fleet/faults" in told.stdout
    assert "wrong-state" in told.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with fleet() as running:
        [bmc] = running.bmcs
        with socket.create_connection((bmc.address, bmc.port), timeout=5) as idle:
            os.kill(running.process.pid, number)
            assert running.process.wait(10) == 0
            assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((bmc.address, bmc.port), timeout=5)


def test_the_end_of_its_standard_input_ends_it() -> None:
    with fleet() as running:
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.process.wait(10) == 0


def test_a_taken_port_is_told_and_no_address_stays_open() -> None:
    with socket.create_server(("127.77.8.3", 0)) as taken:
        port = taken.getsockname()[1]
        told = run("--size=3", "--first-address=127.77.8.1", f"--port={port}")
    assert told.returncode == 2
    assert "in use" in told.stderr


@pytest.mark.parametrize("first", ["10.0.0.1", "127.255.255.255", "bmc"])
def test_addresses_outside_the_loopback_network_are_refused(first: str) -> None:
    told = run("--size=2", f"--first-address={first}")
    assert told.returncode == 2
    assert "The fleet cannot start" in told.stderr


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--latency=soon", "uniform:LOW:HIGH"),
        ("--session-slots=0", "session slots is from 1 to 1000"),
        ("--own-listeners=5000", "from 0 to 2000"),
        ("--size=4001 --own-listeners=1 --port=65535", "the port after 65535"),
        ("--loss=2", "loss is from 0 to 1"),
        ("--script=/nowhere/script.json", "No such file"),
        ("--tls=/nowhere/ca.pem", "No such file"),
        ("--size=-1", "Redfish BMCs is from 0"),
    ],
)
def test_an_option_that_makes_no_sense_is_told_what_would(option: str, told: str) -> None:
    done = run(*option.split())
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_more_listeners_than_descriptors_are_refused() -> None:
    limited = 'ulimit -n 200; exec "$0" -m ironic_lite.fleet --size 300 < /dev/null'
    done = subprocess.run(
        ["sh", "-c", limited, sys.executable], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "300 listeners need 350 open files; this user may have 200" in done.stderr
