"""The demo's parts against real processes, signals and sockets."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.demo import bmcs, service
from ironic_lite.demo.children import Child, running
from ironic_lite.demo.client import Client
from ironic_lite.demo.ending import SIGNALS, Ending, EndRequested
from ironic_lite.demo.failure import DemoFailed, ServiceSilent
from tests.waiting import until

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    print(os.getpid(), flush=True)
signal.pause()
"""


def module(directory: Path, name: str, source: str) -> dict[str, str]:
    """A module that a child can run, and the environment to find it."""
    (directory / f"{name}.py").write_text(source)
    return {"PYTHONPATH": str(directory)}


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_child_that_does_not_end_is_killed_with_its_group(tmp_path: Path) -> None:
    child = Child("stubborn", ["stubborn"], tmp_path, module(tmp_path, "stubborn", STUBBORN))
    until(child.first_line)
    grandchild = int(child.first_line() or 0)
    assert alive(grandchild)
    child.stop(0.3)
    until(lambda: not alive(grandchild))


def test_what_a_child_leaves_running_dies_with_it(tmp_path: Path) -> None:
    source = "import os, signal\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\n    signal.pause()\n"
    child = Child("parent", ["parent"], tmp_path, module(tmp_path, "parent", source))
    until(child.first_line)
    grandchild = int(child.first_line() or 0)
    child.stop(5.0)
    until(lambda: not alive(grandchild))


def test_a_child_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    source = "import sys\nsys.exit('x' * 5000 + ' the disk is full')"
    with running(Child("child", ["child"], tmp_path, module(tmp_path, "child", source)), 5.0) as child:

        def told() -> bool:
            try:
                child.check()
            except DemoFailed as exc:
                return "The child ended with status 1" in str(exc) and "x the disk is full" in str(exc)
            return False

        until(told)
        assert len(child.tail()) <= 2048


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_wait_and_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with Ending() as ending:
        assert not ending.wait(0.01)
        os.kill(os.getpid(), number)
        deadline = Deadline(SystemClock(), 30)
        assert ending.wait(30)
        assert deadline.left_s() > 20
        with pytest.raises(EndRequested):
            ending.pause(30)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_taken_port_is_told_with_the_way_out() -> None:
    with (
        socket.create_server((service.ADDRESS, 0)) as taken,
        pytest.raises(DemoFailed, match=r"--api-port, or 0 for any"),
    ):
        service.choose_port(taken.getsockname()[1])
    free = service.choose_port(0)
    assert service.choose_port(free) == free


def test_the_fleet_starts_as_a_child_and_the_client_tells_strange_answers(tmp_path: Path) -> None:
    with Ending() as ending, running(bmcs.start(tmp_path, 2), bmcs.STOP_S) as child:
        first, second = bmcs.wait_until_ready(child, ending)
        assert bmcs.driver_info(second)["redfish_address"] == second.url
        with pytest.raises(ServiceSilent, match=r"/v1/nodes/detail was answered with status 401"):
            Client(first.address, first.port).nodes()
    with pytest.raises(ServiceSilent, match="got no usable answer"):
        Client(first.address, first.port).nodes()
