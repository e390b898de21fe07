"""A simulated Redfish fleet in a process of its own, for tests."""

from __future__ import annotations

import base64
import http.client
import json
import os
import selectors
import subprocess  # noqa: TID251  # the fleet is a real process, and this is its one door in tests
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

from ironic_lite.fleet.__main__ import PASSWORD_VARIABLE
from ironic_lite.fleet.server import Bmc

USERNAME = "admin"
PASSWORD = "fleet-secret"
SUBSCRIPTIONS = "/redfish/v1/EventService/Subscriptions"
START_S = 30.0
STOP_S = 10.0


@dataclass(frozen=True)
class Answer:
    """What a BMC answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class FleetProcess:
    """The running fleet."""

    bmcs: tuple[Bmc, ...]
    process: subprocess.Popen[bytes]
    control: str

    def rule(self, method: str, path: str, body: object = None) -> Any:
        """One request at the control address: the document of the answer, None where it has none."""
        place = urlsplit(self.control)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
        try:
            answer = ask(connection, method, place.path + path, body)
        finally:
            connection.close()
        assert answer.status < 300, answer
        return answer.document if answer.body else None

    def order(self, **order: object) -> int:
        """Give an order at once: how many BMCs it meant."""
        meant: int = self.rule("POST", "/orders", order)["bmcs"]
        return meant

    def ledger(self, bmc: Bmc) -> list[tuple[str, str]]:
        """The power actions of a BMC: by which way in, and what."""
        told = self.rule("GET", f"/ledger?address={bmc.address}")
        return [(action["by"], action["reset"]) for action in told["actions"]]

    def ask(self, bmc: Bmc, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request on a connection of its own, with Basic auth unless headers say otherwise."""
        connection = http.client.HTTPConnection(bmc.address, bmc.port, timeout=10)
        try:
            return ask(connection, method, path, body, **headers)
        finally:
            connection.close()

    def set_faults(self, bmc: Bmc, *script: dict[str, Any], through: Bmc | None = None) -> None:
        """Replace the faults of a BMC (none: end them); through another BMC where this one refuses connections."""
        body = {"script": list(script), "address": bmc.address}
        assert self.ask(through or bmc, "POST", "/fleet/faults", body).status == 204

    def set_quirks(self, bmc: Bmc, *names: str) -> None:
        """Replace the quirks of a BMC (none: it is as DMTF says)."""
        assert self.ask(bmc, "PUT", "/fleet/quirks", {"quirks": list(names)}).status == 204

    def counts(self, bmc: Bmc) -> dict[str, int]:
        """How often the BMC was asked since its counts were cleared, by "METHOD kind"."""
        requests: dict[str, int] = self.ask(bmc, "GET", "/fleet/counts").document["requests"]
        return requests

    def subscriptions(self, bmc: Bmc) -> dict[str, str]:
        """Where the BMC sends its events: destination by path."""
        members = self.ask(bmc, "GET", SUBSCRIPTIONS).document["Members"]
        answers = {member["@odata.id"]: self.ask(bmc, "GET", member["@odata.id"]) for member in members}
        return {path: one.document["Destination"] for path, one in answers.items() if one.status != 404}

    def subscribe(self, bmc: Bmc, destination: str, context: str = "") -> str:
        """Have events sent there, as somebody else; the path of the subscription."""
        body = {"Destination": destination, "Protocol": "Redfish", "Context": context}
        answer = self.ask(bmc, "POST", SUBSCRIPTIONS, body)
        assert answer.status == 201, answer
        return answer.headers["location"]

    def clear_counts(self, bmc: Bmc) -> None:
        """Begin to count anew."""
        assert self.ask(bmc, "DELETE", "/fleet/counts").status == 204


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None, /, **headers: str
) -> Answer:
    """One request on that connection; `authorization=""` sends no credentials."""
    basic = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    sent = {"authorization": f"Basic {basic}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    connection.request(method, path, data, {name: value for name, value in sent.items() if value})
    response = connection.getresponse()
    content = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


@contextmanager
def fleet(size: int = 1, **options: object) -> Iterator[FleetProcess]:
    """A fleet for as long as the block runs; options are those of `python -m ironic_lite.fleet` (`power_delay=0.2`)."""
    given = {"size": size, "username": USERNAME, "power_delay": 0} | options
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "ironic_lite.fleet", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, PASSWORD_VARIABLE: PASSWORD},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = json.loads(_first_line(process.stdout))
        yield FleetProcess(tuple(Bmc(**bmc) for bmc in line["bmcs"]), process, line["control"])
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
            raise
        finally:
            process.stdout.close()


def _first_line(stream: IO[bytes]) -> bytes:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        assert selector.select(START_S), f"The fleet did not start within {START_S} s."
    return stream.readline()
