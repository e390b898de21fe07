"""What this process uses of its machine, as the kernel counts it (proc(5))."""

from __future__ import annotations

import datetime
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ironic_lite.clock import Clock
from ironic_lite.metrics import Sample, counter, gauge

_CPU: Final = counter("process_cpu_seconds_total", "CPU time of the process, user and system together.")
_RSS: Final = gauge("process_resident_memory_bytes", "Memory of the process that is in RAM, shared pages included.")
_THREADS: Final = gauge("process_threads", "Threads of the process.")
_OPEN: Final = gauge("process_open_fds", "File descriptors that the process has open.")
_MAX: Final = gauge("process_max_fds", "File descriptors that the process may have open.")
_STARTED: Final = gauge("process_start_time_seconds", "When the process started, in seconds since 1970.")

# Places in /proc/self/stat, counted from what follows the name of the program, which may hold anything.
_USER_TICKS, _SYSTEM_TICKS, _THREAD_COUNT, _START_TICKS = 11, 12, 17, 19
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Usage(msgspec.Struct, frozen=True):
    """One moment of the process."""

    pid: int
    rss_bytes: int
    cpu_s: float
    threads: int
    open_files: int
    max_files: int
    uptime_s: float


class Process:
    """The process that this is made in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        now = clock.now().replace(tzinfo=datetime.UTC).timestamp()
        self._started_at = now - self.usage().uptime_s  # once, so that it does not move with the time of day

    def usage(self) -> Usage:
        """What it uses now."""
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        _, resident, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return Usage(
            pid=os.getpid(),
            rss_bytes=int(resident) * _PAGE_BYTES,
            cpu_s=(int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS_PER_S,
            threads=int(fields[_THREAD_COUNT]),
            open_files=sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1,  # without the one that this listing took
            max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            uptime_s=self._clock.boottime() - int(fields[_START_TICKS]) / _TICKS_PER_S,
        )

    def samples(self) -> Iterator[Sample]:
        """The same, for Prometheus, under the names that every exporter uses."""
        now = self.usage()
        yield _CPU.at(now.cpu_s)
        yield _RSS.at(now.rss_bytes)
        yield _THREADS.at(now.threads)
        yield _OPEN.at(now.open_files)
        yield _MAX.at(now.max_files)
        yield _STARTED.at(self._started_at)
