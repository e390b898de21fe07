"""The web server under real sockets: what a broken or hostile client may do, and what a drain must not do."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.clock import SystemClock
from ironic_lite.web.listeners import listen
from ironic_lite.web.protocol import USED, Request, check_cheroot
from ironic_lite.web.server import Server
from tests.parts.certificates import Authority
from tests.parts.web import Application, SecureServing, Serving
from tests.waiting import until

CLOCK = SystemClock()


Make = Callable[..., Serving]

# For what TLS could change. A test without this speaks plain HTTP.
OVER_TLS_TOO = pytest.mark.parametrize("make", ["http", "https"], indirect=True)


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[Serving] = []
    if getattr(request, "param", "http") == "https":
        kind: Make = partial(SecureServing, Authority(tmp_path))
    else:
        kind = Serving

    def start(**options: Any) -> Serving:
        made.append(kind(**options))
        return made[-1]

    yield start
    for each in made:
        each.application.go.set()
        if not each.server._stopped:
            assert each.server.drain(3.0)
        assert not [thread for thread in (*each.server._threads, *each.server._workers._threads) if thread.is_alive()]


@OVER_TLS_TOO
def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(make: Make) -> None:
    serving = make()
    client = serving.client()
    for _ in range(3):
        client.request("POST", "/read", b"y" * 30_000)
        assert client.getresponse().read() == b"y" * 30_000
    sock = client.sock
    client.request("GET", "/big")
    assert len(client.getresponse().read()) == 300_000
    assert client.sock is sock
    client.close()
    answers = serving.exchange(
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /big HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.endswith(b"ok")


@OVER_TLS_TOO
def test_chunked_bodies_are_read_and_end_their_connection(make: Make) -> None:
    serving = make()
    client = serving.client()
    client.request(
        "POST", "/read", iter([b"abc", b"def"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    answer = client.getresponse()
    assert answer.read() == b"abcdef"
    assert answer.headers["Connection"] == "close"
    client.close()


def test_silent_clients_take_no_thread(make: Make) -> None:
    serving = make(threads=2)
    silent = [serving.raw() for _ in range(100)]
    assert serving.get()[0] == 200
    assert len(serving.server._waiting) >= 100
    for each in silent:
        each.close()
    until(lambda: not serving.server._waiting)


@OVER_TLS_TOO
def test_slow_heads_end_by_the_header_limit_however_they_drip(make: Make) -> None:
    serving = make(threads=2, header_timeout_s=0.5)
    slow = [serving.raw(b"GET / HTTP/1.1\r\n") for _ in range(2)]
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.1):
            for each in slow:
                try:
                    each.sendall(b"X: y\r\n")
                except OSError:
                    return

    with ThreadPoolExecutor(1) as pool:
        pool.submit(drip)
        assert serving.get(timeout_s=4.0) == (200, b"ok")
        stop.set()
    assert slow[0].recv(1000).startswith(b"HTTP/1.1 408 ")
    for each in slow:
        each.close()


@OVER_TLS_TOO
def test_slow_bodies_end_by_the_body_limit(make: Make) -> None:
    serving = make(threads=1, body_timeout_s=0.3)
    with serving.raw(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc") as slow:
        assert slow.recv(1000).startswith(b"HTTP/1.1 40")
    assert serving.get() == (200, b"ok")


@OVER_TLS_TOO
def test_an_idle_connection_is_given_up_and_a_new_silent_one_too(make: Make) -> None:
    serving = make(keepalive_timeout_s=0.2, header_timeout_s=0.2)
    client = serving.client()
    client.request("GET", "/")
    client.getresponse().read()
    with serving.raw() as silent:
        assert silent.recv(1) == b""
        assert client.sock.recv(1) == b""
    client.close()


@OVER_TLS_TOO
def test_a_client_that_does_not_read_loses_its_connection_not_our_thread(make: Make) -> None:
    serving = make(threads=1, answer_timeout_s=0.3)
    with serving.raw() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
        assert serving.get() == (200, b"ok")


@OVER_TLS_TOO
def test_the_request_after_a_full_queue_is_refused_at_once(make: Make) -> None:
    serving = make(threads=1, queued_requests=2)
    held = [serving.client() for _ in range(3)]
    for each in held:
        each.request("GET", "/hold")
    serving.application.held.acquire(timeout=5)
    until(lambda: len(serving.server._at_work) == 3)
    client = serving.client()
    client.request("POST", "/", b"z" * 50_000)
    answer = client.getresponse()
    assert (answer.status, answer.headers["Retry-After"], answer.headers["Connection"]) == (503, "2", "close")
    assert b"as many requests" in answer.read()
    serving.application.go.set()
    assert [each.getresponse().status for each in held] == [200, 200, 200]
    for each in (*held, client):
        each.close()


def test_when_there_are_too_many_connections_the_most_silent_one_goes(make: Make) -> None:
    serving = make(connections=3)
    silent = [serving.raw()]
    until(lambda: len(serving.server._waiting) == 1)
    silent += [serving.raw() for _ in range(2)]
    until(lambda: len(serving.server._waiting) == 3)
    assert serving.get() == (200, b"ok")
    assert silent[0].recv(1) == b""
    for each in silent:
        each.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", b"413"),
        (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"b" * 3_000_000, b"413"),
        (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + b"b" * 40_000, b"413"),
        (b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + b"b" * 0xFFFFF, b"413"),
        (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nabcde", b"400"),
        (b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\nabcde", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n", b"500"),
    ],
    ids=lambda value: value.decode()[:40] if isinstance(value, bytes) else None,
)
def test_what_is_too_long_or_ambiguous_is_answered_and_closed(make: Make, request_bytes: bytes, status: bytes) -> None:
    serving = make(threads=1)
    answer = serving.exchange(request_bytes)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:80]
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert serving.get() == (200, b"ok")


def test_header_names_with_underscores_cannot_pass_for_others(make: Make) -> None:
    serving = make()
    answer = serving.exchange(b"GET /roles HTTP/1.1\r\nX_Roles: admin\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"none")


def test_an_application_that_exits_ends_its_connection_only(make: Make) -> None:
    serving = make(threads=1)
    with serving.raw(b"GET /exit HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        assert client.recv(100) == b""
    assert serving.get() == (200, b"ok")


@OVER_TLS_TOO
def test_drain_ends_running_queued_and_waiting_requests_without_an_error(make: Make) -> None:
    serving = make(threads=2)
    idle = serving.client()
    idle.request("GET", "/")
    idle.getresponse().read()
    held = [serving.client() for _ in range(5)]
    for each in held:
        each.request("GET", "/hold")
    until(lambda: len(serving.server._at_work) == 5)
    with ThreadPoolExecutor(1) as pool:
        drained = pool.submit(serving.server.drain, 8.0)
        until(lambda: serving.server._listener.fileno() < 0)
        with pytest.raises(ConnectionRefusedError):
            serving.raw()
        idle.request("GET", "/")
        serving.application.go.set()
        answers = [each.getresponse() for each in (*held, idle)]
        assert [(answer.status, answer.headers["Connection"]) for answer in answers] == [(200, "close")] * 6
        assert drained.result(8)
    for each in (*held, idle):
        each.close()


def test_a_client_that_stays_idle_holds_up_a_drain_for_a_moment_only(make: Make) -> None:
    serving = make()
    idle = serving.client()
    idle.request("GET", "/")
    idle.getresponse().read()
    began = CLOCK.monotonic()
    assert serving.server.drain(60.0)
    assert CLOCK.monotonic() - began < 20  # its keep-alive would last 75 s
    idle.close()


def test_drain_serves_what_the_kernel_has_accepted() -> None:
    server = Server("test", listen("127.0.0.1", 0), Application(), threads=2)
    clients = [socket.create_connection(server.address, timeout=8) for _ in range(150)]
    for each in clients:
        each.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    server.start()
    assert server.drain(8.0)
    for each in clients:
        assert each.recv(1000).startswith(b"HTTP/1.1 200 OK")
        each.close()


def test_drain_gives_up_a_request_past_its_grace(make: Make) -> None:
    serving = make(threads=1)
    client = serving.client()
    client.request("GET", "/hold")
    serving.application.held.acquire(timeout=5)
    before = CLOCK.monotonic()
    assert not serving.server.drain(0.2)
    assert CLOCK.monotonic() - before < 6
    with pytest.raises(http.client.RemoteDisconnected):
        client.getresponse()
    client.close()
    serving.application.go.set()
    until(lambda: not any(thread.is_alive() for thread in serving.server._workers._threads))


@OVER_TLS_TOO
def test_drain_under_load_loses_no_request(make: Make) -> None:
    """Two servers share a listener; one of them drains under its clients."""
    first = make()
    second = Server("test", first.server._listener.dup(), first.application, threads=4, identity=first.server._identity)
    second.start()
    stop = threading.Event()

    def ask() -> int:
        client, answered = first.client(), 0
        while not stop.is_set():
            client.request("GET", "/")
            assert client.getresponse().read() == b"ok"
            answered += 1
        client.close()
        return answered

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(ask) for _ in range(6)]
        until(lambda: len(first.server._waiting) + len(first.server._at_work) + len(second._waiting) > 0)
        finished = first.server.drain(5.0)
        stop.set()
        assert all(client.result(10) > 0 for client in clients)
        assert finished
    assert second.drain(5.0)


def test_a_cheroot_that_does_not_fit_is_named() -> None:
    check_cheroot()
    with pytest.raises(errors.ConfigurationError, match=r"cheroot 11\..*Request.gone_in_the_next_version"):
        check_cheroot(used=(*USED, (Request, ("gone_in_the_next_version",))))
    with pytest.raises(errors.ConfigurationError, match=r"cheroot 12\.0 cannot be used"):
        check_cheroot("12.0")
