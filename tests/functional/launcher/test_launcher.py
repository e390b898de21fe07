"""The real launcher with real processes, started, killed and stopped in every way."""

from __future__ import annotations

import functools
import http.client
import os
import random  # noqa: TID251  # seeded moments
import re
import shutil
import signal
import socket
import subprocess  # noqa: TID251  # real processes are what is tested
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ironic_lite.clock import SystemClock
from tests.waiting import until

PROGRAM = Path(__file__).with_name("program.py")
ROOT = Path(__file__).parents[3]
CLOCK = SystemClock()


class Launched:
    """One running program, and what it told: its journal, its stderr, and what it said to systemd."""

    def __init__(self, directory: Path, *, prefix: tuple[str, ...] = (), **options: object) -> None:
        self.journal_file, self.stderr_file = directory / "journal", directory / "stderr"
        self.journal_file.touch()
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.settimeout(10)
        self.systemd.bind(str(directory / "notify"))
        environ = os.environ | {"PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(directory / "notify"), "LISTEN_FDS": "1"}
        if "watchdog_s" in options:
            environ |= {"WATCHDOG_USEC": str(int(float(str(options.pop("watchdog_s"))) * 1_000_000))}
        arguments = [f"{key}={value}" for key, value in options.items()]
        with self.stderr_file.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(PROGRAM), str(self.journal_file), *arguments],
                env=environ,
                stderr=stderr,
                start_new_session=True,
            )

    def journal(self, pattern: str) -> list[re.Match[str]]:
        return [match for line in self.journal_file.read_text().splitlines() if (match := re.fullmatch(pattern, line))]

    def pids(self, role: str) -> list[int]:
        return [int(match[1]) for match in self.journal(rf"(\d+) {role} started")]

    def kill_and_wait_for_the_next(self, role: str) -> None:
        before = self.pids(role)
        os.kill(before[-1], signal.SIGKILL)
        until(lambda: len(self.pids(role)) == len(before) + 1)

    def told(self) -> str:
        """The next thing said to systemd."""
        return self.systemd.recv(4096).decode()

    def told_until(self, wanted: str) -> list[str]:
        said = [self.told()]
        while wanted not in said[-1]:
            said.append(self.told())
        return said

    def port(self) -> int:
        until(lambda: self.journal(r"\d+ launcher port \d+"))
        return int(self.journal(r"\d+ launcher port (\d+)")[0][1])

    def get(self, path: str = "/", timeout_s: float = 10.0) -> int:
        """The pid that answers."""
        client = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=timeout_s)
        client.request("GET", path)
        with client.getresponse() as answer:
            assert answer.status == 200
            pid = int(answer.read())
        client.close()
        return pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, timeout_s: float = 15.0) -> int:
        return self.process.wait(timeout_s)

    def stderr(self) -> str:
        return self.stderr_file.read_text()

    def family(self) -> list[int]:
        """Every process of the program's session that still lives."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, state, _, _, session = re.match(r"(\d+) \(.*\) (\S) (\d+) (\d+) (\d+)", stat.read_text()).groups()  # type: ignore[union-attr]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == self.process.pid and state not in "ZX":
                found.append(int(pid))
        return found


Launch = Callable[..., Launched]


@pytest.fixture(params=["fork", "exec"])
def launch(launch_alone: Launch, request: pytest.FixtureRequest) -> Launch:
    """Both ways to start children."""
    return functools.partial(launch_alone, start=request.param)


@pytest.fixture
def launch_alone(tmp_path: Path) -> Iterator[Launch]:
    made: list[Launched] = []

    def start(**options: object) -> Launched:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(Launched(directory, **options))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for each in made:
        for pid in each.family():
            os.kill(pid, signal.SIGKILL)
        each.process.wait(10)
        each.systemd.close()


def ready(launched: Launched) -> Launched:
    assert launched.told_until("READY=1")[-1] == "READY=1"
    assert launched.told() == "STATUS=serving"
    return launched


def test_ready_is_told_when_both_serve_and_the_children_are_set_up(launch: Launch) -> None:
    launched = ready(launch())
    assert len(launched.pids("api")) == len(launched.pids("conductor")) == 1
    facts = launched.journal(r"\d+ (?:api|conductor) facts eventlet=\[\] told=\[\] stack=8388608")
    assert len(facts) == 2, launched.journal_file.read_text()
    assert launched.journal(r"\d+ conductor sockets 0"), "A child keeps the listener of another."
    fresh = launched.journal(r"\d+ child fresh 1")
    assert len(fresh) == (2 if "start=exec" in launched.process.args else 0)  # type: ignore[operator]
    assert launched.get() == launched.pids("api")[0]
    assert not launched.stderr().count("eventlet")


def test_sigterm_stops_in_order_and_lets_a_running_request_end(launch: Launch) -> None:
    launched = ready(launch())
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(launched.get, "/slow")
        until(lambda: launched.journal(r"\d+ api request"))
        launched.signal(signal.SIGTERM)
        assert slow.result(10) == launched.pids("api")[0]
    assert launched.end() == 0
    assert launched.told() == "STOPPING=1\nSTATUS=stopping"
    order = [match[1] for match in launched.journal(r"\d+ (\w+ (?:stopping|stopped|drained \w+))")]
    assert order == ["api stopping", "api drained True", "api stopped", "conductor stopping", "conductor stopped"]
    assert launched.journal(r"\d+ launcher ends with 0, zombies 0, threads 1")
    assert launched.family() == []


def test_a_killed_child_comes_back_and_its_port_never_refuses(launch: Launch) -> None:
    launched = ready(launch())
    stop, answered, reset = threading.Event(), [], []

    def ask() -> None:
        while not stop.is_set():
            try:
                answered.append(launched.get())
            except (ConnectionResetError, http.client.RemoteDisconnected) as exc:
                reset.append(exc)  # the request that was being served by the killed process

    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(ask)
        for role in ("api", "conductor", "api"):
            launched.kill_and_wait_for_the_next(role)
        third = launched.pids("api")[-1]
        until(lambda: third in answered)
        stop.set()
        client.result(15)  # a refused connection would be raised here
    assert set(answered) <= set(launched.pids("api"))
    assert len(reset) <= 2
    assert launched.get() == third
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0


def test_several_apis_share_a_port_and_losing_one_refuses_nobody(launch: Launch) -> None:
    launched = ready(launch(workers=3))
    assert len(set(launched.pids("api"))) == 3
    stop = threading.Event()
    answered: set[int] = set()
    reset: list[Exception] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                answered.add(launched.get())
            except (ConnectionResetError, http.client.RemoteDisconnected) as exc:
                reset.append(exc)  # the one that was being served by the killed process

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        until(lambda: len(answered) >= 2)
        os.kill(launched.pids("api")[0], signal.SIGTERM)  # drains, and is replaced
        until(lambda: len(launched.pids("api")) == 4)
        assert reset == []
        os.kill(launched.pids("api")[1], signal.SIGKILL)
        until(lambda: len(launched.pids("api")) == 5)
        stop.set()
        for client in clients:
            client.result(15)  # a refused connection would be raised here
    assert len(reset) <= 4
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0
    order = [match[1] for match in launched.journal(r"\d+ (\w+ (?:stopping|stopped))")][2:]
    assert order[-2:] == ["conductor stopping", "conductor stopped"]
    assert sorted(order[:-2]) == ["api stopped"] * 3 + ["api stopping"] * 3


def test_a_child_that_cannot_start_ends_the_launcher_with_its_reason(launch: Launch) -> None:
    launched = launch(fail="conductor")
    assert launched.end() == 1
    assert "The option [test]fail forbids a start." in launched.stderr()
    assert "conductor could not start" in launched.stderr()
    assert "Traceback" not in launched.stderr()
    assert launched.family() == []
    launched.systemd.setblocking(False)
    assert launched.told() == "STOPPING=1\nSTATUS=stopping"


def test_a_second_sigterm_is_now(launch: Launch) -> None:
    launched = ready(launch(hang="api"))
    launched.signal(signal.SIGTERM)
    until(lambda: launched.journal(r"\d+ api stopping"))
    before = CLOCK.monotonic()
    launched.signal(signal.SIGTERM)
    assert launched.end() == 1
    assert CLOCK.monotonic() - before < 5
    assert launched.family() == []


def test_a_service_that_hangs_is_killed_at_the_deadline_and_the_other_stops_well(launch: Launch) -> None:
    launched = ready(launch(hang="api", grace_s=2))
    launched.signal(signal.SIGTERM)
    assert launched.end() == 1
    assert launched.journal(r"\d+ conductor stopped"), "The one that hangs took the time of the other."
    assert "api did not stop in time and is killed." in launched.stderr()
    assert "conductor did not stop" not in launched.stderr()
    assert launched.family() == []


def test_when_the_launcher_is_killed_the_children_drain_and_go(launch: Launch) -> None:
    launched = ready(launch())
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(launched.get, "/slow")
        until(lambda: launched.journal(r"\d+ api request"))
        launched.signal(signal.SIGKILL)
        assert slow.result(10) == launched.pids("api")[0]
    launched.process.wait(5)
    until(lambda: launched.family() == [])
    assert launched.journal(r"\d+ api stopped")
    assert launched.journal(r"\d+ conductor stopped")


def test_a_hung_child_without_a_launcher_is_ended_by_the_kernel(launch: Launch) -> None:
    launched = ready(launch(hang="conductor", grace_s=1))
    launched.signal(signal.SIGKILL)
    launched.process.wait(5)
    until(lambda: launched.family() == [], 12)
    assert launched.journal(r"\d+ conductor stopping")
    assert not launched.journal(r"\d+ conductor stopped")


def test_sighup_changes_no_process_and_fails_no_request(launch: Launch, tmp_path: Path) -> None:
    options = tmp_path / "test.conf"
    options.write_text("[DEFAULT]\ndebug = false\n")
    launched = ready(launch(config=options))
    stop = threading.Event()

    def ask() -> set[int]:
        pids = set()
        while not stop.is_set():
            pids.add(launched.get())
        return pids

    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(ask)
        options.write_text("[DEFAULT]\ndebug = true\n[test]\nunknown = 1\n")
        for count in (1, 2):
            launched.signal(signal.SIGHUP)
            said = launched.told_until("READY=1")
            assert re.match(r"RELOADING=1\nMONOTONIC_USEC=\d+$", said[0])
            assert launched.told() == "STATUS=serving"
            assert len(launched.journal(r"\d+ (?:api|conductor) reset")) == 2 * count
        stop.set()
        assert client.result(10) == set(launched.pids("api"))
    assert len(launched.pids("api")) == len(launched.pids("conductor")) == 1
    assert launched.stderr().count("Option [test]unknown") == 6  # two reloads of three processes
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0


def test_ctrl_c_to_the_whole_group_drains(launch: Launch) -> None:
    launched = ready(launch())
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(launched.get, "/slow")
        until(lambda: launched.journal(r"\d+ api request"))
        os.killpg(launched.process.pid, signal.SIGINT)
        assert slow.result(10) == launched.pids("api")[0]
    assert launched.end() == 0
    assert launched.journal(r"\d+ conductor stopped")


@pytest.mark.parametrize("seed", range(6))
def test_sigterm_at_any_moment_of_the_start_ends_well(launch: Launch, seed: int) -> None:
    launched = launch()
    until(lambda: launched.journal(r"\d+ launcher held"))
    threading.Event().wait(random.Random(seed).uniform(0.0, 1.2))
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0, launched.stderr()
    assert launched.family() == []


def test_sigquit_shows_the_stacks_and_does_no_harm(launch: Launch) -> None:
    launched = ready(launch())
    os.kill(launched.pids("conductor")[0], signal.SIGQUIT)  # every thread's stack, for an operator
    until(lambda: "most recent call first" in launched.stderr())
    assert launched.get() == launched.pids("api")[0]
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0


def busy(launched: Launched) -> Path:
    path = Path(f"{launched.journal_file}.busy")
    path.touch()
    return path


def test_a_drain_waits_beyond_the_time_of_a_stop(launch: Launch) -> None:
    launched = ready(launch(grace_s=2, drain_s=60))
    work = busy(launched)
    launched.signal(signal.SIGUSR2)
    assert launched.told() == "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=67000000"
    until(lambda: launched.journal(r"\d+ api stopped"))
    until(lambda: launched.journal(r"\d+ conductor draining"))
    with pytest.raises(subprocess.TimeoutExpired):
        launched.end(4)
    assert not launched.journal(r"\d+ conductor stopping")
    work.unlink()
    assert launched.end(5) == 0
    assert launched.journal(r"\d+ conductor stopped")


def test_a_drain_ends_at_its_own_limit(launch: Launch) -> None:
    launched = ready(launch(grace_s=20, drain_s=1))
    busy(launched)
    launched.signal(signal.SIGUSR2)
    assert launched.end(8) == 0
    assert launched.journal(r"\d+ conductor stopped")
    assert "Work still runs 1 s after the drain began" in launched.stderr()


def test_sigterm_makes_a_stop_of_a_drain_and_the_next_one_is_now(launch: Launch) -> None:
    stops, hangs = ready(launch(drain_s=600)), ready(launch(drain_s=600, hang="conductor"))
    for launched in (stops, hangs):
        busy(launched)
        launched.signal(signal.SIGUSR2)
        until(lambda: launched.journal(r"\d+ conductor draining"))  # noqa: B023  # called at once
        launched.signal(signal.SIGTERM)
    assert stops.end(5) == 0
    assert stops.journal(r"\d+ conductor stopped")
    until(lambda: hangs.journal(r"\d+ conductor stopping"))
    hangs.signal(signal.SIGTERM)
    assert hangs.end(5) == 1


def test_draining_children_without_a_launcher_stop(launch: Launch) -> None:
    launched = ready(launch(drain_s=600))
    busy(launched)
    launched.signal(signal.SIGUSR2)
    until(lambda: launched.journal(r"\d+ conductor draining"))
    launched.signal(signal.SIGKILL)
    launched.process.wait(5)
    until(lambda: launched.family() == [])
    assert launched.journal(r"\d+ conductor stopped")


def test_keeping_the_registration_is_passed_on_to_children_of_now_and_later(launch: Launch) -> None:
    launched = ready(launch())
    launched.signal(signal.SIGUSR1)
    until(lambda: len(launched.journal(r"\d+ (?:api|conductor) keeps")) == 2)
    launched.kill_and_wait_for_the_next("conductor")
    later = launched.pids("conductor")[-1]
    until(lambda: launched.journal(rf"{later} conductor keeps"))
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0


def test_a_service_alone_drains_and_keeps_its_registration(launch_alone: Launch) -> None:
    launched = ready(launch_alone(mode="alone"))
    launched.signal(signal.SIGUSR1)
    until(lambda: launched.journal(r"\d+ api keeps"))
    launched.signal(signal.SIGUSR2)
    assert launched.told() == "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=45000000"
    assert launched.end() == 0
    assert launched.journal(r"\d+ api draining")
    assert launched.journal(r"\d+ api stopped")


def alive_again(launched: Launched) -> None:
    assert "WATCHDOG=1" in launched.told_until("WATCHDOG=1")


def hears_nothing_for(launched: Launched, seconds: float) -> bool:
    """Whether systemd would lose patience, once what was said before is forgotten."""
    launched.systemd.settimeout(seconds)
    try:
        for _ in range(2):  # what was said before, and what was due right when it got stuck
            launched.told()
        launched.told()
    except TimeoutError:
        return True
    finally:
        launched.systemd.settimeout(10)
    return False


@pytest.mark.parametrize("role", ["api", "conductor"])
def test_the_watchdog_hears_of_us_only_while_every_child_moves(launch: Launch, role: str) -> None:
    launched = ready(launch(watchdog_s=1.2))
    for _ in range(4):
        assert launched.told() == "WATCHDOG=1"
    os.kill(launched.pids(role)[0], signal.SIGSTOP)
    assert hears_nothing_for(launched, 1.2)
    assert f"No progress of {role}; systemd's watchdog is told nothing." in launched.stderr()
    os.kill(launched.pids(role)[0], signal.SIGCONT)
    alive_again(launched)
    stuck = Path(f"{launched.journal_file}.stuck-{role}")
    stuck.touch()  # its process runs, and its work does not
    assert hears_nothing_for(launched, 1.2)
    stuck.unlink()
    alive_again(launched)
    launched.kill_and_wait_for_the_next(role)  # what is being started again is no reason to end everything
    alive_again(launched)
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0


def test_the_watchdog_of_a_service_alone(launch_alone: Launch) -> None:
    launched = ready(launch_alone(mode="alone", watchdog_s=1.2))
    alive_again(launched)
    stuck = Path(f"{launched.journal_file}.stuck-api")
    stuck.touch()
    assert hears_nothing_for(launched, 1.2)
    stuck.unlink()
    alive_again(launched)
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0


def test_without_a_watchdog_systemd_is_not_told_of_life(launch: Launch) -> None:
    launched = ready(launch())
    launched.systemd.settimeout(1.5)
    with pytest.raises(TimeoutError):
        launched.told()


def test_a_launcher_with_threads_refuses_to_fork(launch: Launch) -> None:
    launched = launch(threads=1)
    assert launched.end() == 1
    assert "A process with 2 threads must not fork." in launched.stderr()


def can_unshare() -> bool:
    unshare = shutil.which("unshare")
    command = [str(unshare), "--pid", "--fork", "--mount-proc", "true"]
    return unshare is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("mode", ["supervise", "alone"])
def test_as_process_1_it_reaps_orphans_and_stops(launch: Launch, mode: str) -> None:
    if not can_unshare():
        pytest.skip("The kernel lets this user make no process namespace.")
    launched = ready(launch(prefix=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"), mode=mode))
    for _ in range(3):
        assert launched.get("/orphan") == launched.pids("api")[0] > 1
    until(lambda: launched.stderr().count("Reaped the orphan process") == 3)
    inside = Path(f"/proc/{launched.process.pid}/task/{launched.process.pid}/children").read_text().split()
    os.kill(int(inside[0]), signal.SIGTERM)
    assert launched.end() == 0
    assert launched.journal(r"\d+ api stopped")


def test_a_service_alone_serves_reloads_and_stops(launch_alone: Launch) -> None:
    launched = ready(launch_alone(mode="alone"))
    assert launched.get() == launched.process.pid
    launched.signal(signal.SIGHUP)
    assert launched.told().startswith("RELOADING=1\n")
    assert launched.told() == "READY=1"
    assert launched.journal(r"\d+ api reset")
    launched.signal(signal.SIGTERM)
    assert launched.end() == 0
    assert launched.told_until("STOPPING=1")
    assert launched.journal(r"\d+ api stopped")


def test_a_service_alone_that_cannot_start_says_why(launch_alone: Launch) -> None:
    launched = launch_alone(mode="alone", fail="api")
    assert launched.end() == 1
    assert "The option [test]fail forbids a start." in launched.stderr()


def test_a_service_alone_goes_at_once_on_a_second_sigterm_and_at_its_limit(launch_alone: Launch) -> None:
    twice, limited = (
        ready(launch_alone(mode="alone", hang="api")),
        ready(launch_alone(mode="alone", hang="api", grace_s=1)),
    )
    limited.signal(signal.SIGTERM)
    twice.signal(signal.SIGTERM)
    until(lambda: twice.journal(r"\d+ api stopping"))
    twice.signal(signal.SIGTERM)
    assert twice.end(3) == -signal.SIGTERM
    assert limited.end() == -signal.SIGALRM


def test_work_before_the_services_is_done_once(launch_alone: Launch) -> None:
    launched = launch_alone(mode="once")
    assert launched.end() == 0
    (done,) = launched.journal(r"(\d+) migration done")
    assert int(done[1]) != launched.process.pid


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"fail": "migration"}, "The migration failed: The schema is from the future."),
        ({"hang": "migration"}, "The migration did not end within 1 s and was killed."),
    ],
    ids=["fails", "hangs"],
)
def test_work_before_the_services_that_does_not_end_well_is_told(
    launch_alone: Launch, options: dict[str, str], reason: str
) -> None:
    launched = launch_alone(mode="once", **options)
    assert launched.end() == 1
    assert reason in launched.stderr()
    assert launched.family() == []
