"""What the launcher runs: oslo.service's contract, with types."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Protocol

import msgspec

from ironic_lite import config, log
from ironic_lite.config import Int, Section, Str
from ironic_lite.launcher import notify

LOG = logging.getLogger(__name__)


class conf(Section, name="DEFAULT"):
    """How the launcher ends."""

    graceful_shutdown_timeout = Int(
        60,
        min=1,
        help="Seconds that all services together may take to stop after SIGTERM; what still runs then is killed.",
    )
    drain_shutdown_timeout = Int(
        1800,
        min=1,
        help="Seconds that running work may take to end after SIGUSR2, before the services stop as after SIGTERM.",
    )
    start_method = Str(
        "fork",
        choices=["fork", "exec"],
        help="How `ironic-lite` starts its processes: fork shares the memory of what is imported already, exec gives "
        "each a fresh interpreter.",
    )


class Limits(msgspec.Struct, frozen=True):
    """How long a stop may take, and the drain before it.

    `watchdog_s` is how long systemd waits for a sign of life; None when it does not.
    """

    stop_s: int
    drain_s: int
    watchdog_s: float | None = None


def configured_limits() -> Limits:
    """What the options and systemd say."""
    return Limits(conf.graceful_shutdown_timeout, conf.drain_shutdown_timeout, notify.watchdog_s())


class Service(Protocol):
    """A service of one process: oslo.service's `ServiceBase` by its shape, and what this launcher does beyond that.

    Here all are called in the main thread. What derives from `ServiceBase` runs under oslo.service's own launchers
    too; those call `stop` in another thread, and `wait` right after `start`.
    """

    def start(self) -> None:
        """Return as soon as it serves. Whatever it raises is why the service cannot start."""

    def stop(self) -> None:
        """Take no more work and let what runs end. Bounded by a limit of the service's own."""

    def wait(self) -> None:
        """Return when everything that `stop` lets end has ended."""

    def reset(self) -> None:
        """SIGHUP: take over options that may change. They have been read again already."""

    def drain(self) -> None:
        """SIGUSR2: take no more work from now on, and return soon, while what runs goes on; `stop` comes later."""

    def is_busy(self) -> bool:
        """Whether anything runs that a drain waits for."""

    def moves(self) -> bool:
        """Whether the service has really worked since this was last asked; for systemd's watchdog. Never waits."""

    def keep_registration(self) -> None:
        """SIGUSR1: at the next stop, do not tell others that this service is gone."""


def reload_options() -> None:
    """Read the options again. Files that make no sense are told in the log, and what was read before stays."""
    try:
        config.reload()
    except Exception:
        LOG.exception("The options could not be read again.")
    log.guard()


class ChildSpec(msgspec.Struct, frozen=True):
    """A child of the launcher.

    `make` is called before the fork and again after each reload, or in the process that is started by exec: it opens,
    starts and locks nothing that cannot be carried over a fork. `listeners` are the sockets it serves; every other
    child closes them. Those with the lowest `stop_stage` stop first, together; those of the next one after them.
    """

    name: str
    make: Callable[[], Service]
    listeners: tuple[socket.socket, ...] = ()
    stop_stage: int = 0

    def close_listeners(self, *, but: tuple[socket.socket, ...] = ()) -> None:
        """Close this process's copies."""
        for listener in self.listeners:
            if listener not in but:
                listener.close()
