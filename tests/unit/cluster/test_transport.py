"""JSON-RPC over real sockets: deadlines, kept connections, TLS, and the cap on calls that wait for a BMC."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ironic_lite import config, errors
from ironic_lite.clock import SystemClock
from ironic_lite.cluster import rpc
from ironic_lite.cluster.members import Members
from ironic_lite.cluster.transport import Application, Conductors, Credentials
from ironic_lite.cluster.waits import BMCWaits
from ironic_lite.db.conductors import Conductor
from ironic_lite.web.listeners import listen
from ironic_lite.web.server import Server
from ironic_lite.web.tls import TLS, Identity
from tests.parts.api import sqlite
from tests.parts.certificates import Authority, Pair

CREDENTIALS = Credentials("peer", "secret-7")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


class Serving:
    """A conductor's process whose BMCs answer when they are let."""

    def __init__(self) -> None:
        self.inside, self.go = threading.Semaphore(0), threading.Event()


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (repeat, ask_bmc):
        monkeypatch.setitem(rpc.METHODS, one.name, one)


@rpc.method
def repeat(_serving: Serving, text: str) -> str:
    return text


@rpc.bmc_method
def ask_bmc(serving: Serving) -> str:
    serving.inside.release()
    assert serving.go.wait(20)
    return "on"


def at(url: str) -> Conductor:
    return Conductor("here", url, "", {})


@pytest.fixture
def settings() -> Iterator[Callable[..., None]]:
    """Sets options of [json_rpc]."""
    changed: set[str] = set()
    config.load([], program="test", files=[])

    def override(**options: object) -> None:
        for name, value in options.items():
            config.CONF.set_override(name, value, "json_rpc")
            changed.add(name)

    yield override
    config.CONF.clear()
    for name in changed:
        config.CONF.clear_override(name, "json_rpc")


@pytest.fixture
def client(tmp_path: Path, settings: Callable[..., None]) -> Iterator[Callable[..., Conductors]]:
    database, made = sqlite(tmp_path), []

    def start(threads: int = 100, **options: object) -> Conductors:
        settings(**options)
        made.append(Conductors(Members(database, SystemClock()), CREDENTIALS, BMCWaits("This API", threads)))
        return made[-1]

    yield start
    for each in made:
        each.close()
    database.dispose()


@contextlib.contextmanager
def conductor(pair: Pair | None = None, threads: int = 4) -> Iterator[tuple[Conductor, Serving]]:
    identity = None if pair is None else TLS(Identity("json_rpc", str(pair.certificate), str(pair.key), "1.3", None))
    serving = Serving()
    app = Application(rpc.Dispatcher(serving, BMCWaits("Conductor here", threads)), CREDENTIALS)
    server = Server("test-rpc", listen("127.0.0.1", 0), app, threads=threads, identity=identity)
    server.start()
    yield at(f"{'https' if pair else 'http'}://127.0.0.1:{server.address[1]}"), serving
    serving.go.set()
    assert server.drain(0.1)  # clients that stay idle are not waited for


@contextlib.contextmanager
def peer(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that treats its first client as `talk` says; where it listens."""
    done = threading.Event()

    def serve() -> None:
        with listener.accept()[0] as taken, contextlib.suppress(OSError):
            talk(taken, done)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(serve)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        done.set()


def drip(prefix: bytes, piece: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Read what comes at first, answer with the prefix, and then with a piece now and then, for ever."""

    def talk(taken: socket.socket, done: threading.Event) -> None:
        taken.recv(65536)
        taken.sendall(prefix)
        while not done.wait(0.05):
            taken.sendall(piece)

    return talk


def read_nothing(taken: socket.socket, done: threading.Event) -> None:
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    done.wait(20)


@pytest.mark.parametrize(
    ("talk", "size"),
    [
        (drip(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), 1),
        (drip(HEAD, b"x"), 1),
        (drip(b"", b""), 1),
        (read_nothing, 30_000_000),
    ],
    ids=["head", "body", "silence", "sending"],
)
def test_a_call_ends_by_its_time_out_however_it_drips(client: Callable[..., Conductors], talk, size) -> None:
    calls = client(timeout=1)
    with peer(talk) as address, pytest.raises(errors.ConductorUnreachable, match="no answer in time"):
        calls.call(at(f"http://{address}"), repeat, "x" * size)


def test_a_handshake_that_drips_counts_too(client: Callable[..., Conductors]) -> None:
    calls = client(timeout=1)
    with (
        peer(drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0", b"\x03")) as address,
        pytest.raises(errors.ConductorUnreachable, match="no answer in time"),
    ):
        calls.call(at(f"https://{address}"), repeat, "x")


def test_a_connection_is_kept_and_one_that_the_peer_closed_is_not_used(client: Callable[..., Conductors]) -> None:
    calls = client()
    with conductor() as (one, _):
        assert [calls.call(one, repeat, "x" * size) for size in (1, 300_000)] == ["x", "x" * 300_000]
        [kept] = calls._idle[one.rpc_url]
        calls.call(one, repeat, "y")
        assert list(calls._idle[one.rpc_url]) == [kept]
    assert not kept.is_open()
    with pytest.raises(errors.ConductorUnreachable, match="Connection refused"):
        calls.call(one, repeat, "x")
    assert not calls._idle[one.rpc_url]


def test_an_answer_that_closes_its_connection_arrives_whole(client: Callable[..., Conductors]) -> None:
    body = b'{"jsonrpc":"2.0","id":"-","result":"whole"}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    calls = client()
    with peer(drip(head + body, b"")) as address:
        assert calls.call(at(f"http://{address}"), repeat, "x") == "whole"
        assert not calls._idle[f"http://{address}"]


def test_calls_go_over_tls_on_kept_connections(client: Callable[..., Conductors], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    calls = client(cafile=str(authority.path))
    with conductor(authority.issue("conductor")) as (one, _):
        assert [calls.call(one, repeat, "x" * size) for size in (1, 300_000)] == ["x", "x" * 300_000]
        assert len(calls._idle[one.rpc_url]) == 1


@pytest.mark.parametrize(
    ("names", "trusted", "says"),
    [
        (["other.example.org"], "test authority", "certificate is not trusted .IP address mismatch"),
        (["127.0.0.1"], "somebody else", "certificate is not trusted .unable to get local issuer certificate"),
        (["127.0.0.1"], None, "certificate is not trusted .unable to get local issuer certificate"),
    ],
)
def test_credentials_go_to_nobody_who_cannot_prove_who_he_is(
    client: Callable[..., Conductors], tmp_path: Path, names: list[str], trusted: str | None, says: str
) -> None:
    ours = Authority(tmp_path)
    cafile = ours.path if trusted == "test authority" else trusted and Authority(tmp_path / "theirs", trusted).path
    calls = client(cafile=cafile and str(cafile))
    with (
        conductor(ours.issue("conductor", *names)) as (one, _),
        pytest.raises(errors.ConductorUnreachable, match=says),
    ):
        calls.call(one, repeat, "x")


def test_authorities_are_read_again_in_place(client: Callable[..., Conductors], tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    calls = client(cafile=str(old.path))
    with conductor(new.issue("conductor")) as (one, _):
        with pytest.raises(errors.ConductorUnreachable):
            calls.call(one, repeat, "x")
        new.path.replace(old.path)
        calls.reload()
        assert calls.call(one, repeat, "x") == "x"


def test_authorities_that_cannot_be_read_are_told_at_start(client: Callable[..., Conductors]) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"\[json_rpc\]cafile /none\.pem cannot be read"):
        client(cafile="/none.pem")


@pytest.mark.parametrize(
    ("api_threads", "conductor_threads", "says"),
    [
        (4, 100, r"^This API lets 2 requests wait for a BMC at a time, and all of them do\.$"),
        (100, 4, r"^Conductor here lets 2 requests wait for a BMC at a time, and all of them do\.$"),
    ],
)
def test_the_call_over_the_cap_is_refused_and_others_go_on(
    client: Callable[..., Conductors], api_threads: int, conductor_threads: int, says: str
) -> None:
    calls = client(threads=api_threads)
    with conductor(threads=conductor_threads) as (one, serving), ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(calls.call, one, ask_bmc) for _ in range(2)]
        for _ in waiting:
            assert serving.inside.acquire(timeout=20)
        for _ in range(10):
            with pytest.raises(errors.Unavailable, match=says) as refused:
                calls.call(one, ask_bmc)
            assert type(refused.value) is errors.Unavailable
            assert refused.value.retry_after_s
            assert calls.call(one, repeat, "x") == "x"
        serving.go.set()
        assert [each.result(20) for each in waiting] == ["on", "on"]
        assert calls.call(one, ask_bmc) == "on"


def test_whoever_is_not_json_rpc_is_told(client: Callable[..., Conductors], tmp_path: Path) -> None:
    """An http URL of a conductor that speaks HTTPS."""
    calls = client()
    with (
        conductor(Authority(tmp_path).issue("conductor")) as (one, _),
        pytest.raises(errors.ConductorUnreachable, match="JSON-RPC answered 400 Bad Request") as told,
    ):
        calls.call(at(one.rpc_url.replace("https", "http")), repeat, "x")
    assert isinstance(told.value.__cause__, http.client.HTTPException)
