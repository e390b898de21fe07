"""What a tree of processes costs, read from /proc."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for pid in _pids():
        try:
            parent = int(_stat(pid)[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(parent, []).append(pid)
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += parents.get(pid, [])
    return found


def end(process: subprocess.Popen[bytes], patience_s: float = 90) -> None:
    """SIGTERM, and SIGKILL for one that does not end in time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_s(pids: list[int]) -> float:
    """CPU seconds of the processes, with those of children that have ended and were reaped."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in pids) / TICKS


def live_cpu_s(pids: list[int]) -> float:
    """CPU seconds of the threads that are there now, to the nanosecond; what has ended is not in it."""
    paths = [path for pid in pids for path in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((path / "schedstat").read_text().split()[0]) for path in paths) / 1e9


def pss_mib(pids: list[int]) -> float:
    """Proportional set size: shared pages count once over all that share them."""
    return sum(_kib(pid, "Pss:") for pid in pids) / 1024


def threads(pids: list[int]) -> int:
    """Threads of the processes."""
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)


def wakeups(pids: list[int]) -> int:
    """Context switches that the processes' threads made by themselves so far."""
    return sum(_switches(path) for pid in pids for path in Path(f"/proc/{pid}/task").iterdir())


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command, whose name may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _kib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _switches(task: Path) -> int:
    lines = (task / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
