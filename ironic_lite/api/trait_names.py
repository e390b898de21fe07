"""What a trait may be called (OpenStack Placement, traits): a standard one of os-traits, or one of the operator's."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.domain.allocation import MAX_TRAITS

MAX_CHARS: Final = 255
_CUSTOM: Final = re.compile(r"CUSTOM_[A-Z0-9_]+")


def trait(text: Any) -> str:
    """The trait, if it may be one. Raises `Invalid`."""
    if isinstance(text, str) and len(text) <= MAX_CHARS and (_CUSTOM.fullmatch(text) or text in _standard()):
        return text
    raise errors.Invalid(
        reason=f"{text!r} is no trait: a trait is a standard one of os-traits, or CUSTOM_ followed by A-Z, 0-9 and _, "
        f"at most {MAX_CHARS} characters in all."
    )


def traits(field: str, value: Any, _minor: int) -> list[str]:
    """A list of traits, each once. Raises `Invalid`."""
    if not isinstance(value, list):
        raise errors.Invalid(reason=f"Expected a list of traits for {field} but received {value!r}.")
    return few(list(dict.fromkeys(trait(one) for one in value)))


def few(asked: list[str]) -> list[str]:
    """The traits, if they are no more than a node may have. Raises `Invalid`."""
    if len(asked) > MAX_TRAITS:
        raise errors.Invalid(reason=f"A node can have at most {MAX_TRAITS} traits, not {len(asked)}.")
    return asked


@cache
def _standard() -> frozenset[str]:
    import os_traits  # noqa: PLC0415  # 80 modules and 3 MiB that only who uses standard traits needs

    return frozenset(os_traits.get_traits())
