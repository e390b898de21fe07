"""What systemd is told (sd_notify): oslo.service says READY=1, and the rest, for which it has no call, is said here.

Without NOTIFY_SOCKET in the environment nothing is said to nobody.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

from oslo_service import systemd

from ironic_lite.clock import Clock

LOG = logging.getLogger(__name__)

_SEND_TIMEOUT_S: Final = 1.0


def ready(status: str) -> None:
    """Everything serves."""
    systemd.notify()
    _say(f"STATUS={status}")


def reloading(clock: Clock) -> None:
    """Options are being read again; `ready` ends it. systemd compares the time with its own CLOCK_MONOTONIC."""
    _say(f"RELOADING=1\nMONOTONIC_USEC={int(clock.monotonic() * 1_000_000)}")


def stopping() -> None:
    """The end has begun."""
    _say("STOPPING=1\nSTATUS=stopping")


def draining(timeout_s: int) -> None:
    """The end has begun, and may take so long: more than the unit's TimeoutStopSec."""
    _say(f"STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={timeout_s * 1_000_000}")


def status(text: str) -> None:
    """One line for `systemctl status`."""
    _say(f"STATUS={text}")


def watchdog_s() -> float | None:
    """Seconds within which systemd wants to hear `alive` again; None when it does not want to."""
    asked = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
    return int(asked) / 1_000_000 if ours and asked.isdecimal() and int(asked) else None


def alive() -> None:
    """Real work goes on."""
    _say("WATCHDOG=1")


def forget() -> None:
    """Only the main process speaks to systemd; in a child, what systemd said to the launcher is void as well."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)


def _say(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.settimeout(_SEND_TIMEOUT_S)
        try:
            speaker.sendto(message.encode(), address)
        except OSError as exc:
            LOG.warning("systemd could not be told %r: %s.", message.splitlines()[0], exc)
