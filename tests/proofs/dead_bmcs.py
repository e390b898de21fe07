"""Dead BMCs under calls that wait for them, and what every other request feels of that.

    python tests/proofs/dead_bmcs.py [--seed N] [--rounds N] [--seconds N]

The BMCs accept connections and never answer. As many clients as there are BMCs ask for boot devices, all at once.
`tests/functional/test_dead_bmcs.py` runs the small size, which counts. This program runs the full size, which also
measures: rounds of quiet and of load by turns, over one running service.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random  # noqa: TID251  # seeded, for a workload
import socket
import statistics
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ironic_lite.clock import Deadline, SystemClock
from tests.parts.service import API_VERSION, Service, service

CLOCK: Final = SystemClock()
HEADERS: Final = {"X-OpenStack-Ironic-API-Version": API_VERSION, "Content-Type": "application/json"}
OTHERS: Final = 4  # clients that ask for other things
PAUSE_S: Final = 0.02  # of such a client between two requests
PATIENCE_S: Final = 180.0


class DeadBmcs:
    """Listening sockets that nobody accepts from, each on an address of its own."""

    def __init__(self, count: int) -> None:
        self._sockets = [socket.create_server((f"127.9.0.{number + 1}", 0), backlog=512) for number in range(count)]

    def addresses(self) -> list[str]:
        """Where they are, as `redfish_address` wants it."""
        return ["http://{}:{}".format(*each.getsockname()) for each in self._sockets]

    def close(self) -> None:
        """Whoever waits is reset."""
        for each in self._sockets:
            each.close()


class Client:
    """A client with a connection of its own, which it keeps."""

    def __init__(self, running: Service) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, http.client.HTTPMessage, Any]:
        """One request: status, headers, document."""
        self._connection.request(method, path, None if body is None else json.dumps(body), HEADERS)
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, answer.headers, json.loads(content) if content else None

    def close(self) -> None:
        self._connection.close()


class Other:
    """A client whose requests wait for no BMC: lists, reads, validation, and the power of a node of its own."""

    def __init__(self, running: Service, number: int, dead: list[str], seed: int) -> None:
        self._client, self._dead = Client(running), dead
        self._chance = random.Random(seed * 1000 + number)
        self._node = running.create(f"alive-{number}")
        self._target = "power on"
        self.took_s: list[float] = []
        self.failed: Counter[str] = Counter()

    def ask(self) -> None:
        """One request of any kind, timed; a power change only when the last one is done."""
        kind = self._chance.choice(["list", "node", "validate", "power"])
        if kind == "list":
            self._expect(200, "GET", "/v1/nodes?limit=20")
        elif kind == "validate":
            self._expect(200, "GET", f"/v1/nodes/{self._chance.choice(self._dead)}/validate")
        elif kind == "node" or self._expect(200, "GET", f"/v1/nodes/{self._node}")["reservation"]:
            self._expect(200, "GET", f"/v1/nodes/{self._node}")
        else:
            self._expect(202, "PUT", f"/v1/nodes/{self._node}/states/power", {"target": self._target})
            self._target = "power off" if self._target == "power on" else "power on"

    def go_on(self, deadline: Deadline) -> None:
        """Ask until then, with a pause after each request."""
        while not deadline.passed():
            self.ask()
            CLOCK.wait(threading.Event(), PAUSE_S)

    def close(self) -> None:
        self._client.close()

    def _expect(self, wanted: int, method: str, path: str, body: object = None) -> Any:
        began = CLOCK.monotonic()
        status, _, document = self._client.ask(method, path, body)
        self.took_s.append(CLOCK.monotonic() - began)
        if status != wanted:
            self.failed[f"{method} {path}: {status} {document}"] += 1
        return document


class Asker:
    """A client who wants the boot device of one dead machine."""

    def __init__(self, running: Service, node: str, seed: int) -> None:
        self._client, self._path = Client(running), f"/v1/nodes/{node}/management/boot_device"
        self._chance = random.Random(seed)
        self.answers: Counter[int] = Counter()

    def ask(self) -> float:
        """Ask once; seconds after which to ask again. A refusal must say when."""
        status, headers, _ = self._client.ask("GET", self._path)
        self.answers[status] += 1
        return float(headers["Retry-After"]) if status == 503 else 0.0

    def go_on(self, stop: threading.Event) -> None:
        """Ask again and again until told to stop, when the answers say or up to a second later: never in step."""
        while not CLOCK.wait(stop, self.ask() + self._chance.random()):
            pass

    def close(self) -> None:
        self._client.close()


@contextlib.contextmanager
def fleet(
    directory: Path, count: int, seed: int, **options: Any
) -> Iterator[tuple[list[Asker], list[Other], DeadBmcs]]:
    """A running service with its clients, none of which has asked yet."""
    dead = DeadBmcs(count)
    quiet = {"conductor": {"sync_power_state_interval": 0, **options.pop("conductor", {})}}
    try:
        with service(directory, **quiet, **options) as running:
            info = {"redfish_system_id": "/redfish/v1/Systems/1", "redfish_username": "u", "redfish_password": "p"}
            nodes = [
                running.create(f"dead-{number}", "redfish", driver_info={"redfish_address": address, **info})
                for number, address in enumerate(dead.addresses())
            ]
            clients = [Asker(running, node, seed * 1000 + OTHERS + number) for number, node in enumerate(nodes)]
            others = [Other(running, number, nodes, seed) for number in range(OTHERS)]
            yield clients, others, dead
            for asker in clients:
                asker.close()
            for other in others:
                other.close()
    finally:
        dead.close()


def p99_ms(took_s: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(took_s, n=100)[98] * 1000


def told(took_s: list[float]) -> str:
    """The figures of one half of a round."""
    return f"p50 {statistics.median(took_s) * 1000:.1f} p99 {p99_ms(took_s):.1f} ms of {len(took_s)}"


def measured(others: list[Other], seconds: float) -> list[float]:
    """How long each request took that the other clients made in so many seconds. None may fail."""
    for each in others:
        each.took_s.clear()
    deadline = Deadline(CLOCK, seconds)
    with ThreadPoolExecutor(len(others)) as pool:
        for done in [pool.submit(each.go_on, deadline) for each in others]:
            done.result()
    failed = sum((each.failed for each in others), Counter[str]())
    assert not failed, failed.most_common(5)
    return [one for each in others for one in each.took_s]


def loaded(clients: list[Asker], others: list[Other], seconds: float) -> list[float]:
    """The same while every one of the clients asks a dead BMC."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(clients)) as pool:
        asking = [pool.submit(each.go_on, stop) for each in clients]
        took_s = measured(others, seconds)
        stop.set()
        for done in asking:
            done.result()
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dead", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        fleet(Path(directory), given.dead, given.seed, DEFAULT={"debug": False}) as (clients, others, _),
    ):
        measured(others, 5.0)  # what is done once has been
        p99s = []
        for number in range(given.rounds):
            quiet, load = measured(others, given.seconds), loaded(clients, others, given.seconds)
            p99s.append((p99_ms(quiet), p99_ms(load)))
            print(f"round {number + 1}: quiet {told(quiet)}; {given.dead} dead BMCs {told(load)}", flush=True)
        answers = sum((each.answers for each in clients), Counter[int]())
        print(f"calls to dead BMCs, by status: {dict(answers)}; not one other request failed")
        medians = [statistics.median(column) for column in zip(*p99s, strict=True)]
        print(f"median of the rounds' p99: quiet {medians[0]:.1f} ms, {given.dead} dead BMCs {medians[1]:.1f} ms")


if __name__ == "__main__":
    main()
