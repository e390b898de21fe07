"""A port that is asked rarely, by one thread; and what a server counts of itself."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from ironic_lite.web import scrape
from ironic_lite.web.limits import Limits
from ironic_lite.web.listeners import listen
from ironic_lite.web.server import Server
from tests.waiting import until

PATIENT = msgspec.structs.replace(scrape.LIMITS, header_timeout_s=30.0)  # however slow this machine is


@pytest.fixture
def page() -> Iterator[Server]:
    made = iter(range(1000))
    server = Server(
        "page",
        listen("127.0.0.1", 0),
        scrape.Page(lambda: b"page %d" % next(made)),
        threads=0,
        limits=PATIENT,
    )
    server.start()
    yield server
    assert server.drain(3.0)


def ask(server: Server, method: str = "GET", path: str = "/metrics") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    told = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return told


def threads_of(server: Server) -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(f"{server.name}-")]


def test_a_page_is_made_for_each_get_by_one_thread(page: Server):
    for number in range(3):
        status, headers, body = ask(page)
        assert (status, body) == (200, f"page {number}".encode())
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert threads_of(page) == ["page-serve"]


def test_no_connection_is_kept_so_that_nothing_ticks_between_scrapes(page: Server):
    _, headers, _ = ask(page)
    assert headers["Connection"] == "close"
    until(lambda: page.stats().connections == 0)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/x", 404), ("POST", "/metrics", 405), ("DELETE", "/metrics", 405)],
)
def test_nothing_else_is_answered(page: Server, method: str, path: str, status: int):
    answered, headers, body = ask(page, method, path)
    assert (answered, body) == (status, b"")
    assert headers.get("Allow") == ("GET" if status == 405 else None)
    assert ask(page)[2] == b"page 0"


def test_clients_that_say_nothing_or_half_a_request_hold_up_nobody_for_long():
    server = Server("slow", listen("127.0.0.1", 0), scrape.Page(lambda: b"x"), threads=0, limits=scrape.LIMITS)
    server.start()
    with socket.create_connection(server.address, timeout=20), socket.create_connection(server.address) as half:
        half.sendall(b"GET /metr")
        assert ask(server)[0] == 200
    assert server.drain(3.0)


def test_a_drain_ends_while_a_client_is_slow():
    server = Server("slow", listen("127.0.0.1", 0), scrape.Page(lambda: b"x"), threads=0, limits=PATIENT)
    server.start()
    with socket.create_connection(server.address, timeout=20) as slow:
        slow.sendall(b"GET /metr")
        until(lambda: server.stats().busy == 1)
        server.drain(0.1)
    until(lambda: threads_of(server) == [])


def test_a_server_counts_what_runs_waits_and_was_turned_away():
    go, held = threading.Event(), threading.Semaphore(0)

    def hold(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        held.release()
        go.wait(20)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server = Server("test", listen("127.0.0.1", 0), hold, threads=2, limits=Limits(queued_requests=1))
    server.start()
    clients = [http.client.HTTPConnection(*server.address, timeout=20) for _ in range(5)]
    for client in clients[:2]:
        client.request("GET", "/")
        assert held.acquire(timeout=10)
    clients[2].request("GET", "/")
    until(lambda: server.stats().queued == 1)
    for client in clients[3:]:
        client.request("GET", "/")
        assert client.getresponse().status == 503
    now = server.stats()
    assert (now.threads, now.busy, now.queued, now.refused) == (2, 2, 1, 2)
    go.set()
    for client in clients[:3]:
        assert client.getresponse().status == 200
    until(lambda: server.stats().busy == 0)
    assert (server.stats().queued, server.stats().refused) == (0, 2)
    for client in clients:
        client.close()
    assert server.drain(3.0)
