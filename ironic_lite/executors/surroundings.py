"""What this process may use of its machine: memory, processors, open files. Linux, with cgroups of version 1 and 2.

`system` is where `/proc` and `/sys` are; tests have trees of their own.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path("/")


def memory_mib(system: Path = ROOT) -> int:
    """The machine's memory, or the smallest limit of the control groups that this process is in, if that is less."""
    total = re.search(r"^MemTotal: +(\d+) kB", (system / "proc/meminfo").read_text(), re.MULTILINE)
    known = [int(total[1]) * 1024] if total else []
    for group in _groups(system, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            known += _numbers(group / name)
    return min(known) // 1024**2


def processors(system: Path = ROOT) -> float:
    """Processors that this process may run on, or the smallest quota of its control groups, if that is less."""
    known = [float(len(os.sched_getaffinity(0)))]
    for group in _groups(system, "cpu"):
        quota = _numbers(group / "cpu.max") or _numbers(group / "cpu.cfs_quota_us") + _numbers(
            group / "cpu.cfs_period_us"
        )
        if len(quota) == 2 and quota[0] > 0:  # version 1 says -1 for no quota, version 2 "max"
            known.append(quota[0] / quota[1])
    return min(known)


def open_files() -> int:
    """Files and sockets that this process may have open (RLIMIT_NOFILE)."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def allow_open_files() -> None:
    """Take as many as the hard limit gives. The soft one is often 1024, for programs that use select(); none here does.

    What is started from now on inherits it.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _groups(system: Path, controller: str) -> Iterator[Path]:
    """The directories of the control groups that limit this process, and of those around them."""
    for line in _lines(system / "proc/self/cgroup"):
        _, controllers, inside = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for root, point in _mounts(system, controller if controllers else None):
            group = PurePosixPath(inside)
            # In a container the path may be the host's, of which only what is below the mount's root is seen.
            below = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
            yield from (system / point.lstrip("/") / each for each in (below, *below.parents))


def _mounts(system: Path, controller: str | None) -> Iterator[tuple[str, str]]:
    """Root and mount point of a controller's hierarchy; None: that of version 2 (proc(5), mountinfo)."""
    for line in _lines(system / "proc/self/mountinfo"):
        mount, _, what = line.partition(" - ")
        kind, _, options = what.split(" ", 2)
        if kind == ("cgroup" if controller else "cgroup2") and (not controller or controller in options.split(",")):
            root, point = mount.split(" ")[3:5]
            yield root, point


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _numbers(path: Path) -> list[int]:
    """The numbers of a control file; none for one that says "max" or is not there."""
    words = " ".join(_lines(path)).split()
    return [] if "max" in words else [int(word) for word in words]
