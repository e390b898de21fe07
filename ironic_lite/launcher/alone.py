"""One service in a process of its own, without a supervisor: `ironic-lite-api`, `ironic-lite-conductor`."""

from __future__ import annotations

import os
import signal

from ironic_lite.clock import SystemClock
from ironic_lite.launcher import notify
from ironic_lite.launcher.child import ALARM_MARGIN_S, Life, guarded
from ironic_lite.launcher.service import ChildSpec, Limits
from ironic_lite.launcher.supervisor import Supervisor


def run_alone(spec: ChildSpec, limits: Limits) -> int:
    """Run the service until SIGTERM or SIGINT; a second one is now. The exit code, to be handed to `child.end`.

    Speaks to systemd itself. As PID 1 it gets a supervisor after all: the kernel keeps from PID 1 what has a default
    action, so neither the alarm nor the second SIGTERM would end it, and somebody must reap.
    """
    if os.getpid() == 1:
        return Supervisor([spec], limits).run()
    return guarded(lambda: _Alone(spec.make, limits).run())


class _Alone(Life):
    def on_ready(self) -> None:
        notify.ready("serving")

    def on_reloading(self) -> None:
        notify.reloading(SystemClock())

    def on_reloaded(self) -> None:
        notify.ready("serving")

    def on_progress(self) -> None:
        notify.alive()

    def on_draining(self) -> None:
        notify.draining(self._limits.drain_s + self._limits.stop_s + ALARM_MARGIN_S)

    def on_stopping(self) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)  # whatever this thread is busy with
        notify.stopping()
