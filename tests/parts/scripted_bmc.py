"""A small Redfish BMC that counts what it is sent and misbehaves as told. It speaks real HTTP on a real socket."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

USERNAME, PASSWORD = "root", "secret-scripted-7"
SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
SESSIONS = "/redfish/v1/SessionService/Sessions"
COUNTING = threading.Lock()


@dataclass
class Script:
    """What the BMC is, and does wrong."""

    power: str = "On"
    password: str = PASSWORD
    has_sessions: bool = True
    resets: list[str] = field(default_factory=lambda: ["On", "ForceOff", "GracefulShutdown"])
    boot_devices: list[str] = field(default_factory=lambda: ["Pxe", "Hdd", "Cd", "BiosSetup", "UefiHttp"])
    # Answers of a path instead of the right one: status and body.
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    # Paths whose request is taken and never answered.
    hangs: set[str] = field(default_factory=set)
    # Paths whose request is taken, and the connection closed.
    drops: set[str] = field(default_factory=set)
    # Paths whose answer comes one byte at a time for as long as anybody listens.
    drips: set[str] = field(default_factory=set)
    # What happens between the request of "METHOD path" and its answer, which tells how it was before.
    meanwhile: dict[str, Callable[[], object]] = field(default_factory=dict)
    # Paths whose answer is these bytes, whatever they are.
    raw: dict[str, bytes] = field(default_factory=dict)
    # Paths whose request is held until `ScriptedBmc.let_go` is set, and then answered.
    held: set[str] = field(default_factory=set)
    # Whether a connection is closed behind each answer without saying so.
    closes: bool = False
    # How long a connection may be idle after an answer before it is closed.
    idle_s: float | None = None
    # What the System document says instead, at its top level; None leaves the field out.
    system: dict[str, Any] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    under_way: int = 0
    most_under_way: int = 0
    host_headers: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    boot: dict[str, Any] = field(default_factory=dict)

    def sent(self, line: str) -> int:
        """How often "METHOD path" was taken."""
        return self.requests.count(line)


class ScriptedBmc(http.server.ThreadingHTTPServer):
    """The server; `script` may be changed while it runs."""

    daemon_threads = True

    def __init__(self, host: str) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        self.host = host
        super().__init__(address, _Handler)  # type: ignore[arg-type]  # typeshed knows IPv4 addresses
        self.script = Script()
        self.released = threading.Event()
        self.let_go = threading.Event()

    def driver_info(self, **more: object) -> dict[str, object]:
        """How to log in."""
        return {
            "redfish_address": f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.server_address[1]}",
            "redfish_system_id": SYSTEM,
            "redfish_username": USERNAME,
            "redfish_password": PASSWORD,
            **more,
        }

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what many tests are about."""


@contextlib.contextmanager
def scripted_bmc(host: str = "127.0.0.1") -> Iterator[ScriptedBmc]:
    """Run one for as long as the block runs."""
    with ScriptedBmc(host) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # noqa: TID251  # the peer's own
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.let_go.set()
            server.shutdown()
            thread.join(10)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each body waits 40 ms for the client to acknowledge its head
    server: ScriptedBmc

    def setup(self) -> None:
        super().setup()
        with COUNTING:
            self.server.script.connections += 1

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to the terminal."""

    def handle_method(self) -> None:
        script = self.server.script
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        script.host_headers.add(self.headers["Host"])
        with COUNTING:
            script.requests.append(f"{self.command} {self.path}")
            script.under_way += 1
            script.most_under_way = max(script.most_under_way, script.under_way)
        try:
            self._carry_out(script, body)
        finally:
            self.connection.settimeout(script.idle_s)
            with COUNTING:
                script.under_way -= 1

    def _carry_out(self, script: Script, body: bytes) -> None:
        if self.path in script.held:
            self.server.let_go.wait(60)
        if self.path in script.hangs:
            self.server.released.wait(60)
        if self.path in script.hangs | script.drops:
            self.close_connection = True
            return
        if self.path in script.raw:
            self.wfile.write(script.raw[self.path])
            self.close_connection = script.closes
            return
        status, answer, headers = self._answer(json.loads(body) if body else None)
        if self.path in script.drips:
            self._drip()
            return
        script.meanwhile.get(f"{self.command} {self.path}", lambda: None)()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = script.closes

    do_GET = do_POST = do_PATCH = do_DELETE = handle_method  # noqa: N815  # the names that http.server calls

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.server.released.wait(0.05):
            self.wfile.write(b"x")

    def _answer(self, body: Any) -> tuple[int, bytes, dict[str, str]]:
        script = self.server.script
        if self.path in script.answers:
            return *script.answers[self.path], {}
        if self.path == SESSIONS and self.command == "POST":
            return self._login(body)
        if self.path != "/redfish/v1/" and not self._known():
            return 401, _error("The credentials are not right."), {}
        return self._change(body) if self.command != "GET" else self._show()

    def _change(self, body: Any) -> tuple[int, bytes, dict[str, str]]:
        script = self.server.script
        if self.command == "DELETE":
            script.tokens.discard(self.headers["X-Auth-Token"])
        elif self.path == RESET:
            script.power = "Off" if body["ResetType"] in ("ForceOff", "GracefulShutdown") else "On"
        elif self.path == SYSTEM:
            script.boot |= body["Boot"]
        return 204, b"", {}

    def _show(self) -> tuple[int, bytes, dict[str, str]]:
        documents = {"/redfish/v1/": self._root(), SYSTEM: self._system()}
        if self.path not in documents:
            return 404, _error("There is no such resource."), {}
        return 200, json.dumps(documents[self.path]).encode(), {}

    def _login(self, body: Any) -> tuple[int, bytes, dict[str, str]]:
        script = self.server.script
        if body != {"UserName": USERNAME, "Password": script.password}:
            return 401, _error("The credentials are not right."), {}
        token = f"token-{len(script.requests)}"
        script.tokens.add(token)
        return 201, b"{}", {"X-Auth-Token": token, "Location": f"{SESSIONS}/{token}"}

    def _known(self) -> bool:
        script = self.server.script
        pair = base64.b64encode(f"{USERNAME}:{script.password}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {pair}" or self.headers.get("X-Auth-Token") in script.tokens

    def _root(self) -> dict[str, Any]:
        sessions = {"Links": {"Sessions": {"@odata.id": SESSIONS}}} if self.server.script.has_sessions else {}
        return {"Id": "Root", "RedfishVersion": "1.6.0", "Systems": {"@odata.id": "/redfish/v1/Systems"}, **sessions}

    def _system(self) -> dict[str, Any]:
        script = self.server.script
        document = {
            "Id": "1",
            "PowerState": script.power,
            "Status": {"Health": "Warning"},
            "Boot": {
                "BootSourceOverrideTarget@Redfish.AllowableValues": script.boot_devices,
                "BootSourceOverrideEnabled": "Disabled",
                "BootSourceOverrideTarget": "None",
                "BootSourceOverrideMode": "Legacy",
                **script.boot,
            },
            "Actions": {"#ComputerSystem.Reset": {"target": RESET, "ResetType@Redfish.AllowableValues": script.resets}},
            **script.system,
        }
        return {name: value for name, value in document.items() if value is not None}


def _error(message: str) -> bytes:
    information = [{"Message": message, "Severity": "Critical"}]
    return json.dumps({"error": {"code": "Base.1.0.GeneralError", "@Message.ExtendedInfo": information}}).encode()
