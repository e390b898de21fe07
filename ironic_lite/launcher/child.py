"""What runs in the process of a service: forked by the supervisor here, alone in `alone.py`.

*Guarantees.*
(1) Signals that come before the handlers exist wait and are served then; none is lost or deadly by being early.
(2) The end has one way, `stop` then `wait`, whether by SIGTERM or because the supervisor is gone (kill -9 too): the
    lifeline pipe reads EOF then. SIGUSR2 puts a `drain` before it, which ends when nothing runs any more, at its limit,
    by SIGTERM, or with the supervisor.
(3) From its beginning the end is bounded by a kernel alarm with the default action, which needs no GIL.
(4) The process leaves through `os._exit`: no thread, no `atexit` of a library can hold it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.launcher.service import Limits, Service, reload_options
from ironic_lite.launcher.signals import Wakeup, held

LOG = logging.getLogger(__name__)

READY: Final = b"R"
RELOADED: Final = b"L"
PROGRESS: Final = b"P"
LOOKS_PER_WATCHDOG: Final = 4

START_LIMIT_S: Final = 300
ALARM_MARGIN_S: Final = 5  # the supervisor's own deadline comes first
_DRAIN_LOOK_S: Final = 0.25  # how late the end of the last work may be seen
_STACK_BYTES: Final = 8 << 20  # smaller saves no memory, and turns nested data into a crash (musl's default: 128 KiB)
_M_ARENA_MAX: Final = -8  # of glibc's malloc.h
_ARENAS: Final = 2  # with one arena per thread, memory of a burst is never given back


def fork(work: Callable[[], int]) -> int:
    """Run `work` in a child, which ends with what it returns; the child's pid.

    Signals are held in the child until it makes a `Wakeup` of its own. Raises `RuntimeError` in a process with
    threads: their locks would stay locked in the child for ever.
    """
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise RuntimeError(f"A process with {threads} threads must not fork.")
    sys.stdout.flush()
    sys.stderr.flush()
    with held():
        pid = os.fork()  # noqa: TID251  # the launcher's one fork
        if pid == 0:
            end(guarded(work))
    return pid


def end(code: int) -> NoReturn:
    """End this process at once, with its log written and nothing waited for."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def guarded(work: Callable[[], int]) -> int:
    """Do the work; 1 when it raises, with the reason in the log."""
    try:
        return work()
    except errors.Error as exc:
        LOG.critical("%s", exc)
    except BaseException:
        LOG.critical("This process ends with an error.", exc_info=True)
    return 1


_WANTED: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})


class Life:
    """A service from its making to its end, in this process's main thread. Subclasses say who is told what."""

    ignored: tuple[signal.Signals, ...] = ()

    def __init__(self, make: Callable[[], Service], limits: Limits) -> None:
        self._make, self._limits = make, limits
        self._poll = select.poll()

    def run(self) -> int:
        prepare_process()
        signal.alarm(START_LIMIT_S)
        wakeup = Wakeup(_WANTED - {*self.ignored}, ignored=self.ignored)
        self._poll.register(wakeup.fileno(), select.POLLIN)
        service = self._make()
        service.start()
        signal.alarm(0)
        self.on_ready()
        look_s = self._limits.watchdog_s and self._limits.watchdog_s / LOOKS_PER_WATCHDOG
        while (end := self._end_wanted(service, wakeup)) is None:
            self._poll.poll(look_s and look_s * 1000)
            if look_s and service.moves():
                self.on_progress()
        if end == signal.SIGUSR2:
            self._drain(service, wakeup)
        self._end(service)
        return 0

    def _end_wanted(self, service: Service, wakeup: Wakeup) -> signal.Signals | None:
        """SIGTERM to stop, SIGUSR2 to drain before, None to go on. Other signals are obeyed here."""
        came = wakeup.read()
        if signal.SIGUSR1 in came:
            LOG.info("The next stop keeps this service registered (SIGUSR1).")
            service.keep_registration()
        if signal.SIGTERM in came or signal.SIGINT in came or self.orphaned():
            return signal.SIGTERM
        if signal.SIGUSR2 in came:
            return signal.SIGUSR2
        if signal.SIGHUP in came:
            self._reload(service)
        return None

    def _drain(self, service: Service, wakeup: Wakeup) -> None:
        LOG.info("Draining on SIGUSR2: no new work, and up to %d s for what runs.", self._limits.drain_s)
        deadline = Deadline(SystemClock(), self._limits.drain_s)
        signal.alarm(self._limits.drain_s + self._limits.stop_s + ALARM_MARGIN_S)
        self.on_draining()
        service.drain()
        while service.is_busy() and self._end_wanted(service, wakeup) != signal.SIGTERM:
            if deadline.passed():
                LOG.warning("Work still runs %d s after the drain began; stopping now.", self._limits.drain_s)
                return
            self._poll.poll(_DRAIN_LOOK_S * 1000)

    def _reload(self, service: Service) -> None:
        self.on_reloading()
        reload_options()
        try:
            service.reset()
        except Exception:
            LOG.exception("The options could not be taken over; the service goes on with what it has.")
        self.on_reloaded()

    def _end(self, service: Service) -> None:
        signal.alarm(self._limits.stop_s + ALARM_MARGIN_S)
        self.on_stopping()
        service.stop()
        service.wait()

    def orphaned(self) -> bool:
        """Whether the supervisor is gone."""
        return False

    def on_ready(self) -> None: ...

    def on_reloading(self) -> None: ...

    def on_reloaded(self) -> None: ...

    def on_progress(self) -> None: ...

    def on_draining(self) -> None: ...

    def on_stopping(self) -> None: ...


class Supervised(Life):
    """A life under a supervisor: reports on `status`, and ends when `lifeline` does."""

    ignored = (signal.SIGINT,)  # the supervisor decides what Ctrl-C means

    def __init__(self, make: Callable[[], Service], limits: Limits, *, status: int, lifeline: int) -> None:
        super().__init__(make, limits)
        self._status, self._lifeline = status, lifeline
        self._poll.register(lifeline, select.POLLIN)

    def orphaned(self) -> bool:
        ended, _, _ = select.select([self._lifeline], [], [], 0)
        return bool(ended)

    def on_ready(self) -> None:
        self._report(READY)

    def on_reloaded(self) -> None:
        self._report(RELOADED)

    def on_progress(self) -> None:
        self._report(PROGRESS)

    def _report(self, what: bytes) -> None:
        try:
            os.write(self._status, what)
        except BrokenPipeError:
            LOG.warning("The launcher is gone.")


def prepare_process() -> None:
    """Settings of a process that will have threads."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGQUIT, all_threads=True, chain=False)
    threading.stack_size(_STACK_BYTES)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and does not need it
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
