"""How a BMC has been answering lately: how long it is waited for, and when it is left alone. Knows no protocol.

The time-out follows the answers as TCP's does (RFC 6298): smoothed time plus four times its variation. The breaker is
closed while a BMC answers; open after `OPENS_AFTER` failures in a row: then it is asked, one probe at a time, ever less
often, and the first answer closes it.
"""

from __future__ import annotations

from typing import Final

from ironic_lite import clock

FIRST_TIMEOUT_S: Final = 15.0
LEAST_TIMEOUT_S: Final = 3.0
OPENS_AFTER: Final = 3
LONGEST_PAUSE_S: Final = 600.0
JITTER: Final = 0.1
_GAIN, _VARIATION_GAIN, _VARIATIONS = 1 / 8, 1 / 4, 4


class Line:
    """What is known of the way to one BMC. Not thread-safe: its owner uses it in one thread."""

    __slots__ = ("__weakref__", "_backed_off", "_variation_s", "failures", "is_open", "smoothed_s")

    def __init__(self) -> None:
        self.failures = 0
        self.is_open = False  # it has failed so often that it is only probed
        self.smoothed_s: float | None = None
        self._variation_s = 0.0
        self._backed_off = 1

    @property
    def answers(self) -> bool:
        """Whether it answered the last time that it was asked."""
        return self.smoothed_s is not None and self.failures == 0

    def timeout_s(self, longest_s: float) -> float:
        """How long its next answer is waited for."""
        if self.smoothed_s is None or self.is_open:
            return min(FIRST_TIMEOUT_S, longest_s)
        usual_s = max(LEAST_TIMEOUT_S, self.smoothed_s + _VARIATIONS * self._variation_s)
        return min(usual_s * self._backed_off, longest_s)

    def answered(self, took_s: float) -> None:
        """It gave an answer."""
        if self.smoothed_s is None:
            self.smoothed_s, self._variation_s = took_s, took_s / 2
        else:
            off_s = took_s - self.smoothed_s
            self.smoothed_s += _GAIN * off_s
            self._variation_s += _VARIATION_GAIN * (abs(off_s) - self._variation_s)
        self.failures, self.is_open, self._backed_off = 0, False, 1

    def was_silent(self) -> None:
        """It gave none in time, whosever fault that is: the next one is waited for longer."""
        self._backed_off = min(2 * self._backed_off, 16)

    def failed(self) -> None:
        """It failed, and nobody else is at fault."""
        self.failures += 1
        self.is_open = self.failures >= OPENS_AFTER

    def pause_s(self, interval_s: float) -> float:
        """How long it is left alone after a failure: the interval, doubled with each failure once it is open."""
        doublings = min(max(0, self.failures - OPENS_AFTER + 1), 16)
        pause_s = min(interval_s * (1 << doublings), max(LONGEST_PAUSE_S, interval_s))
        return pause_s * (clock.jitter(JITTER) if doublings else 1.0)
