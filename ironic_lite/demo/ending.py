"""The end of a demo: Ctrl-C, SIGTERM or a closed terminal, and the one way in which the demo waits.

Guarantees. No signal is missed or interrupts anything: the interpreter writes it into a socket, and `wait` reads
that. (`threading.Event.set` in a signal handler can deadlock with a `wait` of the same thread.) The handlers that
were there before are there again after the block.
"""

from __future__ import annotations

import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Final, Self

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndRequested(Exception):
    """Somebody asked the demo to end while it still had something to do."""


class Ending:
    """Context manager; made and used in the main thread."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._request) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait for a request to end, at most `timeout_s`. True if there was one."""
        if not self.requested:
            select.select([self._reader], [], [], timeout_s)
        return self.requested

    def pause(self, timeout_s: float) -> None:
        """Wait. Raises `EndRequested` as soon as somebody asks for the end."""
        if self.wait(timeout_s):
            raise EndRequested

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
