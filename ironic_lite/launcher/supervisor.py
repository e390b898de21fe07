"""The launcher's supervisor: forks the services, watches them, brings them back, and stops them in order.

*Guarantees.*
(1) One thread, one selector. Signal handlers do nothing; signals, reports of children and deadlines are events of it.
    Services that are forked are made here, before the first fork and anew at SIGHUP: all children share their memory.
(2) READY=1 is said when every child serves. A child that dies before its first READY ends everything with exit code 1.
    Later deaths bring a new child: at once, then backing off.
(3) SIGTERM and SIGINT stop the children in their order, under one deadline; what is left then is killed. The second
    SIGTERM or SIGINT is now. The exit code is 0 when every child ended by itself and well. SIGUSR2 drains: the same
    order, but the deadline is the drain's and the stop's together; a SIGTERM makes a stop of it. SIGUSR1 is passed on,
    to children that come later as well.
(4) SIGHUP changes no process: options are read again here (for children to come) and in each child, then READY=1.
(5) When this process dies, the lifeline pipe closes, and the children drain and go.
(6) As PID 1 it reaps every orphan.
(7) systemd's watchdog hears of us only while every child that serves has shown progress within half of its interval. A
    child that is being started again does not count: the back-off and its own alarm look after that one.
(8) Listening sockets live here, so that a port stays open while its child is away; they close when the stop begins.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import selectors
import signal
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from ironic_lite import errors
from ironic_lite.clock import Clock, SystemClock
from ironic_lite.launcher import notify
from ironic_lite.launcher.child import (
    ALARM_MARGIN_S,
    LOOKS_PER_WATCHDOG,
    PROGRESS,
    READY,
    RELOADED,
    START_LIMIT_S,
    Supervised,
    fork,
)
from ironic_lite.launcher.handover import Handover, Program, become
from ironic_lite.launcher.restart import Backoff, share_s
from ironic_lite.launcher.service import ChildSpec, Limits, reload_options
from ironic_lite.launcher.signals import HELD, Wakeup

LOG = logging.getLogger(__name__)

_RELOAD_LIMIT_S: Final = 30.0
_REAP_LIMIT_S: Final = 5.0  # from SIGKILL to the last exit status


class Child:
    """What the supervisor knows of one child."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.make = spec.make
        self.pid: int | None = None
        self.status: int | None = None  # our end of its status pipe
        self.ready = self.was_ever_ready = self.reloading = self.told_to_stop = False
        self.progress_at = 0.0
        self.backoff = Backoff()

    def prepare(self) -> None:
        """Make the service here and now, so that the lives of the child share its memory from now on."""
        service = self.spec.make()
        self.make = lambda: service

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; none if it is not there."""
        if self.pid is not None:
            os.kill(self.pid, number)


class Supervisor:
    """Runs the children until SIGTERM. Make and run it in the main thread of a process that has no other."""

    def __init__(
        self,
        children: Sequence[ChildSpec],
        limits: Limits,
        *,
        program: Program | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Children start in this order, and stop by their stages. With a `program` each becomes that by exec."""
        self._children = [Child(spec) for spec in children]
        self._limits, self._program = limits, program
        self._clock = clock or SystemClock()
        self._code = 0
        self._announced = self._stopping = self._draining = self._keeps_registration = self._over = False
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}

    def run(self) -> int:
        """Return the exit code when every child is gone."""
        faulthandler.register(signal.SIGQUIT, all_threads=True, chain=False)
        self._selector = selectors.DefaultSelector()
        self._lifeline, self._lifeline_held = os.pipe2(os.O_CLOEXEC)
        self._wakeup = Wakeup(HELD)
        self._selector.register(self._wakeup.fileno(), selectors.EVENT_READ, self._on_signals)
        self._prepare()
        gc.collect()
        gc.freeze()  # or the first collection in a child would copy every page that it shares with us
        for child in self._children:
            self._start(child)
        while not self._over:
            self._turn()
        return self._code

    def _prepare(self) -> None:
        if self._program is None:
            for child in self._children:
                child.prepare()

    def _turn(self) -> None:
        nearest = min((when for when, _ in self._timers.values()), default=None)
        timeout_s = None if nearest is None else max(0.0, nearest - self._clock.monotonic())
        for key, _ in self._selector.select(timeout_s):
            key.data()
        now = self._clock.monotonic()
        due = [name for name, (when, _) in self._timers.items() if when <= now]
        for name in due:
            if name in self._timers:  # an earlier one of them may have ended it
                _, action = self._timers.pop(name)
                action()
        if self._stopping and not any(child.pid for child in self._children):
            self._over = True

    def _after(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._timers[name] = self._clock.monotonic() + seconds, action

    # Children come.

    def _start(self, child: Child) -> None:
        child.status, reporting = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        child.ready = False
        child.pid = fork(lambda: self._live(child, reporting))
        os.close(reporting)
        self._selector.register(child.status, selectors.EVENT_READ, lambda: self._on_report(child))
        LOG.info("Started %s as process %s.", child.spec.name, child.pid)
        if self._keeps_registration:
            child.signal(signal.SIGUSR1)  # held there until it is ready for it

    def _live(self, child: Child, reporting: int) -> int:
        """In the forked child: serve."""
        notify.forget()
        if self._program is not None:
            self._become(self._program, child, reporting)
        self._give_up_all_but(child)
        return Supervised(child.make, self._limits, status=reporting, lifeline=self._lifeline).run()

    def _become(self, program: Program, child: Child, reporting: int) -> NoReturn:
        """Exec, which closes everything that is not handed over."""
        signal.set_wakeup_fd(-1)
        signal.alarm(START_LIMIT_S)
        listeners = [listener.fileno() for listener in child.spec.listeners]
        become(
            program,
            Handover(child.spec.name, self._limits, reporting, self._lifeline, listeners, program.secret),
        )

    def _give_up_all_but(self, child: Child) -> None:
        """Close what is the launcher's or a sibling's."""
        self._wakeup.close()
        self._selector.close()
        os.close(self._lifeline_held)  # or no sibling would ever see the end of the lifeline
        for other in self._children:
            if other.status is not None:
                os.close(other.status)
            if other is not child:
                other.spec.close_listeners(but=child.spec.listeners)

    def _on_report(self, child: Child) -> None:
        try:
            said = b"" if child.status is None else os.read(child.status, 4096)
        except BlockingIOError:  # an event of the pipe of a child that is gone
            return
        if not said:
            self._close_status(child)
        if READY in said or PROGRESS in said:
            child.progress_at = self._clock.monotonic()
        if READY in said:
            child.ready = child.was_ever_ready = True
            LOG.info("%s serves.", child.spec.name)
            self._tell_ready()
        if RELOADED in said:
            child.reloading = False
            self._end_reload()

    def _close_status(self, child: Child) -> None:
        if child.status is not None:
            self._selector.unregister(child.status)
            os.close(child.status)
            child.status = None

    def _tell_ready(self) -> None:
        if not self._stopping and all(child.ready for child in self._children):
            if self._announced:
                notify.status("serving")
            else:
                LOG.info("Everything serves.")
                notify.ready("serving")
                self._look_at_progress()
            self._announced = True

    def _look_at_progress(self) -> None:
        watchdog_s = self._limits.watchdog_s
        if watchdog_s is None:
            return
        since = self._clock.monotonic() - watchdog_s / 2
        stuck = [child.spec.name for child in self._children if child.ready and child.progress_at < since]
        if stuck:
            LOG.error("No progress of %s; systemd's watchdog is told nothing.", ", ".join(stuck))
        else:
            notify.alive()
        self._after("progress", watchdog_s / LOOKS_PER_WATCHDOG, self._look_at_progress)

    # Children go.

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            child = next((child for child in self._children if child.pid == pid), None)
            if child is None:
                LOG.info("Reaped the orphan process %s, which ended with %s.", pid, code)
            else:
                self._on_end(child, code)

    def _on_end(self, child: Child, code: int) -> None:
        self._on_report(child)  # it may have got ready right before its end
        self._close_status(child)
        child.pid, child.reloading = None, False
        if self._stopping:
            self._code = self._code or int(code != 0)
            LOG.log(logging.ERROR if code else logging.INFO, "%s ended with %s.", child.spec.name, code)
            self._stop_next()
        elif not child.was_ever_ready:
            LOG.critical("%s could not start (its process ended with %s); giving up.", child.spec.name, code)
            self._code = 1
            self._stop()
        else:
            delay_s = child.backoff.delay_s(self._clock.monotonic(), was_ready=child.ready)
            LOG.error("%s died (it ended with %s); it is started again in %.1f s.", child.spec.name, code, delay_s)
            notify.status(f"starting {child.spec.name} again")
            self._after(f"restart {child.spec.name}", delay_s, lambda: self._start(child))
        child.ready = False
        self._end_reload()

    # Signals.

    def _on_signals(self) -> None:
        for number in self._wakeup.read():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._reload()
            elif number == signal.SIGUSR1:
                self._keep_registration()
            elif number == signal.SIGUSR2:
                self._drain()
            else:
                self._on_stop(signal.Signals(number).name)

    def _on_stop(self, name: str) -> None:
        if self._draining:
            LOG.info("Stopping on %s, and draining no longer.", name)
            self._shorten()
        elif not self._stopping:
            LOG.info("Stopping on %s.", name)
            self._stop()
        else:
            LOG.warning("Stopping at once on a second %s.", name)
            self._kill()

    def _keep_registration(self) -> None:
        self._keeps_registration = True
        for child in self._children:
            child.signal(signal.SIGUSR1)

    def _reload(self) -> None:
        if self._stopping or not self._announced:
            return
        notify.reloading(self._clock)
        reload_options()
        try:
            self._prepare()  # or a child that comes later would begin with what was read before
        except errors.Error as exc:
            LOG.error("Children that come later begin with what was read before: %s", exc)  # noqa: TRY400  # no trace needed
        for child in self._children:
            child.reloading = child.ready
            if child.ready:
                child.signal(signal.SIGHUP)
        self._after("reload", _RELOAD_LIMIT_S, self._give_up_reload)
        self._end_reload()

    def _end_reload(self) -> None:
        if "reload" in self._timers and not any(child.reloading for child in self._children):
            del self._timers["reload"]
            notify.ready("serving")

    def _give_up_reload(self) -> None:
        for child in self._children:
            if child.reloading:
                LOG.error("%s did not take over the options within %.0f s.", child.spec.name, _RELOAD_LIMIT_S)
                child.reloading = False
        notify.ready("serving")

    # The end.

    def _stop(self) -> None:
        notify.stopping()
        self._begin_end(self._limits.stop_s)

    def _drain(self) -> None:
        if self._stopping:
            return
        timeout_s = self._limits.drain_s + self._limits.stop_s
        LOG.info("Draining on SIGUSR2: no new work, and up to %d s for what runs.", self._limits.drain_s)
        notify.draining(timeout_s + ALARM_MARGIN_S)
        self._draining = True
        self._begin_end(timeout_s)

    def _begin_end(self, timeout_s: float) -> None:
        self._stopping = True
        self._timers.clear()
        self._after("deadline", timeout_s, self._kill)
        for child in self._children:
            child.spec.close_listeners()
        self._stop_next()

    def _shorten(self) -> None:
        """Make a stop of a drain."""
        self._draining = False
        self._after("deadline", self._limits.stop_s, self._kill)
        for child in self._children:
            if child.told_to_stop:
                child.signal(signal.SIGTERM)

    def _stop_next(self) -> None:
        """Tell the next stage to stop when nobody told is still at it, or has had its share of the time."""
        alive = [child for child in self._children if child.pid is not None]
        waiting = [child for child in alive if not child.told_to_stop]
        if len(alive) > len(waiting) and "share" in self._timers:
            return
        self._timers.pop("share", None)
        stages = sorted({child.spec.stop_stage for child in waiting})
        for child in waiting:
            if child.spec.stop_stage == stages[0]:
                child.told_to_stop = True
                child.signal(signal.SIGUSR2 if self._draining else signal.SIGTERM)
        if stages:
            left_s = min(self._limits.stop_s, self._timers["deadline"][0] - self._clock.monotonic())
            self._after("share", share_s(left_s, len(stages)), self._stop_next)

    def _kill(self) -> None:
        for child in self._children:
            if child.pid is not None:
                LOG.error("%s did not stop in time and is killed.", child.spec.name)
                child.signal(signal.SIGKILL)
                self._code = 1
        self._timers.clear()
        self._after("unkillable", _REAP_LIMIT_S, self._give_up)

    def _give_up(self) -> None:
        LOG.critical("Processes that cannot be killed are left behind.")
        self._over = True
