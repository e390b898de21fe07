"""The service as its operator runs it: real processes, a configuration file, SQLite in a directory of its own."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess  # noqa: TID251  # the service itself is what is tested
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.waiting import until

HOST: Final = "here"
API_VERSION: Final = "1.110"
START_S: Final = 60.0
STOP_S: Final = 60.0
TAIL_KIB: Final = 8
MARK: Final = "IRONIC_LITE_TEST_MARK"  # inherited by every process of a service, so that a leftover is found by it

# What is run for each command; the package need not be installed.
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ironic-lite": ("-m", "ironic_lite"),
    **{
        f"ironic-lite-{name}": ("-c", f"from ironic_lite.cli import {name}; {name}()")
        for name in ("api", "conductor", "dbsync")
    },
}

Options = Mapping[str, object]


@dataclass(frozen=True)
class Ended:
    """What a command that ended said."""

    code: int
    output: str
    errors: str


@dataclass
class Service:
    """The running service. Its processes are those of `ironic-lite`, or of the two services run alone."""

    directory: Path
    port: int
    rpc_port: int
    mark: str
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    cafile: str | None = None  # whom clients trust, of a service that speaks TLS

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"{'http' if self.cafile is None else 'https'}://127.0.0.1:{self.port}"

    def client(self) -> http.client.HTTPConnection:
        """A connection to the API."""
        if self.cafile is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        context = ssl.create_default_context(cafile=self.cafile)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "ironic.conf"

    def request(
        self, method: str, path: str, body: object = None, version: str = API_VERSION
    ) -> tuple[int, dict[str, str], Any]:
        """One request: status, headers in lower case, document (None without a body). A body of bytes goes as it is."""
        connection = self.client()
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"X-OpenStack-Ironic-API-Version": version, "Content-Type": "application/json"}
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, json.loads(content) if content else None

    def get(self, path: str) -> Any:
        """The document at a path that must be there."""
        status, _, document = self.request("GET", path)
        assert status == 200, f"GET {path}: {status} {document}"
        return document

    def create(self, name: str, driver: str = "fake-hardware", **more: object) -> str:
        """Enrol a node; its UUID."""
        status, _, node = self.request("POST", "/v1/nodes", {"name": name, "driver": driver, **more})
        assert status == 201, node
        return str(node["uuid"])

    def put(self, path: str, body: object) -> None:
        """Ask for a change that must be accepted."""
        status, _, document = self.request("PUT", path, body)
        assert status == 202, f"PUT {path}: {status} {document}"

    def manage(self, ident: str) -> None:
        """Have the node verified, and see it manageable."""
        self.put(f"/v1/nodes/{ident}/states/provision", {"target": "manage"})
        until(lambda: self.get(f"/v1/nodes/{ident}")["provision_state"] == "manageable", 30)

    def power(self, ident: str, target: str) -> None:
        """Ask for a change of power and see it done."""
        self.put(f"/v1/nodes/{ident}/states/power", {"target": target})
        node = self.settled(ident)
        assert node["last_error"] is None, node["last_error"]

    def settled(self, ident: str, timeout_s: float = 60.0) -> Any:
        """The node as it is once nobody works on it."""
        node: dict[str, Any] = {}

        def free() -> bool:
            node.update(self.get(f"/v1/nodes/{ident}"))
            return node["reservation"] is None and node["target_power_state"] is None

        until(free, timeout_s)
        return node

    def log(self) -> str:
        """Everything that the processes wrote."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    def pids(self) -> dict[str, int]:
        """The processes that are there: launcher (in the all-in-one only), api, conductor."""
        found = {
            name.removeprefix("ironic-lite-"): program.pid
            for name, program in self.programs.items()
            if name != "ironic-lite" and program.poll() is None
        }
        if (launcher := self.programs.get("ironic-lite")) is not None:
            found["launcher"] = launcher.pid
            listeners = {"api": _inode(self.port), "conductor": _inode(self.rpc_port)}
            for child in _children(launcher.pid):
                sockets = _sockets(child)
                found |= {name: child for name, inode in listeners.items() if inode in sockets}
        return found

    def start(self, name: str, prefix: Sequence[str] = ()) -> None:
        """Start one of the commands, under the program of the prefix if there is one."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                [*prefix, sys.executable, *COMMANDS[name], "--config-file", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(self.mark),
            )

    def stop(self) -> None:
        """End every process by SIGTERM, the API first: each must end well, and leave nothing behind."""
        for name, program in reversed(self.programs.items()):
            program.send_signal(signal.SIGTERM)
            assert program.wait(STOP_S) == 0, f"{name} ended with {program.returncode}."
        until(lambda: not marked(self.mark))

    def ready(self) -> bool:
        """Whether the API answers, a conductor is alive and the launcher has seen every child serve.

        Fails when a process has ended.
        """
        for name, program in self.programs.items():
            assert program.poll() is None, f"{name} ended with {program.returncode} at its start."
        if "ironic-lite" in self.programs and "Everything serves." not in self.log():
            return False  # one of several API processes answers before the others do
        try:
            self.get("/v1/nodes")
            return any(one["alive"] for one in self.get("/v1/conductors")["conductors"])
        except (OSError, http.client.HTTPException):
            return False


@contextlib.contextmanager
def service(directory: Path, **options: Options) -> Iterator[Service]:
    """`ironic-lite` for as long as the block runs; options are by section, such as `fake={"power_delay": 1}`.

    With `[api]enable_ssl_api` its clients trust what `[json_rpc]cafile` says.
    When the block ends, it is stopped by SIGTERM, and must end with exit code 0 and leave no process behind.
    """
    with _running(configured(directory, options), ["ironic-lite"]) as running:
        yield running


@contextlib.contextmanager
def services_alone(directory: Path, **options: Options) -> Iterator[Service]:
    """The same as `ironic-lite-conductor` and `ironic-lite-api`, over a schema that `ironic-lite-dbsync` made.

    `options` must hold the credentials of [json_rpc].
    """
    begun = configured(directory, options)
    made = _run("ironic-lite-dbsync", begun, "create_schema")
    assert made.code == 0, made
    with _running(begun, ["ironic-lite-conductor", "ironic-lite-api"]) as running:
        yield running


def run(command: str, directory: Path, *arguments: str, **options: Options) -> Ended:
    """A command that ends by itself, within `START_S`."""
    return _run(command, configured(directory, options), *arguments)


def configured(directory: Path, options: Mapping[str, Options]) -> Service:
    """A service that is not started yet, with its configuration written."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Service(directory, port=free_port(), rpc_port=free_port(), mark=uuid.uuid4().hex)
    sections: dict[str, dict[str, object]] = {
        "DEFAULT": {
            "host": HOST,
            "state_path": directory,
            "enabled_hardware_types": "redfish,ipmi,fake-hardware",
            "debug": True,
        },
        "api": {"port": made.port},
        "conductor": {"metrics_port": 0},
        "json_rpc": {"port": made.rpc_port},
    }
    for section, given in options.items():
        sections.setdefault(section, {}).update(given)
    if sections["api"].get("enable_ssl_api"):
        made.cafile = str(sections["json_rpc"].get("cafile"))
    parser = configparser.RawConfigParser()
    parser.read_dict(sections)
    made.config.touch(mode=0o600)
    with made.config.open("w") as file:
        parser.write(file)
    return made


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def marked(mark: str) -> list[int]:
    """The processes that have the mark in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            if f"{MARK}={mark}".encode() in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found


@contextlib.contextmanager
def _running(begun: Service, commands: list[str]) -> Iterator[Service]:
    try:
        for command in commands:
            begun.start(command)
        until(begun.ready, START_S)
        yield begun
        begun.stop()
    except BaseException:
        print(f"The end of the log:\n{begun.log()[-TAIL_KIB * 1024 :]}")
        raise
    finally:
        for pid in marked(begun.mark):
            with contextlib.suppress(ProcessLookupError):  # its parent's end was its own
                os.kill(pid, signal.SIGKILL)
        for program in begun.programs.values():
            program.wait(10)


def _run(command: str, begun: Service, *arguments: str) -> Ended:
    done = subprocess.run(
        [sys.executable, *COMMANDS[command], "--config-file", str(begun.config), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        env=_environment(begun.mark),
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _environment(mark: str) -> dict[str, str]:
    """Ours, without what the service and its clients would take as their options."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OS_")} | {MARK: mark}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _inode(port: int) -> str | None:
    """The inode of the socket that listens on 127.0.0.1 (proc(5), /proc/net/tcp)."""
    listening = re.search(rf"^ *\d+: 0100007F:{port:04X} 00000000:0000 0A(?: +\S+){{5}} +(\d+)", _tcp(), re.MULTILINE)
    return listening[1] if listening else None


def _tcp() -> str:
    return Path("/proc/net/tcp").read_text()


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                    found.add(match[1])
    return found
