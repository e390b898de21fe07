"""HTTP/1.1 as a BMC speaks it: bytes to requests, answers to bytes. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

HEAD_KIB: Final = 16
BODY_KIB: Final = 64

_TYPE: Final = "application/json; charset=utf-8"
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class BrokenRequestError(Exception):
    """Bytes that are no request, or one over a limit: `status` is the answer, and the connection ends with it."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class Request:
    """One whole request. Header names are in lower case; the path has neither query nor trailing slash."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    version: str = "HTTP/1.1"
    query: str = ""
    slash: bool = False  # whether the path had a trailing one

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants the connection to stay."""
        wish = self.headers.get("connection", "").lower()
        return wish == "keep-alive" if self.version == "HTTP/1.0" else wish != "close"

    def document(self) -> Any:
        """The body as JSON. Raises `ValueError` when it is none."""
        return json.loads(self.body)


@dataclass(slots=True)
class Response:
    """One answer: a JSON document, raw bytes, or no body at all. It is not changed once it was encoded."""

    status: HTTPStatus
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    _wire: bytes = b""  # as it was encoded for a client that keeps its connection: most answers of a fleet are repeated

    def encode(self, *, head_only: bool, keep_alive: bool, chunked: bool = False) -> bytes:
        """The bytes on the wire; an answer to HEAD tells the length of the body that it leaves out."""
        if head_only or not keep_alive or chunked:
            return self._encode(head_only=head_only, keep_alive=keep_alive, chunked=chunked)
        if not self._wire:
            self._wire = self._encode(head_only=False, keep_alive=True, chunked=False)
        return self._wire

    def _encode(self, *, head_only: bool, keep_alive: bool, chunked: bool) -> bytes:
        body = self._body()
        headers = {"Server": "ironic-lite-fleet", "OData-Version": "4.0", "Cache-Control": "no-cache", **self.headers}
        if body:
            headers.setdefault("Content-Type", _TYPE)
        if chunked and body:
            headers["Transfer-Encoding"] = "chunked"
            body = in_chunks(body)
        elif self.status not in _BODILESS:
            headers["Content-Length"] = str(len(body))
        if not keep_alive:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if head_only else head + body

    def _body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"" if self.document is None else json.dumps(self.document).encode()


def in_chunks(body: bytes) -> bytes:
    """A body in two chunks and the last (RFC 9112, 7.1)."""
    half = len(body) // 2 or 1
    parts = [body[:half], body[half:]]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


def take_request(buffer: bytearray) -> Request | None:
    """Cut the first whole request off the buffer; None while it is not whole. Raises `BrokenRequestError`."""
    end = buffer.find(b"\r\n\r\n", 0, HEAD_KIB * 1024)
    if end < 0:
        if len(buffer) >= HEAD_KIB * 1024:
            raise BrokenRequestError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The head of a request is at most {HEAD_KIB} KiB."
            )
        return None
    method, target, version, headers = _head(buffer[:end].decode("latin-1"))
    length = _body_length(headers)
    if len(buffer) < end + 4 + length:
        return None
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    path, _, query = target.partition("?")
    return Request(method, path.rstrip("/") or "/", headers, body, version, query, path.endswith("/"))


def _head(text: str) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = text.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in {"HTTP/1.0", "HTTP/1.1"}:
        raise BrokenRequestError(
            HTTPStatus.BAD_REQUEST, "The first line of a request is a method, a path and HTTP/1.1."
        )
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BrokenRequestError(HTTPStatus.BAD_REQUEST, "A header is a name, a colon and a value.")
        headers[name.lower()] = value.strip()
    return words[0], words[1], words[2], headers


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BrokenRequestError(HTTPStatus.LENGTH_REQUIRED, "A body needs a Content-Length here.")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BrokenRequestError(HTTPStatus.BAD_REQUEST, "Content-Length is a whole number.")
    if int(text) > BODY_KIB * 1024:
        raise BrokenRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body is at most {BODY_KIB} KiB.")
    return int(text)
