"""Real PostgreSQL and MariaDB servers, started from the installed binaries on sockets of their own.

They can be frozen, killed and started again; a link that is cut is `tcp_proxy.py` before their port.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess  # noqa: TID251  # the tests' door to the servers that they start
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.waiting import until

KINDS = ("sqlite", "postgresql", "mariadb")
STOP_TIMEOUT_S = 20


@contextmanager
def server(kind: str) -> Iterator[sa.URL]:
    """A server of that kind; the URL names its first database. Absent: a skip here, a failure in CI."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="ironic-lite-sqlite-") as directory:
            yield sa.URL.create("sqlite", database=str(Path(directory) / "ironic.sqlite"))
    else:
        with running_server(kind) as running:
            yield running.url


@contextmanager
def running_server(kind: str) -> Iterator[Server]:
    """The same, for a test that harms it: a server of its own. Not for SQLite, which has none."""
    with tempfile.TemporaryDirectory(prefix=f"ironic-lite-{kind}-", dir="/tmp") as directory:
        running = {"postgresql": _postgresql, "mariadb": _mariadb}[kind](Path(directory))
        running.start()
        try:
            yield running
        finally:
            running.stop()


class Server:
    """A server and all its processes. `url` goes through its socket file, `port` is for 127.0.0.1."""

    def __init__(self, argv: list[str], owner: str | None, directory: Path, url: sa.URL, port: int) -> None:
        self.url, self.port = url, port
        self._argv, self._owner, self._directory = argv, owner, directory
        self._process: subprocess.Popen[bytes] | None = None

    def tcp_url(self, port: int) -> sa.URL:
        """The URL through a port of 127.0.0.1: its own, or a proxy's."""
        return self.url.set(host="127.0.0.1", port=port, query={})

    def start(self) -> None:
        """Start it, again with what it had, and wait until it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._argv, user=self._owner, stdout=log, stderr=log, cwd="/")
        until(self._answers, 30)

    def freeze(self) -> None:
        """Stop every process of it: its sockets stay open, the kernel acknowledges for it, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End every process of it at once, nothing said to anybody."""
        self._signal(signal.SIGSTOP)  # so that no process is made meanwhile
        pids = self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(STOP_TIMEOUT_S)
        until(lambda: not any(_runs(pid) for pid in pids), STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End it, whatever state a test left it in."""
        assert self._process is not None
        if self._process.poll() is None:
            self.thaw()
            # PostgreSQL ends its clients' connections on SIGINT, and waits for them on SIGTERM.
            self._process.send_signal(signal.SIGINT if "postgres" in self._argv[0] else signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> list[int]:
        """Tell every process: the first one first, which makes the others, and they make none. Whom it told."""
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        before = children.read_text().split()  # gone with a parent that is killed
        os.kill(parent, number)
        told = [parent]
        now = children.read_text().split() if number == signal.SIGSTOP else before
        for child in map(int, now):
            with contextlib.suppress(ProcessLookupError):  # it served a connection that ended
                os.kill(child, number)
                told.append(child)
        return told

    def _answers(self) -> bool:
        # Not through the socket file: PyMySQL leaks the socket when that refuses.
        engine = sa.create_engine(self.tcp_url(self.port), poolclass=sa.NullPool)
        try:
            with engine.connect():
                return True
        except sa.exc.OperationalError:
            return False


def _postgresql(directory: Path) -> Server:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb = _installed("initdb", *(str(one / "initdb") for one in binaries))
    owner = _owner("postgres", directory)
    data, port = directory / "data", _free_port()
    _run([initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"], owner)
    argv = [str(Path(initdb).with_name("postgres")), "-D", str(data), "-k", str(directory), "-F"]
    argv += ["-c", "listen_addresses=127.0.0.1", "-p", str(port)]
    url = sa.URL.create(
        "postgresql+psycopg",
        username="postgres",
        database="postgres",
        query={"host": str(directory), "port": str(port)},
    )
    return Server(argv, owner, directory, url, port)


def _mariadb(directory: Path) -> Server:
    install = _installed("mariadb-install-db")
    mariadbd = _installed("mariadbd", "/usr/sbin/mariadbd")
    owner = _owner("mysql", directory)
    data, socket_file, port = directory / "data", directory / "socket", _free_port()
    options = ["--no-defaults", f"--datadir={data}"]
    _run([install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"], owner)
    argv = [mariadbd, *options, f"--socket={socket_file}", "--innodb-flush-log-at-trx-commit=0"]
    argv += ["--bind-address=127.0.0.1", f"--port={port}"]
    url = sa.URL.create("mysql+pymysql", username="root", database="mysql", query={"unix_socket": str(socket_file)})
    return Server(argv, owner, directory, url, port)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _installed(name: str, *elsewhere: str) -> str:
    found = shutil.which(name) or next((path for path in elsewhere if Path(path).exists()), None)
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and CI needs it.")
    pytest.skip(f"{name} is not installed.")


def _owner(name: str, directory: Path) -> str | None:
    """The servers refuse to run as root: then they run as their own user, who gets the directory."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(name)
    os.chown(directory, user.pw_uid, user.pw_gid)
    return name


def _run(argv: list[str], owner: str | None) -> None:
    done = subprocess.run(argv, user=owner, capture_output=True, timeout=60, check=False, text=True, cwd="/")
    assert done.returncode == 0, f"{argv[0]} failed: {done.stdout}{done.stderr}"
