"""What comes in a query: each argument declared with its parser and its first version."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import falcon
import msgspec

from ironic_lite import errors
from ironic_lite.api import versions
from ironic_lite.domain import names

Parse = Callable[[str, str], Any]

TRUE: Final = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE: Final = frozenset({"0", "f", "false", "off", "n", "no"})
MAX_TEXT_CHARS: Final = 255


def boolean(name: str, value: object) -> bool:
    """A JSON boolean, or any of the spellings that Ironic takes. Raises `Invalid`."""
    if isinstance(value, bool):
        return value
    text = str(value).lower() if isinstance(value, (str, int)) else ""
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise errors.Invalid(
        reason=f"Expected a boolean for {name} but received {value!r}; allowed are: {', '.join(sorted(TRUE | FALSE))}."
    )


def integer(name: str, value: str) -> int:
    """A decimal number of at most 18 digits. Raises `Invalid`."""
    digits = value.removeprefix("-")
    if digits.isdecimal() and digits.isascii() and len(digits) <= 18:
        return int(value)
    raise errors.Invalid(reason=f"Expected a whole number for {name} but received {value!r}.")


def seconds(name: str, value: str) -> float:
    """A number of seconds, 0 or more. Raises `Invalid`."""
    try:
        number = float(value) if len(value) <= MAX_TEXT_CHARS else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise errors.Invalid(reason=f"Expected a number of seconds, 0 or more, for {name} but received {value!r}.")
    return number


def text(name: str, value: str) -> str:
    """A text that a database can compare. Raises `Invalid`."""
    if "\x00" in value or len(value) > MAX_TEXT_CHARS:
        raise errors.Invalid(reason=f"{name} must be at most {MAX_TEXT_CHARS} characters, none of them NUL.")
    return value


def words(name: str, value: str) -> tuple[str, ...]:
    """A comma-separated list, in lower case, each word once."""
    return tuple(dict.fromkeys(word.strip().lower() for word in text(name, value).split(",") if word.strip()))


def texts(name: str, value: str) -> tuple[str, ...]:
    """A comma-separated list as it is written."""
    return tuple(dict.fromkeys(word.strip() for word in text(name, value).split(",") if word.strip()))


def choice(*allowed: str) -> Parse:
    """One of these words, else `Invalid`."""

    def parse(name: str, value: str) -> str:
        if value in allowed:
            return value
        raise errors.Invalid(reason=f"{name} cannot be {value!r}; allowed are: {', '.join(allowed)}.")

    return parse


class Argument(msgspec.Struct, frozen=True):
    """One argument. `hidden_before` makes it unknown (400) before its version, where others are too new (406)."""

    parse: Parse
    since: int = 1
    hidden_before: bool = False
    repeats: bool = False


Allowed = Mapping[str, Argument]

UUID: Final = Argument(names.uuid)


def read(req: falcon.Request, minor: int, allowed: Allowed) -> dict[str, Any]:
    """The arguments given, parsed. Raises `Invalid` naming what is unknown and what is allowed, or `NotAcceptable`."""
    if not req.query_string:
        return {}
    given: Mapping[str, str | list[str]] = req.params
    known = {name: one for name, one in allowed.items() if one.since <= minor or not one.hidden_before}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise errors.Invalid(
            reason=f"Unexpected arguments: {', '.join(unknown)}; allowed are: {', '.join(sorted(known)) or 'none'}."
        )
    return {name: _parsed(name, value, minor, known[name]) for name, value in given.items()}


def refuse(req: falcon.Request) -> None:
    """Raise `Invalid` if there are arguments at all."""
    if req.query_string:
        read(req, versions.MAX, {})


def _parsed(name: str, value: str | list[str], minor: int, argument: Argument) -> Any:
    versions.require(minor, argument.since, f"The argument {name}")
    if isinstance(value, list):
        if not argument.repeats:
            raise errors.Invalid(reason=f"The argument {name} is given {len(value)} times; once is allowed.")
        value = ",".join(value)
    return argument.parse(name, value)
