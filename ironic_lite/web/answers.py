"""How an application without a framework answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def answer(start_response: Callable[..., Any], status: str, body: bytes, *headers: tuple[str, str]) -> Iterable[bytes]:
    """A whole WSGI answer with its length."""
    start_response(status, [("Content-Length", str(len(body))), *headers])
    return [body]
