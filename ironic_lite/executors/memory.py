"""Memory that threads leave behind: glibc keeps what a burst has freed until it is asked to let go."""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Give free memory back to the system: some milliseconds, in which other threads run. Nothing where libc can't."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none, and keeps little
    if malloc_trim is not None:
        malloc_trim(0)
