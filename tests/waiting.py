"""Waiting in tests: always for something, never longer than a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ironic_lite.clock import Deadline, SystemClock


def until(predicate: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Return as soon as the predicate is true; fail when it is not within `timeout_s`."""
    deadline = Deadline(SystemClock(), timeout_s)
    never = threading.Event()
    while not predicate():
        assert not deadline.passed(), f"Nothing happened within {timeout_s} s."
        never.wait(0.02)
