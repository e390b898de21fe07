"""The processes of one program: how they are started, found again and ended.

How a program is started, and why so:

- `posix_spawn`, for it alone sets the signal mask and the dispositions of the child (our threads may hold signals, and
  our processes ignore SIGINT: both survive an exec), runs none of our code in the child, and copies no memory. A
  `preexec_fn` would run Python between fork and exec, where any lock of another thread may be held for ever;
  `subprocess` without one can unblock and reset nothing.
- What posix_spawn cannot do (limits, directory, guard), a shell of a few lines does and then becomes the program, so
  that the program is the leader of its own session and group, and its end is seen without anything in between.
- The guard is a fork of that shell, in the program's own group, which reads a pipe that we hold the other end of, the
  lifeline. However we die, the pipe ends then, and the guard kills what there is. PR_SET_PDEATHSIG would not do: it
  fires when the *thread* that started the program ends, and reaches no grandchild.
- Whatever leaves the group and the session (a daemon) is known by a mark in its environment.

A program's process id is ours until it is reaped, and so is its group's: no signal goes to either after that.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from ironic_lite.clock import Clock, Deadline, new_uuid

SECRET_FD: Final = 3
MAX_SECRET_KIB: Final = 16  # it is written before anybody reads: a pipe holds 64
_LIFELINE_FD: Final = 4
_FIRST_FREE_FD: Final = 10  # above every number that a child gets, so that no dup2 overwrites the next one's source
_MARK: Final = "IRONIC_LITE_PROGRAM"
_DEFAULTED: Final = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}

# Arguments: mark, directory, KiB of memory, seconds of CPU, the same as a hard limit, the program and what it gets.
# The guard must outlive a SIGTERM to its group, from its first moment on. Its own environment has no mark.
_WRAPPER: Final = r"""
mark=$1 directory=$2 memory_kib=$3 cpu_s=$4 hard_cpu_s=$5
shift 5
guard() {
    read -r nothing <&4
    for turn in 1 2 3 4 5; do
        for process in /proc/[0-9]*; do
            read -r stat 2>/dev/null <"$process/stat" || continue
            set -- ${stat##*) }
            [ "$4" != $$ ] || [ "$3" = $$ ] || kill -KILL "${process#/proc/}"
        done
        found=$(grep -lsF -e "$mark" /proc/[0-9]*/environ)  # its code tells nothing: some have ended meanwhile
        [ -n "$found" ] || break
        for process in $found; do
            process=${process#/proc/}
            kill -KILL "${process%/environ}"
        done
    done
    kill -KILL 0
}
trap '' HUP INT QUIT TERM USR1 USR2 ALRM
(guard </dev/null >/dev/null 2>&1 3<&- &)
trap - HUP INT QUIT TERM USR1 USR2 ALRM
exec 4<&-
cd -- "$directory" && ulimit -c 0 && ulimit -v "$memory_kib" &&
    ulimit -S -t "$cpu_s" && ulimit -H -t "$hard_cpu_s" || exit 126
export "$mark"
exec "$@"
"""


class Limits(msgspec.Struct, frozen=True):
    """What each process of a program may use: `memory_mib` of address space (RLIMIT_AS), `cpu_s` of processor time.

    `output_kib` of standard output, and as many of standard error, are kept.
    """

    memory_mib: int = 1024
    cpu_s: int = 600
    output_kib: int = 256


class ProcessTree:
    """A running program, with everything that it started."""

    def __init__(self, pid: int, handle: int, mark: str, streams: tuple[int, int, int | None], lifeline: int) -> None:
        self.pid = pid
        self.handle = io.FileIO(handle)  # a pidfd: readable once the program itself has ended
        self.stdout, self.stderr = io.FileIO(streams[0], "r"), io.FileIO(streams[1], "r")
        self.stdin = None if streams[2] is None else io.FileIO(streams[2], "w")
        self._lifeline = io.FileIO(lifeline, "w")
        self._mark = mark.encode()

    def terminate(self) -> None:
        """Ask the program and its group to end."""
        os.killpg(self.pid, signal.SIGTERM)

    def kill(self, clock: Clock, deadline: Deadline) -> None:
        """Kill the group, guard included, and then what left it, again and again while there is more (it may fork)."""
        # After this no member of the group runs or forks any more, so only what is outside is looked for.
        os.killpg(self.pid, signal.SIGKILL)
        while (strays := list(self._strays())) and not deadline.passed():
            for pid in strays:
                self._kill_stray(pid)
            clock.wait(threading.Event(), 0.002)

    def reap(self) -> int | None:
        """The exit code, -N for a signal; asked only until it is known. None: the program lives on."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def close(self) -> None:
        """Let go of its streams and its lifeline."""
        for each in (self.handle, self.stdout, self.stderr, self.stdin, self._lifeline):
            if each is not None:
                each.close()

    def _strays(self) -> Iterator[int]:
        return (int(name) for name in _listed("/proc") if name.isdigit() and self._is_stray(int(name)))

    def _is_stray(self, pid: int) -> bool:
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if os.getpgid(pid) == self.pid:
                return False
            if os.getsid(pid) == self.pid:
                return _read(f"/proc/{pid}/stat").rpartition(b") ")[2][:1] not in b"ZX"
            return self._mark in _read(f"/proc/{pid}/environ")
        return False

    def _kill_stray(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if self._is_stray(pid):  # looked at again behind the handle: the number may be another's by now
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def start(
    argv: Sequence[str], *, stdin: bool, secret: bytes | None, env: Mapping[str, str], cwd: str, limits: Limits
) -> ProcessTree:
    """Start a program, named by its whole path. It reads `secret` from `SECRET_FD`.

    Raises OSError, and ValueError if the secret has more than `MAX_SECRET_KIB`.
    """
    if secret is not None and len(secret) > MAX_SECRET_KIB * 1024:
        raise ValueError(f"A secret has at most {MAX_SECRET_KIB} KiB; this one has {len(secret)} bytes.")
    mark = f"{_MARK}={new_uuid()}"
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        stdout, their_stdout = _pipe(ours, theirs)
        stderr, their_stderr = _pipe(ours, theirs)
        their_lifeline, lifeline = _pipe(theirs, ours)
        given = {1: their_stdout, 2: their_stderr, _LIFELINE_FD: their_lifeline}
        our_stdin = None
        if stdin:
            given[0], our_stdin = _pipe(theirs, ours)
            os.set_blocking(our_stdin, False)
        if secret is not None:
            given[SECRET_FD] = _filled(theirs, secret)
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _WRAPPER, "sh", mark, cwd, *_ulimits(limits), *argv],
            dict(env),
            file_actions=_file_actions(given),
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULTED,
        )
        handle = _handle(pid)
        ours.pop_all()
        return ProcessTree(pid, handle, mark, (stdout, stderr, our_stdin), lifeline)


def _handle(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # no descriptor is left: without one the program could not be watched
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    low = os.pipe()
    try:
        read, write = (fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD) for each in low)
    finally:
        for each in low:
            os.close(each)
    readers.callback(os.close, read)
    writers.callback(os.close, write)
    return read, write


def _filled(theirs: contextlib.ExitStack, secret: bytes) -> int:
    """A pipe that holds the secret and then ends: it is gone once it is read."""
    with contextlib.ExitStack() as writer:
        read, write = _pipe(theirs, writer)
        os.write(write, secret)
    return read


def _file_actions(
    given: Mapping[int, int],
) -> list[tuple[int, int] | tuple[int, int, int] | tuple[int, int, str, int, int]]:
    """The child's descriptors by number, and no other: what is marked inheritable for an exec of ours is closed."""
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    return [
        *([] if 0 in given else [nothing]),
        *((os.POSIX_SPAWN_DUP2, ours, number) for number, ours in given.items()),
        *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable() if fd > 2 and fd not in given),
    ]


def _inheritable() -> Iterator[int]:
    for name in _listed("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own is closed by now, and so may be others
            if os.get_inheritable(int(name)):
                yield int(name)


def _ulimits(limits: Limits) -> tuple[str, str, str]:
    """Memory in KiB, CPU seconds, CPU seconds at last; never more than we may use ourselves."""
    memory = _at_most(resource.RLIMIT_AS, limits.memory_mib * 1024 * 1024) // 1024
    return (
        str(memory),
        str(_at_most(resource.RLIMIT_CPU, limits.cpu_s)),
        str(_at_most(resource.RLIMIT_CPU, limits.cpu_s + 1)),
    )


def _at_most(kind: int, wanted: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _listed(path: str) -> list[str]:
    return os.listdir(path)  # noqa: PTH208  # only the names are wanted, hundreds of them at a time


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123  # hundreds at a time: pathlib costs more than the reading
        return file.read()
