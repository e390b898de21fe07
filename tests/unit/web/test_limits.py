import io
import socket
from typing import Any

import pytest

from ironic_lite import errors
from ironic_lite.clock import ManualClock
from ironic_lite.web.limits import check_depth, read_body
from ironic_lite.web.streams import ChunkedBody, Incoming, Reader


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b"", 0),
        (b"17", 0),
        (b"{}", 1),
        (b'{"a": [1, {"b": []}]}', 4),
        (b"[],[],[],[]", 1),
        (nested(100), 100),
        (b'{"a":' * 50 + b"1" + b"}" * 50, 50),
        (b'"[[[[["', 0),
        (rb'["\"[[[[", "\\", [1]]', 2),
        (rb'["\\\"[[[[", "\\\\", [1]]', 2),
        (b'["never closed [[[[', 1),
        (b"[[[[", 4),
        (b"]]]][", 1),
        ('["\u00e9[[[", {}]'.encode(), 2),
    ],
)
def test_depth_is_counted_outside_of_strings(body: bytes, depth: int) -> None:
    check_depth(body, depth)
    if depth > 0 and not body.startswith(b"]"):
        with pytest.raises(errors.Invalid, match=f"deeper than the {depth - 1} levels"):
            check_depth(body, depth - 1)


def test_a_megabyte_of_brackets_quotes_and_escapes_is_judged() -> None:
    with pytest.raises(errors.Invalid):
        check_depth(nested(1 << 19), 64)
    check_depth(b"[" + b'"[",' * (1 << 18) + b"1]", 1)
    check_depth(b'["' + rb"\"" * (1 << 19) + b'[[[["]', 1)


def asked(data: bytes, length: object = None) -> dict[str, Any]:
    """A WSGI request; without a length it is a chunked one."""
    told = {"wsgi.input_terminated": True} if length is None else {"CONTENT_LENGTH": str(length)}
    return {"wsgi.input": io.BytesIO(data)} | told


def test_a_body_within_its_limit_is_read() -> None:
    assert read_body(asked(b"abcd", 3), limit_kib=1) == b"abc"
    assert read_body(asked(b"x" * 1024), limit_kib=1) == b"x" * 1024
    assert read_body({"wsgi.input": io.BytesIO(b"")}, limit_kib=1) == b""


def test_a_declared_body_over_the_limit_is_not_read() -> None:
    environ = asked(b"x" * 2000, 2000)
    with pytest.raises(errors.BodyTooLarge, match="1 KiB"):
        read_body(environ, limit_kib=1)
    assert environ["wsgi.input"].tell() == 0


def test_an_undeclared_body_is_read_to_the_limit_and_no_further() -> None:
    environ = asked(b"x" * 5000)
    with pytest.raises(errors.BodyTooLarge):
        read_body(environ, limit_kib=1)
    assert environ["wsgi.input"].tell() == 1025


def test_a_body_cut_short_says_by_how_much() -> None:
    with pytest.raises(errors.Invalid, match="ended after 2 of its 4 bytes"):
        read_body(asked(b"ab", 4), limit_kib=1)


@pytest.mark.parametrize("length", [-1, "five", "+5", "1_0"])
def test_a_length_that_is_no_number_is_refused(length: object) -> None:
    with pytest.raises(errors.Invalid, match="whole number"):
        read_body(asked(b"ab", length), limit_kib=1)


class Sent(Incoming):
    """What a client has sent, and then nothing."""

    def __init__(self, data: bytes) -> None:
        self.rest = io.BytesIO(data)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self.rest.readinto(buffer)


def chunked(data: bytes, limit_kib: int = 1) -> io.BufferedReader:
    return io.BufferedReader(ChunkedBody(Reader(Sent(data)), limit_kib))


def test_chunks_are_joined_and_end_where_they_end() -> None:
    source = Reader(Sent(b"3;ext=1\r\nabc\r\n00a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET /"))
    assert io.BufferedReader(ChunkedBody(source, 1)).read() == b"abc0123456789"
    assert source.read(5) == b"GET /"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"zz\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab",
        b"3" + b" " * 300 + b"\r\nabc\r\n0\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 40 + b"\r\n",
    ],
)
def test_chunks_that_make_no_sense_are_refused(data: bytes) -> None:
    with pytest.raises(errors.Invalid):
        chunked(data).read()


def test_chunks_over_the_limit_are_refused_before_they_are_read() -> None:
    with pytest.raises(errors.BodyTooLarge):
        chunked(b"400\r\n" + b"x" * 1024 + b"\r\n1\r\n").read()
    assert len(chunked(b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n").read()) == 1024


def test_reading_past_the_deadline_times_out_without_touching_the_socket() -> None:
    here, there = socket.socketpair()
    clock = ManualClock()
    incoming = Incoming(here, clock)
    incoming.allow(5.0)
    there.sendall(b"ab")
    reader = Reader(incoming)
    assert reader.peek(1) == b"ab"
    assert reader.has_data()
    assert reader.read(2) == b"ab"
    assert not reader.has_data()
    there.sendall(b"cd")
    clock.advance(5.0)
    with pytest.raises(TimeoutError, match="timed out"):
        reader.read(2)
    here.close()
    there.close()
