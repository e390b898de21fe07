"""sushy-tools' sushy-emulator as a process: a Redfish BMC that nobody here wrote, with one or more fake machines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess  # noqa: TID251  # a peer is a child of the test
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.waiting import until

USERNAME, PASSWORD = "admin", "secret-redfish-7"
UUIDS = ("11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002")

# The file is Python to the emulator. Its fake machines take 1 to 11 s for a power change; here they take none, so
# that the change is seen by the second look at the machine.
CONFIG = """
from sushy_tools.emulator.resources.systems import fakedriver
fakedriver.random.randint = lambda low, high: 0
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_STATE_DIR = {directory!r}
SUSHY_EMULATOR_AUTH_FILE = {htpasswd!r}
SUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}
"""


@dataclass(frozen=True)
class Emulator:
    """A running sushy-emulator."""

    port: int
    directory: Path
    certificate: Path | None

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def driver_info(self, machine: int = 0) -> dict[str, object]:
        """How to log in to one of its machines."""
        return {
            "redfish_address": self.url,
            "redfish_system_id": f"/redfish/v1/Systems/{UUIDS[machine]}",
            "redfish_username": USERNAME,
            "redfish_password": PASSWORD,
            "redfish_verify_ca": str(self.certificate or True),
        }

    def system(self, machine: int = 0) -> dict[str, Any]:
        """The System document, asked for by another client than ours."""
        document: dict[str, Any] = self._call("GET", f"/redfish/v1/Systems/{UUIDS[machine]}")
        return document

    def set_power(self, *, on: bool, machine: int = 0) -> None:
        """Press the button, as another client."""
        path = f"/redfish/v1/Systems/{UUIDS[machine]}"
        self._call("POST", f"{path}/Actions/ComputerSystem.Reset", {"ResetType": "On" if on else "ForceOff"})
        until(lambda: self.system(machine)["PowerState"] == ("On" if on else "Off"))

    def requests(self) -> list[str]:
        """Every request that it has answered so far, as "METHOD path". Its log is coloured, but for status 200."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", (self.directory / "log").read_text())
        return re.findall(r'"([A-Z]+ \S+) HTTP', plain)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(None, self.url, USERNAME, PASSWORD, is_authenticated=True)
        opener = urllib.request.build_opener(
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.certificate)),
        )
        with opener.open(request, timeout=10) as answer:
            content = answer.read()
            return json.loads(content) if content else None


@contextlib.contextmanager
def sushy_emulator(directory: Path, *, tls: bool = False) -> Iterator[Emulator]:
    """Run sushy-emulator in this directory. Skips where it is not installed; fails in CI."""
    program = shutil.which("sushy-emulator", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    openssl = shutil.which("openssl")
    if program is None or (tls and openssl is None):
        assert not os.environ.get("CI"), "sushy-emulator or openssl is not installed"
        pytest.skip("sushy-emulator or openssl is not installed")
    directory.mkdir(parents=True)
    certificate = _certificate(openssl, directory) if tls and openssl else None
    emulator = Emulator(port=_free_port(), directory=directory, certificate=certificate)
    arguments = [program, "--config", _configured(directory), "--interface", "127.0.0.1", "--port", str(emulator.port)]
    if certificate:
        arguments += ["--ssl-certificate", str(certificate), "--ssl-key", str(directory / "key.pem")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([*arguments, "--fake"], cwd=directory, stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: _listens(emulator.port), 30)
        yield emulator
    finally:
        process.kill()
        process.wait(10)


def _configured(directory: Path) -> str:
    htpasswd = directory / "htpasswd"
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
    # The emulator knows only the older name of the same digest.
    htpasswd.write_text(f"{USERNAME}:{digest.replace('$2b$', '$2y$', 1)}\n")
    systems = [
        {"uuid": uuid, "name": f"machine-{number}", "power_state": "Off", "external_notifier": False, "nics": []}
        for number, uuid in enumerate(UUIDS)
    ]
    config = directory / "emulator.conf"
    config.write_text(CONFIG.format(directory=str(directory), htpasswd=str(htpasswd), systems=systems))
    return str(config)


def _certificate(openssl: str, directory: Path) -> Path:
    """A self-signed certificate for 127.0.0.1."""
    certificate = directory / "certificate.pem"
    names = ["-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(certificate)]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
