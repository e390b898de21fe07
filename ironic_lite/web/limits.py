"""What a request may cost before anything is decoded: bytes and depth. Shared by REST and JSON-RPC."""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import msgspec

from ironic_lite import errors

_ESCAPES: Final = re.compile(rb"\\[\\\"]")
_STRING: Final = re.compile(rb'"[^"]*"?')
_BRACKETS: Final = b"[]{}"
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(_BRACKETS))
_STEPS: Final = bytes.maketrans(_BRACKETS, b"\x01\xff\x01\xff")  # read as signed bytes: +1 opens, -1 closes


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one server.

    `header_timeout_s` and `body_timeout_s` bound the whole of a request's head and body, however slowly they drip.
    `answer_timeout_s` bounds each write to a client that does not read. `keepalive_timeout_s` is how long a
    connection may be silent between two requests: longer than the pools of clients and load balancers keep theirs.
    `body_kib` is for the largest body of all; an application has limits of its own for most.
    """

    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    answer_timeout_s: float = 30.0
    keepalive_timeout_s: float = 75.0
    header_kib: int = 64
    body_kib: int = 65536
    queued_requests: int = 256
    keepalive_connections: int = 500
    connections: int = 1000


DEFAULT: Final = Limits()


def check_depth(body: bytes, limit: int) -> None:
    """Raise `Invalid` when JSON objects and lists nest deeper than `limit`.

    Brackets in strings do not count. Malformed JSON passes: the decoder says what is wrong with it.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    brackets = _STRING.sub(b"", _ESCAPES.sub(b"", body)).translate(_STEPS, _NOT_BRACKETS)
    if max(itertools.accumulate(memoryview(brackets).cast("b")), default=0) > limit:
        raise errors.Invalid(reason=f"The JSON of the request body nests deeper than the {limit} levels allowed.")


def read_body(environ: dict[str, Any], limit_kib: int) -> bytes:
    """The whole body of a WSGI request, chunked or not; empty when there is none.

    Raises `BodyTooLarge`, before reading when the length is known, and `Invalid` when the client stopped half-way.
    """
    limit = limit_kib * 1024
    length = None if environ.get("wsgi.input_terminated") else _content_length(environ)
    if length is not None and length > limit:
        raise errors.BodyTooLarge(limit_kib=limit_kib)
    try:
        body: bytes = environ["wsgi.input"].read(limit + 1 if length is None else length)
    except OSError as exc:
        raise errors.Invalid(reason=f"The request body did not arrive: {exc}.") from exc
    if len(body) > limit:
        raise errors.BodyTooLarge(limit_kib=limit_kib)
    if length is not None and len(body) < length:
        raise errors.Invalid(reason=f"The request body ended after {len(body)} of its {length} bytes.")
    return body


def _content_length(environ: dict[str, Any]) -> int:
    told = environ.get("CONTENT_LENGTH") or "0"
    if not told.isdecimal():
        raise errors.Invalid(reason="Content-Length must be a whole number.")
    return int(told)
