"""Child programs: what they are given, what is kept of them, how they end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.executors.programs import SECRET, Ended, Limits, Programs
from tests.waiting import until

CLOCK = SystemClock()
LOAD_S = 5.0


@pytest.fixture
def programs() -> Iterator[Programs]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    door = Programs(CLOCK)
    yield door
    assert door.running() == []
    assert door.stop_all(within(5)) == []
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "A descriptor was left open."


def within(seconds: float) -> Deadline:
    return Deadline(CLOCK, seconds)


def sh(programs: Programs, script: str, timeout_s: float = 10, **more) -> Ended:
    return programs.run(["sh", "-c", script], deadline=within(timeout_s), **more)


def alive(word: str) -> list[int]:
    """The processes, zombies not counted, that have the word in their arguments."""
    return [pid for pid, line in command_lines() if word.encode() in line]


def sleeping(word: str) -> int:
    """How many sleep that long."""
    lines = (line.split(b"\0")[:-1] for _, line in command_lines())
    return sum(len(words) == 2 and words[0].endswith(b"sleep") and words[1] == word.encode() for words in lines)


def command_lines() -> Iterator[tuple[int, bytes]]:
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                yield int(process.name), (process / "cmdline").read_bytes()


@contextlib.contextmanager
def took(at_least_s: float, at_most_s: float) -> Iterator[None]:
    """The program itself would take a day; a machine under load gets `LOAD_S` more than a quiet one."""
    begun = CLOCK.monotonic()
    yield
    assert at_least_s <= CLOCK.monotonic() - begun <= at_most_s + LOAD_S


def test_both_streams_and_the_code_come_back(programs: Programs):
    assert sh(programs, "echo out; echo err >&2; exit 7", ok=(0, 7)) == Ended(7, b"out\n", b"err\n", truncated=False)


def test_a_failure_says_how_and_what_was_said_last(programs: Programs):
    with pytest.raises(errors.ProgramFailed, match=r"^Program sh ended with code 3; it last said: 'no disk'\.$"):
        sh(programs, "echo no disk >&2; exit 3")
    with pytest.raises(errors.ProgramFailed, match="ended with signal SIGSEGV"):
        sh(programs, "kill -SEGV $$")


def test_a_program_that_is_not_installed_is_told_so(programs: Programs):
    with pytest.raises(errors.ProgramNotFound, match=r"^Program no-such-tool was not found in /usr/bin:/bin;"):
        programs.run(["no-such-tool"], deadline=within(5), env={"PATH": "/usr/bin:/bin"})


def test_arguments_that_the_kernel_refuses_are_a_program_that_cannot_be_started(programs: Programs):
    with pytest.raises(errors.ProgramError, match=r"^Program true could not be started: Argument list too long\.$"):
        programs.run(["true", "x" * 4_000_000], deadline=within(5))


def test_arguments_reach_the_program_as_they_are(programs: Programs):
    odd = ["", " a  b ", "$HOME", "'\"", "*", "-n", "é\n"]
    ended = programs.run(["printf", "%s|", *odd], deadline=within(5))
    assert ended.stdout.decode() == "".join(f"{each}|" for each in odd)


def test_it_starts_where_it_is_told(programs: Programs, tmp_path: Path):
    assert sh(programs, "pwd", cwd=str(tmp_path)).stdout.decode().strip() == str(tmp_path)
    with pytest.raises(errors.ProgramFailed, match=r"code 126.*no-such-directory"):
        sh(programs, "pwd", cwd="/no-such-directory")


def test_no_signal_is_held_or_ignored_in_it(programs: Programs):
    """Our processes hold signals around a fork and ignore SIGINT and SIGUSR1; both would outlive an exec."""
    kinds = {signal.SIGINT, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP}
    handlers = {kind: signal.signal(kind, signal.SIG_IGN) for kind in (signal.SIGINT, signal.SIGUSR1)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, kinds)
    try:
        lines = programs.run(["grep", "^Sig", "/proc/self/status"], deadline=within(5)).stdout.decode().splitlines()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
    sets = {name: int(value, 16) for name, value in (line.split(":\t") for line in lines) if name != "SigQ"}
    ours = sum(1 << (kind - 1) for kind in signal.valid_signals())
    assert sets["SigBlk"] == 0
    assert sets["SigIgn"] & ours == 0


def test_it_inherits_no_descriptor_and_little_of_the_environment(programs: Programs, tmp_path: Path):
    os.environ["OS_DATABASE__CONNECTION"] = "mysql://root:secret@db"
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        os.set_inheritable(descriptor, True)  # as what a process got by its own exec is
        ended = sh(programs, "ls /proc/$$/fd; env", env={"GIVEN": "yes"}, secret=b"x")
    finally:
        os.close(descriptor)
        del os.environ["OS_DATABASE__CONNECTION"]
    lines = ended.stdout.decode().split("\n")
    assert [line for line in lines if line.isdigit()] == ["0", "1", "2", "3"]
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert (
        {"GIVEN", "PATH"}
        <= names
        <= {"GIVEN", "PATH", "HOME", "TMPDIR", "LC_ALL", "PWD", "OLDPWD", "IRONIC_LITE_PROGRAM"}
    )


def test_standard_input_is_closed_or_fed(programs: Programs):
    assert programs.run(["cat"], deadline=within(5)).stdout == b""
    text = os.urandom(200 * 1024)
    assert programs.run(["cat"], deadline=within(5), stdin=text).stdout == text
    assert programs.run(["cat"], deadline=within(5), stdin=b"").stdout == b""


def test_a_program_may_leave_its_input_unread(programs: Programs):
    assert programs.run(["head", "-c", "3"], deadline=within(5), stdin=b"abc" * 1_000_000).stdout == b"abc"
    with took(0.2, 1.5), pytest.raises(errors.ProgramTimedOut):
        programs.run(["sleep", "60"], deadline=within(0.2), stdin=b"abc" * 1_000_000)


def test_a_secret_is_read_from_its_file_and_is_in_no_arguments_and_no_environment(programs: Programs):
    secret = "correct-horse-battery"
    reader, writer = os.pipe()
    script = f"read -r word <{SECRET}; read -r go </proc/{os.getpid()}/fd/{reader}; echo $word >&2; exit 1"
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        future = threads.submit(sh, programs, script, secret=secret.encode())
        until(lambda: len(alive("read -r word")) >= 2)  # the program and its guard
        for pid, line in command_lines():
            assert secret.encode() not in line
            with contextlib.suppress(OSError):
                assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        os.write(writer, b"go\n")
        with pytest.raises(errors.ProgramFailed, match=r"said: '\*\*\*'") as caught:
            future.result(10)
    os.close(reader)
    os.close(writer)
    assert secret not in str(caught.value)


def test_a_secret_that_no_pipe_holds_is_refused(programs: Programs):
    with pytest.raises(ValueError, match="at most 16 KiB; this one has 16385 bytes"):
        programs.run(["true"], deadline=within(5), secret=b"x" * 16385)


def test_300_mb_are_read_and_dropped_and_it_is_said(programs: Programs):
    script = "echo first; yes | head -c 300000000; echo last"
    before = resident_kib()
    ended = sh(programs, f"{{ {script}; }} 2>&1 | tee /dev/stderr", 60, limits=Limits(output_kib=16))
    assert ended.truncated
    assert len(ended.stdout) == len(ended.stderr) == 16 * 1024
    assert ended.stdout.startswith(b"first\ny\n")
    assert ended.stderr.endswith(b"y\nlast\n")
    assert resident_kib() - before < 10 * 1024


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def test_memory_processor_time_and_core_dumps_are_limited(programs: Programs):
    limits = Limits(memory_mib=256, cpu_s=1)
    eats = [sys.executable, "-c", "print(len(bytearray(200 * 2**20)))"]
    assert programs.run(eats, deadline=within(20), limits=Limits(memory_mib=400)).stdout == b"209715200\n"
    with pytest.raises(errors.ProgramFailed, match="MemoryError"):
        programs.run([*eats[:2], "bytearray(300 * 2**20)"], deadline=within(20), limits=limits)
    with took(0.8, 10), pytest.raises(errors.ProgramFailed, match="signal SIGXCPU"):
        sh(programs, "while :; do :; done", 20, limits=limits)
    with took(1.5, 15), pytest.raises(errors.ProgramFailed, match="signal SIGKILL"):
        sh(programs, "trap '' XCPU; while :; do :; done", 20, limits=limits)
    assert sh(programs, "ulimit -c").stdout == b"0\n"


def test_a_program_that_sleeps_for_ever_is_ended_at_its_deadline(programs: Programs):
    with took(0.3, 0.7), pytest.raises(errors.ProgramTimedOut, match=r"within 0\.3 s; it last said: 'begun'"):
        sh(programs, "echo begun >&2; exec sleep 86411", 0.3)
    assert alive("86411") == []


def test_a_program_may_end_itself_orderly_at_its_deadline(programs: Programs, tmp_path: Path):
    with pytest.raises(errors.ProgramTimedOut):
        sh(programs, f"trap 'echo tidy >{tmp_path}/left; exit' TERM; sleep 86412 & wait", 0.3)
    assert (tmp_path / "left").read_text() == "tidy\n"


def test_a_program_that_ignores_sigterm_is_killed_within_a_second_of_its_deadline(programs: Programs):
    with took(0.7, 1.25), pytest.raises(errors.ProgramTimedOut):
        sh(programs, "trap '' TERM; while :; do sleep 86413; done", 0.3)
    until(lambda: not alive("86413"), LOAD_S)


def test_grandchildren_that_keep_the_pipes_do_not_keep_the_caller(programs: Programs):
    with took(0.0, 0.6):
        ended = sh(programs, "sleep 86414 & trap '' TERM; (trap '' TERM; sleep 86414) & echo done")
    assert ended.stdout == b"done\n"
    until(lambda: not alive("86414"), LOAD_S)


def test_grandchildren_in_another_group_of_the_session_are_killed_even_without_our_mark(programs: Programs):
    """`set -m` gives each job a group of its own, and `env -i` takes its environment away."""
    with took(0.3, 1.4), pytest.raises(errors.ProgramTimedOut):
        sh(programs, "set -m; env -i sh -c 'trap \"\" TERM; sleep 86415; sleep 86415' & wait; sleep 86415", 0.3)
    until(lambda: not alive("86415"), LOAD_S)


def test_a_daemonised_grandchild_is_killed_with_the_program(programs: Programs):
    daemon = "setsid sh -c 'trap \"\" TERM HUP; sleep 86416; sleep 86416' </dev/null >/dev/null 2>&1 &"
    seen = f"{daemon} until grep -qs 86416 /proc/[0-9]*/cmdline; do :; done; sleep 0.1; echo up"
    assert sh(programs, seen).stdout == b"up\n"
    until(lambda: not alive("86416"), LOAD_S)
    with took(0.3, 1.4), pytest.raises(errors.ProgramTimedOut):
        sh(programs, f"{daemon.replace('86416', '86417')} sleep 86417", 0.3)
    until(lambda: not alive("86417"), LOAD_S)


def test_50_at_once_are_each_heard_and_leave_no_thread(programs: Programs):
    before = set(threading.enumerate())
    gate = threading.Barrier(50)

    def one(number: int) -> bytes:
        gate.wait(30)
        return sh(programs, f"sleep 0.2; head -c 100000 /dev/zero; echo {number}", 60).stdout[100_000:]

    with concurrent.futures.ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(one, range(50)))
    assert answers == [b"%d\n" % number for number in range(50)]
    assert set(threading.enumerate()) <= before  # an earlier test's may have ended meanwhile


def test_what_runs_is_named_and_stop_ends_it_and_refuses_more(programs: Programs):
    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        stubborn = "trap '' TERM; while :; do sleep 86418; done"
        futures = [threads.submit(sh, programs, stubborn, 30) for _ in range(3)]
        futures.append(threads.submit(programs.run, ["sleep", "86418"], deadline=within(60)))
        until(lambda: len(programs.running()) == 4 and sleeping("86418") == 4)
        assert sorted({one.program for one in programs.running()}) == ["sh", "sleep"]
        assert all(one.pid > 0 and one.age_s >= 0 for one in programs.running())
        with took(0.3, 1.2):
            assert programs.stop_all(within(5)) == []
        for future in futures:
            with pytest.raises(errors.Interrupted, match=r"^Program (sh|sleep) was interrupted because"):
                future.result(1)
    until(lambda: not alive("86418"), LOAD_S)
    with pytest.raises(errors.Stopping):
        programs.run(["true"], deadline=within(5))


def test_a_stop_with_little_time_kills_without_waiting_for_sigterm(programs: Programs):
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        future = threads.submit(sh, programs, "trap '' TERM; while :; do sleep 86419; done", 60)
        until(lambda: sleeping("86419"))
        with took(0.0, 0.4):
            assert programs.stop_all(within(0.3)) == []
        assert isinstance(future.exception(1), errors.Interrupted)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what it warns of is what is tested
def test_the_door_belongs_to_the_process_that_made_it(programs: Programs):
    pid = os.fork()  # noqa: TID251  # what a child of a fork may not do is tested
    if pid == 0:
        try:
            programs.run(["true"], deadline=within(5))
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
