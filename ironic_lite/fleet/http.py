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


class BrokenRequestError(Exception):
    """Bytes that are no request, or one over a limit: `status` is the answer, and the connection ends with it."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request. Header names are in lower case; the path has neither query nor trailing slash."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    version: str = "HTTP/1.1"

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants the connection to stay."""
        wish = self.headers.get("connection", "").lower()
        return wish == "keep-alive" if self.version == "HTTP/1.0" else wish != "close"

    def document(self) -> Any:
        """The body as JSON. Raises `ValueError` when it is none."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer: a JSON document, raw bytes, or no body at all."""

    status: HTTPStatus
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    def encode(self, *, head_only: bool, keep_alive: bool) -> bytes:
        """The bytes on the wire; an answer to HEAD tells the length of the body that it leaves out."""
        body = (
            self.raw if self.raw is not None else b"" if self.document is None else json.dumps(self.document).encode()
        )
        headers = {"Server": "ironic-lite-fleet", "OData-Version": "4.0", "Cache-Control": "no-cache", **self.headers}
        if body:
            headers.setdefault("Content-Type", _TYPE)
        if self.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            headers["Content-Length"] = str(len(body))
        if not keep_alive:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if head_only else head + body


def take_request(buffer: bytearray) -> Request | None:
    """Cut the first whole request off the buffer; None while it is not whole. Raises `BrokenRequestError`."""
    end = buffer.find(b"\r\n\r\n", 0, HEAD_KIB * 1024)
    if end < 0:
        if len(buffer) >= HEAD_KIB * 1024:
            raise BrokenRequestError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The head of a request is at most {HEAD_KIB} KiB."
            )
        return None
    method, target, version, headers = _head(bytes(buffer[:end]).decode("latin-1"))
    length = _body_length(headers)
    if len(buffer) < end + 4 + length:
        return None
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    return Request(method, target.partition("?")[0].rstrip("/") or "/", headers, body, version)


def _head(text: str) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = text.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in {"HTTP/1.0", "HTTP/1.1"}:
        raise BrokenRequestError(
            HTTPStatus.BAD_REQUEST, "The first line of a request is a method, a path and HTTP/1.1."
        )
    pairs = [line.partition(":") for line in lines]
    if any(not colon or name != name.strip() for name, colon, _ in pairs):
        raise BrokenRequestError(HTTPStatus.BAD_REQUEST, "A header is a name, a colon and a value.")
    return words[0], words[1], words[2], {name.lower(): value.strip() for name, _, value in pairs}


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BrokenRequestError(HTTPStatus.LENGTH_REQUIRED, "A body needs a Content-Length here.")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BrokenRequestError(HTTPStatus.BAD_REQUEST, "Content-Length is a whole number.")
    if int(text) > BODY_KIB * 1024:
        raise BrokenRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body is at most {BODY_KIB} KiB.")
    return int(text)
