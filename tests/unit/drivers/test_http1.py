"""An answer is read alike in whatever pieces it comes; what is none is refused, and nothing grows without bound."""

from __future__ import annotations

import zlib

import pytest

from ironic_lite.drivers.redfish import http1
from ironic_lite.drivers.redfish.http1 import BrokenAnswer, HungUp, Reader, Response

BODY = b'{"PowerState": "On"}'
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 20\r\n"


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


PACKED = gzipped(BODY)
CHUNKS = b"6\r\n" + BODY[:6] + b"\r\n0e;why=not\r\n" + BODY[6:] + b"\r\n0\r\n"

# Name -> bytes, and whether the connection may be used again.
ANSWERS = {
    "length": (OK + LENGTH + b"\r\n" + BODY, True),
    "bare newlines": (b"HTTP/1.1 200 OK\nContent-Length: 20\n\n" + BODY, True),
    "no reason": (b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n" + BODY, True),
    "length twice, the same": (OK + LENGTH + LENGTH + b"\r\n" + BODY, True),
    "folded header": (OK + b"X-Long: one\r\n  two\r\n" + LENGTH + b"\r\n" + BODY, True),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + b"\r\n", True),
    "chunked with trailers": (OK + b"transfer-encoding: CHUNKED\r\n\r\n" + CHUNKS + b"X-Sum: 1\r\n\r\n", True),
    "chunked with a length": (OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + b"\r\n", False),
    "interim answers first": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + LENGTH
                              + b"\r\n" + BODY, True),
    "connection close": (OK + LENGTH + b"Connection: Close\r\n\r\n" + BODY, False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + BODY, False),
    "HTTP/1.0 kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + LENGTH + b"\r\n" + BODY, True),
    "gzip unasked": (OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED, True),
}  # fmt: skip

BROKEN = {
    "no HTTP": (b"220 ftp ready\r\n\r\n", "not HTTP"),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", "not HTTP"),
    "TLS alert": (b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", "not HTTP"),
    "status": (b"HTTP/1.1 020 OK\r\n\r\n", "not HTTP"),
    "header": (OK + b"no colon here\r\n\r\n", "header of its answer"),
    "switches": (b"HTTP/1.1 101 Switching\r\n\r\n", "another protocol"),
    "interim without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "interim answers without an end"),
    "lengths differ": (OK + LENGTH + b"Content-Length: 21\r\n\r\n", "length of its answer is no number"),
    "length negative": (OK + b"Content-Length: -1\r\n\r\n", "length of its answer is no number"),
    "length too much": (OK + b"Content-Length: 999999999\r\n\r\n", "over the limit of 8192 KiB"),
    "coding": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding 'gzip, chunked'"),
    "content coding": (OK + LENGTH + b"Content-Encoding: br\r\n\r\n" + BODY, "coding 'br', which was not asked for"),
    "gzip that is none": (OK + LENGTH + b"Content-Encoding: gzip\r\n\r\n" + BODY, "cannot be read"),
    "chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunks of its answer have no size"),
    "chunk size long": (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 300, "chunks of its answer have no size"),
    "chunk too big": (OK + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", "over the limit of 8192 KiB"),
    "chunk longer": (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", "longer than it says"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: 1\r\n" * 200, "over 128 trailers"),
    "head too big": (OK + b"X: " + b"x" * 40000, "head of its answer is over the limit"),
    "headers too many": (OK + b"X: 1\r\n" * 200 + b"\r\n", "over 128 headers"),
}


def fed(*pieces: bytes) -> Response | None:
    reader = Reader()
    for piece in pieces:
        if (answer := reader.feed(piece)) is not None:
            return answer
    return None


@pytest.mark.parametrize("name", list(ANSWERS))
def test_an_answer_is_read_alike_in_any_two_pieces(name: str):
    data, kept = ANSWERS[name]
    for cut in range(1, len(data)):
        answer = fed(data[:cut], data[cut:])
        assert answer is not None
        assert (answer.status_code, answer.json(), answer.closes) == (200, {"PowerState": "On"}, not kept), cut


@pytest.mark.parametrize("name", list(ANSWERS))
def test_an_answer_is_read_byte_by_byte(name: str):
    data, _ = ANSWERS[name]
    reader = Reader()
    for index in range(len(data) - 1):
        assert reader.feed(data[index : index + 1]) is None
    answer = reader.feed(data[-1:])
    assert answer is not None
    assert answer.content == BODY


@pytest.mark.parametrize("name", [*BROKEN])
def test_what_is_no_answer_is_refused(name: str):
    data, why = BROKEN[name]
    with pytest.raises(BrokenAnswer, match=why):
        fed(data)
    with pytest.raises(BrokenAnswer, match=why):
        fed(*(data[index : index + 1] for index in range(len(data))))


def test_without_a_length_the_body_ends_with_the_connection():
    answer = fed(OK + b"\r\n", BODY[:5], BODY[5:], b"")
    assert answer is not None
    assert (answer.content, answer.closes) == (BODY, True)


def test_without_a_length_the_body_is_bounded():
    with pytest.raises(BrokenAnswer, match="over the limit of 8192 KiB"):
        fed(OK + b"\r\n", *([b"x" * 1024 * 1024] * 9))


def test_a_gzip_bomb_is_bounded():
    packed = gzipped(b"0" * 64 * 1024 * 1024)
    with pytest.raises(BrokenAnswer, match="over the limit of 8192 KiB"):
        fed(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed), packed)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int):
    answer = fed(b"HTTP/1.1 %d X\r\nContent-Length: 20\r\n\r\n" % status)
    assert answer is not None
    assert (answer.content, answer.closes) == (b"", False)


def test_what_nobody_asked_for_ends_the_connection():
    answer = fed(OK + LENGTH + b"\r\n" + BODY + b"HTTP/1.1 200 OK\r\n")
    assert answer is not None
    assert answer.closes


def test_a_connection_that_ends_before_the_answer_hung_up():
    with pytest.raises(HungUp):
        fed(b"")


@pytest.mark.parametrize("data", [b"H", OK, OK + LENGTH + b"\r\n", OK + LENGTH + b"\r\n{"])
def test_a_connection_that_ends_within_the_answer_is_told(data: bytes):
    with pytest.raises(BrokenAnswer, match="in the middle of its answer"):
        fed(data, b"")


def test_headers_are_found_in_any_case():
    answer = fed(OK + b"x-auth-TOKEN: abc\r\nAllow: GET\r\nallow: HEAD\r\nContent-Length: 0\r\n\r\n")
    assert answer is not None
    assert answer.headers["X-Auth-Token"] == "abc"
    assert answer.headers.get("ALLOW") == "GET, HEAD"
    assert "location" not in answer.headers


def test_a_path_cannot_smuggle_a_header():
    data = http1.request("GET", "/a b\r\nX-Evil: 1/é?x=%20", "host", "", None)
    assert data == b"GET /a%20b%0D%0AX-Evil:%201/%C3%A9?x=%20 HTTP/1.1\r\nHost: host\r\n\r\n"


def test_a_request_with_a_body_says_how_long_it_is():
    assert http1.request("POST", "/x", "h", "A: 1\r\n", b"{}") == (
        b"POST /x HTTP/1.1\r\nHost: h\r\nA: 1\r\nContent-Length: 2\r\n\r\n{}"
    )
