"""The one door to child programs.

Guarantees: (1) when `run` returns or raises, nothing that the program started runs on: neither its group, nor its
session, nor what left both and kept its environment. Only who works as another user, or left the session and wiped its
environment, escapes; (2) at the deadline the program has half a second to end itself upon SIGTERM, and all are killed
before a whole one is over; `stop_all` does the same to every program, and refuses new ones; (3) if this process dies in
any way, kill -9 included, each program's guard kills it at once (`processtree.py` says how); (4) a program starts with
no signal held or ignored, no descriptor of ours, and of our environment PATH, HOME and TMPDIR alone; (5) each stream is
kept up to `Limits.output_kib`, standard output from its start, standard error to its end; the rest is read, dropped and
told; (6) no thread is started: who calls `run` waits for the program, so the caller's pool bounds how many run at once;
(7) the door belongs to the process that made it, where SIGCHLD is not ignored and nobody else waits for children. Lock
order: `_changed` is taken alone, and nothing is called under it.

Arguments are public: every user of the machine sees them, and they are logged. A secret goes by `secret`, which the
program reads once, from the file `SECRET` (`ipmitool -f /dev/fd/3`), or by `stdin`; by `env` only where a program
offers nothing else. Linux 5.3 or later.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import selectors
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from io import FileIO
from typing import Final, Literal

import msgspec

from ironic_lite import errors
from ironic_lite.clock import Clock, Deadline
from ironic_lite.executors import processtree
from ironic_lite.executors.processtree import Limits, ProcessTree

__all__ = ["SECRET", "Ended", "Limits", "Programs", "Running"]

SECRET: Final = f"/dev/fd/{processtree.SECRET_FD}"
_TERM_S: Final = 0.5  # from SIGTERM to SIGKILL
_KILL_S: Final = 0.4  # for SIGKILL to be carried out, and the streams to end
_TAIL_CHARS: Final = 500
_OURS: Final = ("PATH", "HOME", "TMPDIR")
_CHUNK: Final = 64 * 1024  # what a pipe holds
USUAL: Final = Limits()
LOG = logging.getLogger(__name__)


class Ended(msgspec.Struct, frozen=True):
    """How a program ended: its exit code, or -N for signal N. `truncated`: a stream was longer than what is kept."""

    code: int
    stdout: bytes
    stderr: bytes
    truncated: bool


class Running(msgspec.Struct, frozen=True):
    """A program that runs now, and for how long."""

    program: str
    pid: int
    age_s: float


class Programs:
    """The child programs of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._entries: set[_Entry] = set()
        self._undead: list[ProcessTree] = []
        self._stop: Deadline | None = None
        self._stop_fd: FileIO | None = None  # made for the first program: a door that nobody uses holds nothing

    def run(  # noqa: PLR0913  # a program has that many sides; all are named, and most are left out
        self,
        argv: Sequence[str],
        *,
        deadline: Deadline,
        stdin: bytes | None = None,
        secret: bytes | None = None,
        env: Mapping[str, str] | None = None,
        limits: Limits = USUAL,
        cwd: str = "/",
        ok: Collection[int] = (0,),
    ) -> Ended:
        """Run a program and wait for its end. `secret`, at most 16 KiB, is read by it from the file `SECRET`.

        Raises `ProgramNotFound`, `ProgramError` if it cannot be started, `ProgramFailed` if it ends with a code that
        is not in `ok` or by a signal, `ProgramTimedOut` at the deadline, `Interrupted` by `stop_all`,
        `Stopping` after it.
        """
        environment = _environment(env)
        command = [_find(argv[0], environment["PATH"]), *argv[1:]]
        with self._admitted(argv[0]) as entry:
            LOG.debug("Running %s.", shlex.join(argv))
            try:
                tree = processtree.start(
                    command, stdin=stdin is not None, secret=secret, env=environment, cwd=cwd, limits=limits
                )
            except OSError as exc:
                raise errors.ProgramError(program=argv[0], reason=exc.strerror) from exc
            entry.pid = tree.pid
            talk = _Talk(tree, stdin, entry.stop_fd, limits.output_kib * 1024)
            code = self._hold(tree, talk, deadline)
        if talk.outcome == "interrupted":
            raise errors.Interrupted(what=f"Program {argv[0]}")
        if talk.outcome == "late" or code is None:
            raise errors.ProgramTimedOut(program=argv[0], timeout_s=deadline.timeout_s, tail=talk.tail(secret))
        if code not in ok:
            raise errors.ProgramFailed(program=argv[0], how=_how(code), tail=talk.tail(secret))
        return Ended(code, bytes(talk.stdout.kept), bytes(talk.stderr.kept), talk.stdout.cut or talk.stderr.cut)

    def running(self) -> list[Running]:
        """What runs now, the oldest first."""
        now = self._clock.monotonic()
        with self._changed:
            entries = sorted(self._entries, key=lambda entry: entry.since)
            return [Running(entry.name, entry.pid, now - entry.since) for entry in entries]

    def stop_all(self, deadline: Deadline) -> list[str]:
        """Refuse new programs, end those that run, and wait. The names of what the deadline finds are returned."""
        self._check_process()
        with self._changed:
            self._stop = deadline
            stop_fd = self._stop_fd
        if stop_fd is not None and not stop_fd.closed:
            stop_fd.write((1).to_bytes(8, sys.byteorder))
        with self._changed:
            self._changed.wait_for(lambda: not self._entries, deadline.left_s())
            left = sorted(entry.name for entry in self._entries)
        if stop_fd is not None and not left:
            stop_fd.close()
        return left

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(f"This door to programs was made in process {self._pid}: make it after the fork.")

    @contextlib.contextmanager
    def _admitted(self, name: str) -> Iterator[_Entry]:
        self._check_process()
        with self._changed:
            if self._stop is not None:
                raise errors.Stopping(what="The door to programs")
            if self._stop_fd is None:
                self._stop_fd = FileIO(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), "r+")
            entry = _Entry(name, self._clock.monotonic(), self._stop_fd)
            self._entries.add(entry)
            undead, self._undead = self._undead, []
        try:
            for tree in undead:
                self._reap(tree)
            yield entry
        finally:
            with self._changed:
                self._entries.discard(entry)
                self._changed.notify_all()

    def _hold(self, tree: ProcessTree, talk: _Talk, deadline: Deadline) -> int | None:
        """Talk with the program until it ends or must end; then end all of it. Its code, or None if it cannot die."""
        try:
            talk.serve(deadline, lambda: talk.exited or talk.stopped)
            talk.outcome = "ended" if talk.exited else "interrupted" if talk.stopped else "late"
            if not talk.exited:
                tree.terminate()
                talk.serve(self._grace(), lambda: talk.exited)
        finally:
            gone = Deadline(self._clock, _KILL_S)
            tree.kill(self._clock, gone)
            talk.serve(gone, talk.over)
            talk.close()
            code = self._reap(tree)
        return code

    def _grace(self) -> Deadline:
        """How long a program may take to end itself: less, if this process has less."""
        with self._changed:
            return Deadline(self._clock, _TERM_S if self._stop is None else min(_TERM_S, self._stop.left_s() / 2))

    def _reap(self, tree: ProcessTree) -> int | None:
        code = tree.reap()
        if code is None:
            # Killed, and not dead: the kernel holds it, as a disk or a file server that hangs makes it do.
            LOG.error("Process %d was killed and does not end; it is asked for again with the next program.", tree.pid)
            with self._changed:
                self._undead.append(tree)
        tree.close()
        return code


class _Entry:
    """A program in the registry, and where it hears that it must stop; `pid` is 0 until it is started."""

    def __init__(self, name: str, since: float, stop_fd: FileIO) -> None:
        self.name, self.since, self.stop_fd, self.pid = name, since, stop_fd, 0


class _Stream:
    """What is kept of a stream: its start, or its end."""

    def __init__(self, keep_bytes: int, *, end: bool) -> None:
        self.kept = bytearray()
        self.cut = self.over = False
        self._keep_bytes, self._end = keep_bytes, end

    def add(self, chunk: bytes) -> None:
        self.kept += chunk
        if len(self.kept) > self._keep_bytes:
            self.cut = True
            del self.kept[slice(0, -self._keep_bytes) if self._end else slice(self._keep_bytes, None)]


class _Talk:
    """The conversation with one program: its streams are read, it is fed, its end and ours are heard of."""

    def __init__(self, tree: ProcessTree, stdin: bytes | None, stop: FileIO, keep_bytes: int) -> None:
        self.stdout, self.stderr = _Stream(keep_bytes, end=False), _Stream(keep_bytes, end=True)
        self.exited = self.stopped = False
        self.outcome: Literal["ended", "late", "interrupted"] = "late"
        self._unwritten = memoryview(stdin or b"")
        self._selector = selectors.PollSelector()
        self._hear(tree.stdout, lambda: self._read(tree.stdout, self.stdout))
        self._hear(tree.stderr, lambda: self._read(tree.stderr, self.stderr))
        self._hear(tree.handle, lambda: self._exited(tree.handle))
        self._hear(stop, lambda: self._stopped(stop))
        if tree.stdin is not None:
            self._selector.register(tree.stdin, selectors.EVENT_WRITE, functools.partial(self._write, tree.stdin))

    def serve(self, deadline: Deadline, done: Callable[[], bool]) -> None:
        """Talk until it is done, or the deadline has passed."""
        while not (done() or deadline.passed()):
            for key, _ in self._selector.select(deadline.left_s()):
                key.data()

    def over(self) -> bool:
        """Whether the program has ended and both streams have told all."""
        return self.exited and self.stdout.over and self.stderr.over

    def tail(self, secret: bytes | None) -> str:
        """The end of standard error, the secret masked."""
        text = self.stderr.kept[-_TAIL_CHARS:].decode(errors="replace").strip()
        masked = (secret or b"").decode(errors="replace").strip()
        return text.replace(masked, "***") if masked else text

    def close(self) -> None:
        self._selector.close()

    def _hear(self, file: FileIO, answer: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, answer)

    def _read(self, file: FileIO, stream: _Stream) -> None:
        if chunk := file.read(_CHUNK):
            stream.add(chunk)
        else:
            stream.over = True
            self._selector.unregister(file)

    def _write(self, file: FileIO) -> None:
        try:
            self._unwritten = self._unwritten[file.write(self._unwritten[:_CHUNK]) or 0 :]
        except BrokenPipeError:  # it does not want the rest
            self._unwritten = self._unwritten[:0]
        if not self._unwritten:
            self._selector.unregister(file)
            file.close()

    def _exited(self, handle: FileIO) -> None:
        self.exited = True
        self._selector.unregister(handle)

    def _stopped(self, stop: FileIO) -> None:
        self.stopped = True
        self._selector.unregister(stop)


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Of our own environment, which may hold secrets, only what a program needs; its messages in English."""
    ours = {name: os.environ[name] for name in _OURS if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C"} | ours | dict(env or {})


def _find(program: str, path: str) -> str:
    """Where the program is. Raises `ProgramNotFound`."""
    found = shutil.which(program, path=path)
    if found is None:
        raise errors.ProgramNotFound(program=program, path=path)
    return os.path.abspath(found)  # noqa: PTH100  # links stay: busybox looks at its name


def _how(code: int) -> str:
    return f"code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
