"""The processes of the real service: how they end with work at hand, and how they come and go."""

from __future__ import annotations

import contextlib
import http.client
import os
import random  # noqa: TID251  # seeded moments
import re
import shutil
import signal
import socket
import sqlite3
import subprocess  # noqa: TID251  # namespaces are entered by programs
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ironic_lite.clock import SystemClock
from tests.parts.service import Service, configured, marked, service, services_alone
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)

ALONE = {"username": "peer", "password": "do-not-tell-7"}
CLOCK = SystemClock()


def row(running: Service, table: str) -> dict[str, Any]:
    """The one row of a table, asked past the service."""
    with contextlib.closing(sqlite3.connect(running.directory / "ironic.sqlite", timeout=10)) as database:
        database.row_factory = sqlite3.Row
        return dict(database.execute(f"SELECT * FROM {table}").fetchone())


def begin_reboot(running: Service) -> None:
    uuid = running.create("one")
    running.put(f"/v1/nodes/{uuid}/states/power", {"target": "rebooting"})
    assert running.get(f"/v1/nodes/{uuid}")["reservation"] == "here"


@contextlib.contextmanager
def ended_by(running: Service, program: str, number: signal.Signals, timeout_s: float = 40.0) -> Iterator[None]:
    """Send the signal; the program must end well after what the block sees."""
    process = running.programs[program]
    process.send_signal(number)
    yield
    assert process.wait(timeout_s) == 0


def is_free(node: dict[str, Any]) -> bool:
    return node["reservation"] is None and node["target_power_state"] is None


@pytest.mark.parametrize("alone", [False, True], ids=["all-in-one", "alone"])
def test_sigterm_interrupts_work_that_outlives_it_and_says_so(tmp_path: Path, *, alone: bool) -> None:
    options: Any = {"fake": {"power_delay": 30}, "DEFAULT": {"graceful_shutdown_timeout": 12}}
    start = services_alone(tmp_path, json_rpc=ALONE, **options) if alone else service(tmp_path, **options)
    with start as running:
        begin_reboot(running)
        began = CLOCK.monotonic()
        with ended_by(running, "ironic-lite-conductor" if alone else "ironic-lite", signal.SIGTERM):
            pass
        assert CLOCK.monotonic() - began < 12
        node = row(running, "nodes")
        assert "was interrupted because the conductor is shutting down" in node["last_error"]
        assert is_free(node)
        assert not row(running, "conductors")["online"]


@pytest.mark.parametrize("alone", [False, True], ids=["all-in-one", "alone"])
def test_sigusr2_lets_work_end_well_that_outlives_a_stop(tmp_path: Path, *, alone: bool) -> None:
    options: Any = {
        "fake": {"power_delay": 9},
        "conductor": {"heartbeat_interval": 1},
        "DEFAULT": {"graceful_shutdown_timeout": 3},
    }
    start = services_alone(tmp_path, json_rpc=ALONE, **options) if alone else service(tmp_path, **options)
    with start as running:
        begin_reboot(running)
        with ended_by(running, "ironic-lite-conductor" if alone else "ironic-lite", signal.SIGUSR2):
            until(lambda: not row(running, "conductors")["online"], 5)
            beaten = row(running, "conductors")["updated_at"]
            until(lambda: row(running, "conductors")["updated_at"] != beaten, 5)
            assert not row(running, "conductors")["online"]
            assert not is_free(row(running, "nodes"))
        node = row(running, "nodes")
        assert (node["power_state"], node["last_error"]) == ("power on", None)
        assert is_free(node)


def test_a_drain_ends_at_its_own_limit_with_the_reason(tmp_path: Path) -> None:
    limits = {"graceful_shutdown_timeout": 12, "drain_shutdown_timeout": 2}
    with service(tmp_path, fake={"power_delay": 50}, DEFAULT=limits) as running:
        begin_reboot(running)
        with ended_by(running, "ironic-lite", signal.SIGUSR2, 2 + 12):
            pass
        node = row(running, "nodes")
        assert "was interrupted because the conductor is shutting down" in node["last_error"]
        assert is_free(node)


@pytest.mark.parametrize("alone", [False, True], ids=["all-in-one", "alone"])
def test_after_sigusr1_a_stop_leaves_the_conductor_online(tmp_path: Path, *, alone: bool) -> None:
    start = services_alone(tmp_path, json_rpc=ALONE) if alone else service(tmp_path)
    with start as running:
        program = "ironic-lite-conductor" if alone else "ironic-lite"
        running.programs[program].send_signal(signal.SIGUSR1)
        until(lambda: "The next stop keeps this service registered" in running.log())
        with ended_by(running, program, signal.SIGTERM):
            pass
        assert row(running, "conductors")["online"]


def end_of_idle_s(directory: Path) -> float:
    """Seconds from SIGTERM to the end of an idle service."""
    with service(directory) as running:
        running.power(running.create("one"), "power on")  # so that every kind of thread and connection is there
        began = CLOCK.monotonic()
        with ended_by(running, "ironic-lite", signal.SIGTERM):
            pass
        took_s = CLOCK.monotonic() - began
        assert marked(running.mark) == []
    return took_s


def test_an_idle_service_ends_within_a_second(tmp_path: Path) -> None:
    # Whoever waits for a limit waits a second each time; a busy machine is not busy three times.
    assert any(end_of_idle_s(tmp_path / attempt) < 1.0 for attempt in ("first", "second", "third"))


def started(running: Service, name: str) -> list[int]:
    """Every process that the launcher has started under that name."""
    return [int(pid) for pid in re.findall(rf"Started {name} as process (\d+)", running.log())]


@pytest.mark.parametrize("start_method", ["fork", "exec"])
def test_several_apis_serve_one_port_and_one_is_killed_without_a_lost_connection(
    tmp_path: Path, start_method: str
) -> None:
    with service(tmp_path, api={"api_workers": 2}, DEFAULT={"start_method": start_method}) as running:
        running.power(running.create("one"), "power on")
        assert [len(started(running, name)) for name in ("api-1", "api-2", "api-3")] == [1, 1, 0]
        os.kill(started(running, "api-1")[0], signal.SIGKILL)
        while len(started(running, "api-1")) < 2:
            socket.create_connection(("127.0.0.1", running.port), timeout=10).close()
            with contextlib.suppress(ConnectionResetError, http.client.RemoteDisconnected):  # it was the killed one's
                assert running.get("/v1/nodes")["nodes"]
        until(lambda: running.log().count("api-1 serves.") == 2)
        assert running.get("/v1/nodes")["nodes"]
        with ended_by(running, "ironic-lite", signal.SIGTERM):
            pass
        ends = re.findall(r"(\S+) ended with (\d+)\.", running.log())
        assert ends[-1] == ("conductor", "0")
        assert sorted(ends[:-1]) == [("api-1", "0"), ("api-2", "0")]


def test_a_child_by_exec_gets_its_secret_neither_by_arguments_nor_environment(tmp_path: Path) -> None:
    with service(tmp_path, DEFAULT={"start_method": "exec"}) as running:
        running.power(running.create("one"), "power on")  # so both have the one secret
        pids = running.pids()
        own = Path(f"/proc/{pids['launcher']}/environ").read_bytes().split(b"\0")
        for name in ("api", "conductor"):
            told = Path(f"/proc/{pids[name]}/cmdline").read_text().split("\0")
            assert told[told.index("-m") :][1:3] == ["ironic_lite", "child"]
            assert re.fullmatch(r"\d+", told[told.index("child") + 1])
            assert told[told.index("child") + 2 :] == ["--config-file", str(running.config), ""]
            assert set(Path(f"/proc/{pids[name]}/environ").read_bytes().split(b"\0")) <= set(own)


def test_a_child_is_started_by_the_launcher_only(tmp_path: Path) -> None:
    for arguments in (["child"], ["child", "x"], ["child", "987"]):
        done = subprocess.run(
            [sys.executable, "-m", "ironic_lite", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert "Only the launcher starts a child" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("role", ["api-1", "conductor"])
def test_systemd_hears_of_the_real_service_while_it_moves(tmp_path: Path, monkeypatch: Any, role: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        with service(tmp_path) as running:
            heard: list[bytes] = []
            while heard.count(b"WATCHDOG=1") < 4:
                heard.append(systemd.recv(4096))
            (stuck,) = started(running, role)
            os.kill(stuck, signal.SIGSTOP)
            until(lambda: f"No progress of {role}; systemd's watchdog is told nothing." in running.log())
            systemd.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:  # what was said before
                    systemd.recv(4096)
            systemd.settimeout(2)
            with pytest.raises(TimeoutError):
                systemd.recv(4096)
            os.kill(stuck, signal.SIGCONT)
            assert systemd.recv(4096) == b"WATCHDOG=1"


def holds_signals(pid: int) -> bool:
    """Whether our first line has run: SIGTERM waits from then on (proc(5), SigBlk)."""
    blocked = re.search(r"^SigBlk:\s+([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return blocked is not None and bool(int(blocked[1], 16) & 1 << (signal.SIGTERM - 1))


@pytest.mark.parametrize(("start_method", "moments"), [("fork", 25), ("exec", 10)])
def test_sigterm_at_any_moment_of_the_start_ends_well(tmp_path: Path, start_method: str, moments: int) -> None:
    chosen = random.Random(7)
    for number in range(moments):
        directory = tmp_path / str(number % 15)  # the last ones find a schema
        begun = configured(directory, {"DEFAULT": {"start_method": start_method}})
        begun.start("ironic-lite")
        launcher = begun.programs["ironic-lite"]
        try:
            until(lambda pid=launcher.pid: holds_signals(pid))  # type: ignore[misc]
            threading.Event().wait(chosen.uniform(0.0, 1.4))
            launcher.send_signal(signal.SIGTERM)
            assert launcher.wait(20) == 0, begun.log()[-4000:]
            assert marked(begun.mark) == []
        finally:
            for pid in marked(begun.mark):
                os.kill(pid, signal.SIGKILL)
            launcher.wait(10)


def unshare() -> list[str]:
    """The command that makes a process namespace; skips where the kernel forbids one."""
    command = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        done = subprocess.run([*command, "true"], check=False, capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        pytest.skip("unshare is not installed.")
    if done.returncode:
        pytest.skip(f"The kernel lets this user make no process namespace: {done.stderr.strip()}")
    return command


@pytest.mark.parametrize("start_method", ["fork", "exec"])
def test_as_process_1_the_service_reaps_orphans_and_ends(tmp_path: Path, start_method: str) -> None:
    begun = configured(tmp_path, {"DEFAULT": {"start_method": start_method}})
    begun.start("ironic-lite", prefix=unshare())
    outside = begun.programs["ironic-lite"]
    try:
        until(begun.ready, 30)
        begun.power(begun.create("one"), "power on")
        (inside,) = map(int, Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split())
        assert re.search(r"^NSpid:.*\s1$", Path(f"/proc/{inside}/status").read_text(), re.MULTILINE)
        for _ in range(3):
            subprocess.run(
                ["nsenter", "--target", str(inside), "--pid", "sh", "-c", "sleep 0.1 & exec true"],
                check=True,
                timeout=10,
            )
        until(lambda: begun.log().count("Reaped the orphan process") == 3)
        os.kill(inside, signal.SIGTERM)
        assert outside.wait(20) == 0, begun.log()[-4000:]
        assert marked(begun.mark) == []
    finally:
        for pid in marked(begun.mark):
            os.kill(pid, signal.SIGKILL)
        outside.wait(10)


def test_settings_are_judged_at_start_and_again_at_a_reload(tmp_path: Path) -> None:
    with service(tmp_path, conductor={"sync_power_state_workers": 20}) as running:
        until(lambda: running.log().count("The settings were judged") == 1)
        assert re.findall(
            r"WARNING .*sync_power_state_workers = 20 has no effect .* Set (.*) \((\S+)\)", running.log()
        ) == [("[conductor]periodic_max_workers to at least 20.", "no-effect")]
        text = running.config.read_text()
        running.config.write_text(text.replace("sync_power_state_workers = 20", "sync_power_state_workers = 8"))
        running.programs["ironic-lite"].send_signal(signal.SIGHUP)
        until(lambda: running.log().count("The settings were judged") == 2)
        assert "The settings were judged for 0 nodes: 0 pieces of advice." in running.log()
        assert running.log().count("(no-effect)") == 1
