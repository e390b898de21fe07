"""One of several API processes is scraped and answers for all, whatever the others do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ironic_lite.api import workers
from ironic_lite.api.workers import Siblings, Workers
from ironic_lite.clock import SystemClock
from ironic_lite.metrics import Registry
from ironic_lite.usage import Process
from ironic_lite.web.listeners import listen
from ironic_lite.web.server import Server
from tests.parts.scrapes import Scrape

PAGE = json.dumps({"process_threads": ['process_threads{worker="api-2"} 3']}).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


class Fleet:
    """The API processes of one launcher, here as servers of one process."""

    def __init__(self) -> None:
        self.opened = ExitStack()
        self.ports: dict[str, int] = {}
        self.listeners: dict[str, socket.socket] = {}

    def listen(self, *names: str) -> None:
        """The ports that the launcher holds, whoever serves them or not."""
        for name in names:
            self.listeners[name] = self.opened.enter_context(listen("127.0.0.1", 0))
            self.ports[name] = self.listeners[name].getsockname()[1]

    def serve(self, name: str) -> Workers:
        registry = Registry(name)
        registry.add(Process(SystemClock()).samples)
        made = Workers(registry, Siblings(self.listeners[name], self.ports))
        server = made.server()
        assert isinstance(server, Server)
        server.start()
        self.opened.callback(server.drain, 3.0)
        return made

    def answer(self, name: str, data: bytes) -> None:
        """Be one that says this to who asks first."""

        def run() -> None:
            listener = self.listeners[name]
            listener.settimeout(20)
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(data)

        thread = threading.Thread(target=run)  # noqa: TID251  # the test's own peer
        thread.start()
        self.opened.callback(thread.join, 20)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everybody answers nobody is waited for in vain, however slow this machine is."""
    monkeypatch.setattr(workers, "DEADLINE_S", 60.0)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    made = Fleet()
    with made.opened:
        yield made


def up(scrape: Scrape) -> dict[str, float]:
    return {dict(series)["worker"]: value for series, value in scrape.series("ironic_lite_worker_up").items()}


def test_alone_it_needs_no_port_and_no_thread() -> None:
    alone = Workers(Registry("api"))
    assert alone.server() is None
    assert up(Scrape(alone.scrape())) == {"api": 1}


def test_whoever_is_scraped_answers_for_all(fleet: Fleet) -> None:
    names = {"api-1", "api-2", "api-3"}
    fleet.listen(*names)
    for one in [fleet.serve(name) for name in names]:
        now = Scrape(one.scrape())
        assert up(now) == dict.fromkeys(names, 1)
        assert now.workers() == names
        assert len(now.series("process_threads")) == 3


def test_all_may_be_scraped_at_once(fleet: Fleet) -> None:
    fleet.listen("api-1", "api-2")
    both = [fleet.serve("api-1"), fleet.serve("api-2")]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(both[number % 2].scrape) for number in range(40)]
        assert all(up(Scrape(one.result(60))) == {"api-1": 1, "api-2": 1} for one in answers)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        OK,
        OK + PAGE[:-1],
        OK + b'{"process_threads": 3}',
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + PAGE,
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\xff" * 1000,
    ],
)
def test_who_answers_with_less_than_a_page_is_down_and_has_no_series(fleet: Fleet, data: bytes) -> None:
    fleet.listen("api-1", "api-2")
    fleet.answer("api-2", data)
    now = Scrape(fleet.serve("api-1").scrape())
    assert up(now) == {"api-1": 1, "api-2": 0}
    assert now.workers() == {"api-1"}


def test_who_answers_with_a_page_is_up(fleet: Fleet) -> None:
    """What the ones above lack; of a later version it may know families that this one does not."""
    fleet.listen("api-1", "api-2")
    fleet.answer("api-2", OK + PAGE[:-1] + b', "later": ["later 1"]}')
    now = Scrape(fleet.serve("api-1").scrape())
    assert up(now) == {"api-1": 1, "api-2": 1}
    assert now.value("process_threads", worker="api-2") == 3


def test_who_is_silent_or_gone_is_down_and_keeps_nobody_else_from_being_heard(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "DEADLINE_S", 2.0)
    fleet.listen("api-0", "api-1", "api-2", "api-3")
    fleet.ports["api-4"] = 1  # nobody listens there
    fleet.answer("api-3", OK + PAGE)
    scraped = fleet.serve("api-1")  # api-0 and api-2 are held by the launcher, and nobody serves them
    now = Scrape(scraped.scrape())
    assert up(now) == {"api-0": 0, "api-1": 1, "api-2": 0, "api-3": 1, "api-4": 0}
    assert "api-0" not in now.workers()


def test_nothing_of_an_earlier_answer_is_kept(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.listen("api-1", "api-2")
    fleet.answer("api-2", OK + PAGE)
    scraped = fleet.serve("api-1")
    assert Scrape(scraped.scrape()).workers() == {"api-1", "api-2"}
    monkeypatch.setattr(workers, "DEADLINE_S", 0.3)
    assert Scrape(scraped.scrape()).workers() == {"api-1"}
