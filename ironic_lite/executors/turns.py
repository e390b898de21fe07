"""When what recurs has its turns: at a phase of its own in each interval, so that nothing starts as one."""

from __future__ import annotations

import math
import zlib


def phase(thing: str) -> float:
    """Where in an interval its turns are, 0 to 1: the same in every process, at every start."""
    return zlib.crc32(thing.encode()) / 2**32


def next_turn(thing: str, now: float, interval_s: float) -> float:
    """The first turn of it after `now`.

    Turns are at phase x interval, and then every interval, since the clock's origin.
    """
    first = phase(thing) * interval_s
    turn = first + (math.floor((now - first) / interval_s) + 1) * interval_s
    return turn if turn > now else turn + interval_s  # rounding may end on now itself
