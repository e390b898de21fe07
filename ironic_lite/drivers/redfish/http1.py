"""HTTP/1.1 as bytes: a request written, an answer read. Pure: it touches no socket (RFC 9112).

BMCs' servers are old and odd: lines may end in a bare newline, a body may come in chunks, by its length or until the
connection ends. Whatever could make two readers disagree on where an answer ends is refused.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import zlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

import msgspec

HEAD_LIMIT_KIB: Final = 32
LINES_LIMIT: Final = 128
BODY_LIMIT_KIB: Final = 8192
CHUNK_LINE_LIMIT_BYTES: Final = 256
INTERIM_LIMIT: Final = 8  # 1xx answers before the one that counts

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?")
_NUMBER: Final = re.compile(r"\d{1,12}")
_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?")
_UNSAFE: Final = re.compile(r"[^!-~]")
_SAFE: Final = "!#$%&'()*+,/:;=?@[]~"
_GZIP: Final = zlib.MAX_WBITS | 16

Steps = Generator[None, None, Any]


class BrokenAnswer(Exception):
    """What the BMC sent is no answer to our request; the text says why, in words that follow "failed:"."""


class HungUp(ConnectionError):
    """The BMC closed the connection without a byte of an answer."""


class Headers(Mapping[str, str]):
    """An answer's headers, by name in any case; several of one name are joined by commas."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Mapping[str, str]) -> None:
        self._lines = lines

    def __getitem__(self, name: str) -> str:
        return self._lines[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


class Response(msgspec.Struct, frozen=True):
    """An answer, with what sushy reads of it; `closes` when its connection is not to be used again."""

    status_code: int
    headers: Headers
    content: bytes
    closes: bool = False

    def json(self) -> Any:
        """The body decoded. Raises `ValueError` for anything but JSON."""
        return json.loads(self.content)


def request(method: str, path: str, host: str, lines: str, body: bytes | None) -> bytes:
    """A request's bytes. `lines` are further headers, each with its line end."""
    if _UNSAFE.search(path):
        path = urllib.parse.quote(path, safe=_SAFE)
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}{length}\r\n".encode("latin-1")
    return head + body if body else head


class Reader:
    """Reads one answer, in whatever pieces it comes."""

    __slots__ = ("_begun", "_buffer", "_ended", "_steps")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun = self._ended = False
        self._steps = self._answer()

    def feed(self, data: bytes) -> Response | None:
        """Take the next piece, or b"" for the connection's end. Returns the answer once it is whole.

        Raises `BrokenAnswer`, `HungUp`.
        """
        self._buffer += data
        self._begun = self._begun or bool(data)
        self._ended = not data
        try:
            next(self._steps)
        except StopIteration as end:
            answer: Response = end.value
            return answer
        return None

    def _answer(self) -> Steps:
        for _ in range(INTERIM_LIMIT):
            minor, status, lines = _parsed((yield from self._head()))
            if status >= 200:
                break
        else:
            raise BrokenAnswer("it sent interim answers without an end")
        content, known_end = yield from self._body(status, lines)
        wishes = lines.get("connection", "").lower()
        closes = "close" in wishes or (minor == "0" and "keep-alive" not in wishes)
        closes = closes or not known_end or bool(self._buffer)  # what is left in the buffer, nobody asked for
        return Response(status, Headers(lines), _decoded(content, lines), closes)

    def _head(self) -> Steps:
        seen = 0
        while (end := _HEAD_END.search(self._buffer, max(0, seen - 3), HEAD_LIMIT_KIB * 1024)) is None:
            seen = len(self._buffer)
            if seen >= HEAD_LIMIT_KIB * 1024:
                raise BrokenAnswer(f"the head of its answer is over the limit of {HEAD_LIMIT_KIB} KiB")
            yield from self._more()
        head = self._buffer[: end.start()].decode("latin-1")
        del self._buffer[: end.end()]
        return head

    def _body(self, status: int, lines: dict[str, str]) -> Steps:
        """The body, and whether its end was marked by more than the connection's."""
        if status in (204, 304):
            return b"", True
        if "transfer-encoding" in lines:
            coding = lines["transfer-encoding"].strip().lower()
            if coding == "chunked":
                return (yield from self._chunks()), "content-length" not in lines
            if coding != "identity":
                raise BrokenAnswer(f"it answered in the transfer coding {coding[:40]!r}")
        length = _length(lines.get("content-length"))
        if length is not None:
            return (yield from self._take(length)), True
        while not self._ended:
            _check_size(len(self._buffer))
            yield
        return bytes(self._buffer), False

    def _chunks(self) -> Steps:
        body = bytearray()
        while True:
            line = yield from self._line()
            size = _CHUNK.fullmatch(line)
            if size is None:
                raise BrokenAnswer("the chunks of its answer have no size")
            if int(size[1], 16) == 0:
                break
            _check_size(len(body) + int(size[1], 16))
            body += yield from self._take(int(size[1], 16))
            if (yield from self._line()):
                raise BrokenAnswer("a chunk of its answer is longer than it says")
        for _ in range(LINES_LIMIT):
            if not (yield from self._line()):
                return bytes(body)
        raise BrokenAnswer(f"its answer has over {LINES_LIMIT} trailers")

    def _take(self, size: int) -> Steps:
        while len(self._buffer) < size:
            yield from self._more()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _line(self) -> Steps:
        while (end := self._buffer.find(b"\n", 0, CHUNK_LINE_LIMIT_BYTES)) < 0:
            if len(self._buffer) >= CHUNK_LINE_LIMIT_BYTES:
                raise BrokenAnswer("the chunks of its answer have no size")
            yield from self._more()
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    def _more(self) -> Steps:
        if self._ended:
            if not self._begun:
                raise HungUp
            raise BrokenAnswer("it closed the connection in the middle of its answer")
        yield


def _parsed(head: str) -> tuple[str, int, dict[str, str]]:
    first, *rest = head.replace("\r\n", "\n").split("\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise BrokenAnswer("its answer is not HTTP")
    if len(rest) > LINES_LIMIT:
        raise BrokenAnswer(f"its answer has over {LINES_LIMIT} headers")
    lines: dict[str, str] = {}
    name = ""
    for line in rest:
        before, colon, value = line.partition(":")
        if line[0] in " \t" and name:  # a folded line, as old servers write them
            lines[name] = f"{lines[name]} {line.strip()}"
        elif not colon:
            raise BrokenAnswer("a header of its answer is not HTTP")
        else:
            name, value = before.strip().lower(), value.strip()
            lines[name] = f"{lines[name]}, {value}" if name in lines else value
    if status[2] == "101":
        raise BrokenAnswer("it switched to another protocol")
    return status[1], int(status[2]), lines


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    value, *more = text.split(",")
    value = value.strip()
    if not _NUMBER.fullmatch(value) or any(other.strip() != value for other in more):
        raise BrokenAnswer("the length of its answer is no number")
    _check_size(int(value))
    return int(value)


def _check_size(size: int) -> None:
    if size > BODY_LIMIT_KIB * 1024:
        raise BrokenAnswer(f"its answer is over the limit of {BODY_LIMIT_KIB} KiB")


def _decoded(content: bytes, lines: dict[str, str]) -> bytes:
    """The body as it was meant. We ask for none but the plain one; some BMCs compress all the same."""
    if "content-encoding" not in lines or not content:
        return content
    coding = lines["content-encoding"].strip().lower()
    if coding == "identity":
        return content
    if coding not in ("gzip", "x-gzip"):
        raise BrokenAnswer(f"it answered in the coding {coding[:40]!r}, which was not asked for")
    try:
        plain = zlib.decompressobj(_GZIP).decompress(content, BODY_LIMIT_KIB * 1024 + 1)
    except zlib.error as exc:
        raise BrokenAnswer("its compressed answer cannot be read") from exc
    _check_size(len(plain))
    return plain
