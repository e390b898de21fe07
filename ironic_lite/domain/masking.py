"""What must never be shown: values under keys that name a secret."""

from __future__ import annotations

import re
from typing import Any, Final

MASK: Final = "******"

_SECRET_KEY: Final = re.compile(
    r"pass(word|phrase|wd)|secret|token|credential|private_?key|_key$|kg_key|snmp_(community|auth|priv)",
    re.IGNORECASE,
)
# Keys of instance_info that carry a secret by content rather than by name: a config drive, signed image URLs.
_SECRET_CONTENT: Final = frozenset({"configdrive", "image_url"})


def is_secret(key: str) -> bool:
    """Whether a value under this key is one to hide."""
    return key in _SECRET_CONTENT or _SECRET_KEY.search(key) is not None


def masked(value: Any) -> Any:
    """A copy in which every secret, however deep, is six asterisks."""
    if isinstance(value, dict):
        return {key: MASK if is_secret(str(key)) and item is not None else masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value
