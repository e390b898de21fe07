"""Work that must be done before the services start, in a child of its own: what it imports and opens goes with it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.launcher import notify
from ironic_lite.launcher.child import fork, prepare_process
from ironic_lite.launcher.signals import Wakeup

_REASON_LIMIT: Final = 4096


def run_once(name: str, work: Callable[[], None], timeout_s: float) -> None:
    """Do the work in a forked child and wait for its end.

    Raises `ConfigurationError` with its reason when it fails, and when it takes longer than `timeout_s` seconds.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = fork(lambda: _work(work, reading, writing))
    os.close(writing)
    try:
        reason = _read(reading, timeout_s)
        if reason is None:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(reading)
    _, status = os.waitpid(pid, 0)  # bounded: the child has closed its pipe, or was killed
    if reason is None:
        raise errors.ConfigurationError(reason=f"{name} did not end within {timeout_s:.0f} s and was killed.")
    if status:
        told = reason.decode(errors="replace") or f"its process ended with {os.waitstatus_to_exitcode(status)}."
        raise errors.ConfigurationError(reason=f"{name} failed: {told}")


def _work(work: Callable[[], None], reading: int, writing: int) -> int:
    os.close(reading)
    notify.forget()
    prepare_process()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)
    Wakeup((), ignored=(signal.SIGUSR1, signal.SIGUSR2))
    try:
        work()
    except Exception as exc:
        os.write(
            writing,
            (str(exc) if isinstance(exc, errors.Error) else f"{type(exc).__name__}: {exc}").encode()[:_REASON_LIMIT],
        )
        raise
    return 0


def _read(reading: int, timeout_s: float) -> bytes | None:
    """What the child had to say by its end; None when that did not come in time."""
    deadline, said = Deadline(SystemClock(), timeout_s), b""
    while select.select([reading], [], [], deadline.left_s())[0]:
        data = os.read(reading, _REASON_LIMIT)
        if not data:
            return said
        said += data
    return None
