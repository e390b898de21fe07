"""Our supervisor beside oslo.service's launcher: what READY=1 means, what SIGHUP and Ctrl-C do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from choices.figures import tell
from choices.tiny_service import OSLO, OURS, WORK_S

START_LIMIT_S = 20.0
WATCH_S = 6.0
TICK_S = 0.01


class Run:
    """One life of the tiny service under a launcher, in a process group and a directory of its own."""

    def __init__(self, launcher: str, directory: Path) -> None:
        self.done = directory / "done"
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.settimeout(START_LIMIT_S)
        self._notified.bind(str(directory / "notify"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "choices.tiny_service", launcher, str(self._port)],
            env=os.environ | {"NOTIFY_SOCKET": str(directory / "notify")},
            start_new_session=True,
        )

    def until_told_ready(self) -> None:
        while b"READY=1" not in self._notified.recv(4096):
            pass

    def ask(self, line: str) -> str | None:
        """The answer, or None while nobody answers."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
            connection.sendall(line.encode())
            return connection.recv(4096).decode() or None
        return None

    def until_answered(self, line: str) -> str:
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            if (answer := self.ask(line)) is not None:
                return answer
            pause()
        raise SystemExit("The tiny service does not answer.")

    def end(self) -> None:
        self._notified.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def started(launcher: str) -> Iterator[Run]:
    with tempfile.TemporaryDirectory() as directory:
        run = Run(launcher, Path(directory))
        try:
            run.until_told_ready()
            yield run
        finally:
            run.end()


def pause() -> None:
    threading.Event().wait(TICK_S)


def ready_to_answer_ms(launcher: str) -> float:
    with started(launcher) as run:
        began = time.monotonic()
        run.until_answered("pid")
        return (time.monotonic() - began) * 1000


def after_sighup(launcher: str) -> tuple[str, float]:
    """Whether the process stayed, and the seconds without an answer, when two seconds of work run at SIGHUP."""
    with started(launcher) as run:
        before = run.until_answered("pid")
        run.until_answered(f"work {run.done}")
        run.process.send_signal(signal.SIGHUP)
        silent_s, last, end = 0.0, time.monotonic(), time.monotonic() + WATCH_S
        after: str | None = before
        while time.monotonic() < end:
            answer, now = run.ask("pid"), time.monotonic()
            if answer is None:
                silent_s += now - last
            after, last = answer, now
            pause()
        return ("same process" if after == before else "another process"), silent_s


def work_at_ctrl_c(launcher: str) -> str:
    """What becomes of work that runs when the terminal sends SIGINT to the whole group."""
    with started(launcher) as run:
        run.until_answered("pid")
        run.until_answered(f"work {run.done}")
        os.killpg(run.process.pid, signal.SIGINT)
        code = run.process.wait(WORK_S + START_LIMIT_S)
        return f"{'finished' if run.done.exists() else 'lost'}, exit code {code}"


def main() -> None:
    tell("ms from READY=1 to the first answer", {who: ready_to_answer_ms(who) for who in (OSLO, OURS)}, baseline=OSLO)
    reloads = {who: after_sighup(who) for who in (OSLO, OURS)}
    tell("after SIGHUP", {who: found for who, (found, _) in reloads.items()}, baseline=OSLO)
    tell("seconds without an answer after SIGHUP", {who: gap for who, (_, gap) in reloads.items()}, baseline=OSLO)
    tell("work that runs at Ctrl-C", {who: work_at_ctrl_c(who) for who in (OSLO, OURS)}, baseline=OSLO)


if __name__ == "__main__":
    main()
