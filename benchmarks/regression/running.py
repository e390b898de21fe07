"""The all-in-one of a build while it runs, on SQLite in a directory of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from first_light import create_node, free_port, get_nodes, pause
from processes import cpu_s, end, live_cpu_s, tree

from regression.builds import Build

START_S = 60.0


class Service:
    """A client with one kept connection, and the processes behind it."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pids = tree(pid)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def create(self, nodes: int) -> None:
        """Enrol fake nodes called bench-0, bench-1 ..."""
        for number in range(nodes):
            create_node(self.port, number)

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The document of an answer that must be good."""
        headers = {"X-OpenStack-Ironic-API-Version": "1.50", "Content-Type": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {text!r}")
        return json.loads(text) if text else None

    def cpu_s(self) -> float:
        """What all its processes have used so far, children that have ended included, in ticks of 10 ms."""
        return cpu_s(self.pids)

    def live_cpu_s(self) -> float:
        """What its threads have used so far; exact, and right while none of them ends."""
        return live_cpu_s(self.pids)


@contextmanager
def running(build: Build, options: str = "") -> Iterator[Service]:
    """The service for as long as the block runs; `options` are lines of its configuration file."""
    with tempfile.TemporaryDirectory() as directory, (Path(directory) / "log").open("w+b") as log:
        port, settings = free_port(), Path(directory) / "ironic.conf"
        settings.write_text(
            f"[DEFAULT]\nstate_path = {directory}\nhost = bench\nenabled_hardware_types = redfish,ipmi,fake-hardware\n"
            f"[api]\nport = {port}\n[json_rpc]\nport = {free_port()}\n{options}"
        )
        argv = [str(build.python), "-P", "-m", "ironic_lite", "--config-file", str(settings)]
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory, env=build.environment())
        try:
            until_ready(process, port)
            yield Service(port, process.pid)
        except Exception:
            log.seek(0)
            print(log.read().decode()[-2000:])
            raise
        finally:
            end(process)


def until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when the API answers and has a conductor that drives fake nodes."""
    deadline = time.monotonic() + START_S
    while get_nodes(port) is None or not drivers(port):
        if process.poll() is not None:
            raise RuntimeError("The service ended by itself.")
        if time.monotonic() > deadline:
            raise RuntimeError("The service did not serve in time.")
        pause(0.05)


def drivers(port: int) -> list[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v1/drivers")
    found: list[Any] = json.loads(connection.getresponse().read()).get("drivers", [])
    connection.close()
    return found
