"""Identifiers of objects in paths and bodies: a UUID or a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ironic_lite import errors
from ironic_lite.api import checks
from ironic_lite.api.caller import Caller
from ironic_lite.domain import names

T = TypeVar("T")


def found(caller: Caller, noun: str, ident: str, fetch: Callable[[str], T]) -> T:
    """What `fetch` finds for the last segment of a path. Raises `InvalidIdent` for nonsense, or as `fetch`."""
    if names.is_uuid(ident):
        return fetch(names.uuid(noun, ident))
    if not names.is_name(ident):
        raise errors.InvalidIdent(ident=ident)
    try:
        return fetch(ident)
    except errors.NotFound:
        if ident != caller.stripped:
            raise
    return fetch(f"{ident}.json")  # an object may really be called that


def given(field: str, value: Any, minor: int) -> str:
    """The UUID or name that a body gives, as the database has it. Raises `Invalid` naming the field."""
    text = checks.word(field, value, minor)
    return names.uuid(field, text) if names.is_uuid(text) else text
