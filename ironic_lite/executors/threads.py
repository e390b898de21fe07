"""The one door to bare threads, each with an owner who joins it."""

from __future__ import annotations

import threading
from collections.abc import Callable


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start a daemon thread that runs `target`; whoever starts it joins it."""
    thread = threading.Thread(name=name, target=target, daemon=True)
    thread.start()
    return thread
