"""Signals as bytes on a pipe: handlers do nothing, and the main thread reads what came when it is ready for it.

A process first `hold`s its signals, before its heavy imports, so that an early SIGTERM waits instead of killing. They
are let in by the `Wakeup` that can tell of them. A fork happens with signals held, for the same reason.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from typing import Final

HELD: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD})


def hold() -> None:
    """Let signals wait from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let signals wait in this block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Wakeup:
    """Makes the wanted signals readable on a file descriptor, and lets all held signals in. Main thread only."""

    def __init__(self, wanted: Iterable[signal.Signals], *, ignored: Iterable[signal.Signals] = ()) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for each in wanted:
            signal.signal(each, _nothing)
        for each in ignored:
            signal.signal(each, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def fileno(self) -> int:
        return self._read

    def read(self) -> list[int]:
        """The signals since the last time, in their order."""
        try:
            return list(os.read(self._read, 4096))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Stop listening; for a fork's child, which makes its own."""
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)


def _nothing(number: int, frame: object) -> None:
    """Stand in as a handler, so that the wake-up file descriptor is written to."""
