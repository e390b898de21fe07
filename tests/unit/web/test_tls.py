"""TLS under real sockets: what clients may do before, in and after a handshake, and the files behind it."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.web.tls import TLS, Identity, Trust
from tests.parts.certificates import Authority, Pair
from tests.parts.web import SecureServing
from tests.waiting import until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Make = Callable[..., SecureServing]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def make(authority: Authority) -> Iterator[Make]:
    made: list[SecureServing] = []

    def start(**options: Any) -> SecureServing:
        made.append(SecureServing(authority, **options))
        return made[-1]

    yield start
    for each in made:
        each.application.go.set()
        assert each.server.drain(3.0)
        assert not [thread for thread in (*each.server._threads, *each.server._workers._threads) if thread.is_alive()]


class ByHand:
    """A client whose every byte of TLS a test may hold back."""

    def __init__(self, serving: SecureServing, wire: socket.socket) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = serving.context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.wire = wire

    def hello(self) -> bytes:
        """The first flight."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def do(self, work: Callable[[], Any]) -> Any:
        """Do it, with as much traffic as it takes, in small pieces."""
        while True:
            try:
                return work()
            except ssl.SSLWantReadError:
                for byte in self.outgoing.read():
                    self.wire.send(bytes([byte]))
                self.incoming.write(self.wire.recv(7))

    def get(self) -> None:
        self.do(self.tls.do_handshake)
        self.tls.write(GET)
        assert self.do(self.tls.read).startswith(b"HTTP/1.1 200 OK")


def hello(serving: SecureServing) -> bytes:
    with socket.socket() as unused:
        return ByHand(serving, unused).hello()


def files(pair: Pair, **changed: Any) -> Identity:
    given = {"certificate": str(pair.certificate), "key": str(pair.key), "minimum_version": "1.3", "ciphers": None}
    return Identity(section="api", **(given | changed))


def test_two_hundred_silent_clients_delay_nobody_and_go_by_the_limit(make: Make) -> None:
    serving = make(threads=2, header_timeout_s=1.5)
    silent = [serving.bare() for _ in range(200)]
    assert [serving.get() for _ in range(5)] == [(200, b"ok")] * 5
    assert {each.recv(1) for each in silent} == {b""}
    until(lambda: not serving.server._waiting)
    for each in silent:
        each.close()


def test_handshakes_that_stop_half_way_take_no_thread_and_go_by_the_limit(make: Make) -> None:
    serving = make(threads=1, header_timeout_s=1.0)
    first = hello(serving)
    stuck = [serving.bare(part) for part in (first[:1], first[:100], first[:-1], first) for _ in range(10)]
    assert serving.get() == (200, b"ok")
    for each in stuck:
        while each.recv(65536):
            pass
        each.close()


def test_a_handshake_that_drips_is_given_up_by_the_limit(make: Make) -> None:
    serving = make(threads=1, header_timeout_s=0.5)
    never, sent, first = threading.Event(), 0, hello(serving)
    with serving.bare() as slow, contextlib.suppress(ConnectionError):
        while sent < len(first):
            sent += slow.send(first[sent : sent + 1])
            never.wait(0.02)
    assert sent < len(first)
    assert serving.get() == (200, b"ok")


def test_a_handshake_in_small_pieces_succeeds(make: Make) -> None:
    serving = make()
    with serving.bare() as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ByHand(serving, wire).get()


def test_a_client_that_reads_late_gets_its_certificates(make: Make, authority: Authority) -> None:
    serving = make(pair=authority.issue("long", chain=100))
    serving.server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.settimeout(8)
        wire.connect(serving.server.address)
        late = ByHand(serving, wire)
        wire.send(late.hello())
        until(lambda: [each for each in serving.server._waiting.values() if getattr(each, "_tls", None)])
        assert serving.get() == (200, b"ok")
        late.get()


def test_a_handshake_waits_for_no_worker(make: Make) -> None:
    serving = make(threads=1)
    busy = serving.client()
    busy.request("GET", "/hold")
    serving.application.held.acquire(timeout=5)
    with ThreadPoolExecutor(8) as pool:
        for each in pool.map(lambda _: serving.raw(), range(30)):
            each.close()
    serving.application.go.set()
    assert busy.getresponse().status == 200
    busy.close()


def test_a_client_is_refused_in_tls_when_the_queue_is_full(make: Make) -> None:
    serving = make(threads=1, queued_requests=0)
    busy = serving.client()
    busy.request("GET", "/hold")
    serving.application.held.acquire(timeout=5)
    client = serving.client()
    client.request("GET", "/")
    answer = client.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    serving.application.go.set()
    assert busy.getresponse().read() == b"ok"
    busy.close()
    client.close()


@pytest.mark.parametrize("data", [GET, b"\x80\x2e\x01\x00\x02", b"\x00"])
def test_whoever_speaks_no_tls_is_told(make: Make, data: bytes) -> None:
    serving = make()
    with serving.bare(data) as client:
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"This port speaks HTTPS, and was sent something else.")


def test_an_old_version_of_tls_is_refused_with_an_alert(make: Make) -> None:
    serving = make(minimum="1.3")
    serving.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="protocol version"):
        serving.raw()


@pytest.mark.parametrize(("offered", "taken"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None)])
def test_http_1_1_is_what_alpn_agrees_on(make: Make, offered: list[str], taken: str | None) -> None:
    serving = make()
    serving.context.set_alpn_protocols(offered)
    with serving.raw(GET) as client:
        assert client.selected_alpn_protocol() == taken
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_a_request_that_tls_has_decrypted_already_is_answered(make: Make) -> None:
    """Two requests in one record, of which the first fills the reader's buffer to the last byte."""
    serving = make()
    first = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "
    first += b"a" * (8192 - len(first) - 4) + b"\r\n\r\n"
    with serving.raw(first + GET) as client:
        answers = b""
        while answers.count(b"\r\n\r\nok") < 2:
            answers += client.recv(1000)


def test_the_application_is_told_of_https(make: Make) -> None:
    assert make().get("/scheme") == (200, b"https")


def test_the_end_is_said_in_tls(make: Make) -> None:
    """Without close_notify a client cannot tell an answer's end from somebody who cut it short."""
    serving = make()
    wire = serving.bare()
    with serving.context.wrap_socket(wire, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.endswith(b"x" * 300_000)


def test_garbage_after_a_handshake_ends_the_connection_quietly(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    serving = make(threads=1)
    with serving.raw() as client:
        socket.socket.send(client, b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac"):
            client.recv(1000)
    assert serving.get() == (200, b"ok")
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_time_out_bounds_a_whole_sendall(authority: Authority) -> None:
    """A peer that goes on reading, slowly. What a server promises of each write stands on this."""
    server, client = TLS(files(authority.issue("server"))), TLS(Trust("test", str(authority.path)))
    near, far = socket.socketpair()
    stop = threading.Event()

    def read_slowly() -> None:
        with client.wrap(far, server_hostname="127.0.0.1") as slow:
            while not stop.wait(0.02) and slow.recv(16384):
                pass

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_slowly)
        with server.wrap(near) as sender:
            sender.do_handshake()
            sender.settimeout(0.5)
            with pytest.raises(TimeoutError):
                sender.sendall(b"x" * 20_000_000)
            stop.set()
        reading.result(8)


def subject(serving: SecureServing) -> str:
    with serving.raw() as client:
        names: Any = client.getpeercert()
    return str(names["subject"][0][0][1])


def test_a_certificate_is_read_again_in_place(
    make: Make, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    serving = make()
    before = serving.client()
    before.request("GET", "/")
    before.getresponse().read()
    assert subject(serving) == "server"
    new = authority.issue("renewed")
    new.certificate.replace(serving.pair.certificate)
    serving.identity.reload()
    assert "What TLS was given before stays in use: [test]cert_file" in caplog.text
    assert "key values mismatch" in caplog.text
    assert subject(serving) == "server"
    new.key.replace(serving.pair.key)
    serving.identity.reload()
    assert subject(serving) == "renewed"
    before.request("GET", "/")
    assert before.getresponse().read() == b"ok"
    before.close()


def test_a_key_may_be_in_the_certificate_s_file(authority: Authority) -> None:
    pair = authority.issue("server")
    pair.certificate.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    TLS(files(pair, key=None, ciphers="ECDHE+AESGCM"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"certificate": None}, r"TLS needs a certificate: set \[api\]cert_file\."),
        ({"certificate": "/none.crt"}, r"\[api\]cert_file /none\.crt cannot be read: No such file or directory\."),
        ({"certificate": "/"}, r"\[api\]cert_file / cannot be read: Is a directory\."),
        ({"key": "/none.key"}, r"\[api\]key_file /none\.key cannot be read: No such file"),
        ({"key": None}, r"cert_file .*server\.crt are no certificate and its key"),
        ({"certificate": "/dev/null"}, r"/dev/null and key_file .* are no certificate and its key in PEM format"),
        ({"ciphers": "NULL-NONSENSE"}, r"\[api\]server_tls_ciphers 'NULL-NONSENSE' names no cipher"),
    ],
)
def test_files_that_cannot_be_used_are_named(authority: Authority, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=says):
        TLS(files(authority.issue("server"), **changed))


def test_a_key_of_another_certificate_or_with_a_passphrase_is_refused(authority: Authority) -> None:
    pair, other = authority.issue("server"), authority.issue("other")
    with pytest.raises(
        errors.ConfigurationError, match=r"server\.crt and key_file .*other\.key.*: key values mismatch"
    ):
        TLS(files(pair, key=str(other.key)))
    locked = authority.issue("locked", passphrase=b"do-not-tell-7")
    with pytest.raises(errors.ConfigurationError, match="the key is encrypted"):
        TLS(files(locked))


def test_authorities_that_cannot_be_used_are_named() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"\[json_rpc\]cafile /none\.pem cannot be read"):
        TLS(Trust("json_rpc", "/none.pem"))
    with pytest.raises(errors.ConfigurationError, match=r"\[json_rpc\]cafile /dev/null holds no certificate"):
        TLS(Trust("json_rpc", "/dev/null"))
