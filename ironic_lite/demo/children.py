"""The demo's child programs, and their certain end: the one door to subprocess here.

Guarantees. A child runs in a process group of its own, so that Ctrl-C at the terminal reaches the demo alone, which
ends its children in order. `stop` returns within its time and leaves no process of the group behind. What a child
writes goes to files, so it never waits for a reader.
"""

from __future__ import annotations

import os
import signal
import subprocess  # noqa: TID251  # this is the demo's door
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.demo.failure import DemoFailed

TAIL_KIB: Final = 2
KILL_S: Final = 5.0  # a group that was killed is gone by then
_LOOK_S: Final = 0.05


class Child:
    """`python -m MODULE ...` with this interpreter; standard input is a pipe that ends with the demo."""

    def __init__(self, name: str, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._output, self._errors = directory / f"{name}.out", directory / f"{name}.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  # our own modules and arguments
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise `DemoFailed` with its last words if the child has ended."""
        if (status := self._status()) is not None:
            raise DemoFailed(reason=f"The {self.name} ended with status {status}. Its last words:\n{self.tail()}")

    def first_line(self) -> str | None:
        """The first whole line of its output; None while there is none."""
        line, end, _ = self._output.read_text(encoding="utf-8", errors="replace").partition("\n")
        return line if end else None

    def tail(self) -> str:
        """The end of what it wrote to standard error, at most `TAIL_KIB`."""
        with self._errors.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_KIB * 1024))
            return file.read().decode(errors="replace").strip() or "(nothing)"

    def stop(self, timeout_s: float) -> None:
        """End the child, once: it is asked first, and killed when `timeout_s` has passed. Its group dies with it."""
        if self._status() is None:
            self._process.terminate()
        deadline, never = Deadline(SystemClock(), timeout_s), threading.Event()
        while self._status() is None and not deadline.passed():
            never.wait(_LOOK_S)
        os.killpg(self._process.pid, signal.SIGKILL)  # the child is not reaped yet: the number is still its group's
        self._process.wait(KILL_S)
        cast("IO[bytes]", self._process.stdin).close()

    def _status(self) -> int | None:
        """The exit status of a child that has ended (a signal's number for one that was killed); never reaps it."""
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return None if ended is None else ended.si_status


@contextmanager
def running(child: Child, stop_s: float) -> Iterator[Child]:
    """The child for the length of the block."""
    try:
        yield child
    finally:
        child.stop(stop_s)
