"""Programs that a conductor really runs, and a conductor that is killed while they run."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess  # noqa: TID251  # the process that is killed must be another than the test's
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ironic_lite import config, errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.cluster.transport import Credentials
from ironic_lite.conductor.context import Work
from ironic_lite.conductor.process import ConductorService
from ironic_lite.db import engine, migrate
from ironic_lite.executors.programs import SECRET, Limits, Programs
from ironic_lite.web.listeners import listen
from tests.parts.ipmi_sim import PASSWORD, USERNAME, IpmiSim, ipmi_sim
from tests.waiting import until

CLOCK = SystemClock()
ROOT = Path(__file__).parents[2]

# A process like a conductor: threads of a pool, each waiting for a program of another kind.
DYING = """
import sys, threading
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.programs import Programs
from ironic_lite.executors.threads import start_thread
clock = SystemClock()
programs = Programs(clock)
word = sys.argv[1]
scripts = [
    f"exec sleep {word}",
    f"trap '' TERM HUP INT; while :; do sleep {word}; done",
    f"sleep {word} & (trap '' TERM; sleep {word}) & wait",
    f"setsid sh -c 'trap \\"\\" TERM HUP; sleep {word}; sleep {word}' </dev/null >/dev/null 2>&1 & exec sleep {word}",
    f"set -m; env -i sh -c 'sleep {word}; sleep {word}' & wait; sleep {word}",
]
for script in scripts:
    start_thread("one", lambda script=script: programs.run(["sh", "-c", script], deadline=Deadline(clock, 300)))
threading.Event().wait(120)
"""


@pytest.fixture
def programs() -> Iterator[Programs]:
    door = Programs(CLOCK)
    yield door
    assert door.stop_all(within(5)) == []


@pytest.fixture(scope="module")
def bmc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpmiSim]:
    with ipmi_sim(tmp_path_factory.mktemp("bmc") / "sim") as sim:
        yield sim


def within(seconds: float) -> Deadline:
    return Deadline(CLOCK, seconds)


def needs(program: str) -> None:
    if shutil.which(program) is None:
        assert not os.environ.get("CI"), f"{program} is not installed"
        pytest.skip(f"{program} is not installed")


def ipmitool(port: int, *command: str) -> list[str]:
    login = ["-I", "lanplus", "-C", "3", "-H", "127.0.0.1", "-p", str(port), "-U", USERNAME, "-f", SECRET]
    return ["ipmitool", *login, *command]


def alive(word: str) -> list[bytes]:
    """The arguments of each process, zombies not counted, that has the word among them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes()
            if word.encode() in line:
                found.append(line)
    return found


def test_ipmitool_gets_its_password_by_a_descriptor(programs: Programs, bmc: IpmiSim):
    needs("ipmitool")
    for on in (True, False):
        bmc.set_power(on=on)
        ended = programs.run(
            ipmitool(bmc.port, "power", "status"), deadline=within(20), secret=f"{PASSWORD}\n".encode()
        )
        assert ended.stdout.decode() == f"Chassis Power is {'on' if on else 'off'}\n"


def test_ipmitool_with_a_wrong_password_fails_with_its_own_words(programs: Programs, bmc: IpmiSim):
    needs("ipmitool")
    with pytest.raises(errors.ProgramFailed, match="Unable to establish IPMI v2 / RMCP\\+ session") as caught:
        programs.run(ipmitool(bmc.port, "power", "status"), deadline=within(60), secret=b"wrong-password\n")
    assert "wrong-password" not in str(caught.value)


def test_ipmitool_and_a_bmc_that_is_silent_end_at_the_deadline(programs: Programs):
    needs("ipmitool")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        begun = CLOCK.monotonic()
        with pytest.raises(errors.ProgramTimedOut, match=r"^Program ipmitool was ended .* within 1\.5 s"):
            programs.run(
                ipmitool(port, "-R", "12", "-N", "5", "power", "status"), deadline=within(1.5), secret=b"secret-word\n"
            )
        assert 1.5 <= CLOCK.monotonic() - begun <= 15  # by itself it would try for a minute
    assert alive(f"-p\0{port}") == []


def test_qemu_img_converts_an_image_both_ways(programs: Programs, tmp_path: Path):
    needs("qemu-img")
    content = os.urandom(3 * 2**20) + bytes(5 * 2**20) + os.urandom(2**20)
    (tmp_path / "disk.raw").write_bytes(content)
    to = ["qemu-img", "convert", "-O"]
    programs.run([*to, "qcow2", "-f", "raw", "disk.raw", "disk.qcow2"], deadline=within(60), cwd=str(tmp_path))
    magic, version = struct.unpack(">4sI", (tmp_path / "disk.qcow2").read_bytes()[:8])
    assert (magic, version) == (b"QFI\xfb", 3)
    assert (tmp_path / "disk.qcow2").stat().st_size < 6 * 2**20  # the empty part takes no room
    programs.run([*to, "raw", "-f", "qcow2", "disk.qcow2", "again.raw"], deadline=within(60), cwd=str(tmp_path))
    assert (tmp_path / "again.raw").read_bytes() == content


def test_qemu_img_that_may_not_have_its_memory_fails_and_says_so(programs: Programs, tmp_path: Path):
    needs("qemu-img")
    (tmp_path / "disk.raw").write_bytes(bytes(2**20))
    argv = ["qemu-img", "convert", "-O", "qcow2", "-f", "raw", "disk.raw", "disk.qcow2"]
    with pytest.raises(errors.ProgramFailed, match=r"^Program qemu-img ended with "):
        programs.run(argv, deadline=within(60), cwd=str(tmp_path), limits=Limits(memory_mib=24))


@contextlib.contextmanager
def dying(word: str) -> Iterator[None]:
    """A process that runs its programs, and is killed at the end of the block."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", DYING, word], cwd=ROOT, env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("turn", range(3))
def test_a_process_that_is_killed_leaves_no_program(turn: int):
    word = f"8642{turn}.{os.getpid()}"
    with dying(word):
        until(lambda: sum(line.startswith(b"sleep\0") for line in alive(word)) == 7, 30)
    until(lambda: not alive(word), 1.0)


@pytest.mark.parametrize("seen", [2, 3, 4, 5, 6, 8, 10, 12])
def test_a_process_that_is_killed_as_its_programs_start_leaves_none(seen: int):
    """Whatever moment of a start the death falls into: the pipe has its end, and the guard sees it."""
    word = f"8643{seen}.{os.getpid()}"
    with dying(word):
        until(lambda: len(alive(word)) >= seen, 30)
    until(lambda: not alive(word), 1.0)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConductorService]:
    """A conductor in this process, which interrupts running work at once when it stops."""
    monkeypatch.setattr("ironic_lite.conductor.process.INTERRUPT_BEFORE_S", 60.0)
    config.load([], program="test", files=[])
    settings = {"state_path": str(tmp_path), "host": "h1", "enabled_hardware_types": ["fake-hardware"]}
    for name, value in settings.items():
        config.CONF.set_override(name, value)
    migrate.upgrade(engine.database_url())
    made = ConductorService(listen("127.0.0.1", 0), Credentials("test", "test"), 60.0)
    made.start()
    yield made
    config.CONF.clear()
    for name in settings:
        config.CONF.clear_override(name)


@pytest.mark.parametrize("kind", [Work.ACTIONS, Work.SENSORS], ids=["waited for", "not waited for"])
def test_a_conductor_that_stops_leaves_no_program_of_its_work(service: ConductorService, kind: Work):
    word = f"8644{len(kind)}.{os.getpid()}"
    conductor = service._conductor
    argv = ["sh", "-c", f"trap '' TERM; sleep {word} & sleep {word}"]
    work = conductor.pool.submit(kind, "convert an image", conductor.programs.run, argv, deadline=within(300))
    until(lambda: sum(line.startswith(b"sleep\0") for line in alive(word)) == 2, 60)
    service.stop()
    assert alive(word) == []
    with pytest.raises(errors.Interrupted, match="Program sh was interrupted"):
        work.result(60)
    with pytest.raises(errors.Stopping):
        conductor.programs.run(["true"], deadline=within(5))
    until(lambda: conductor.pool.stats().threads == 0)
