"""What identifiers may look like."""

from __future__ import annotations

import re
from typing import Final

from ironic_lite import errors

_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9._~-]{1,255}")  # RFC 3986, 2.3: unreserved characters
_HOSTNAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_MAC: Final = re.compile(r"[0-9a-f]{2}(([:-])[0-9a-f]{2})(\2[0-9a-f]{2}){4}", re.IGNORECASE)

# These would be read as a sub-resource of /v1/nodes.
RESERVED: Final = frozenset({"maintenance", "management", "states", "vendor_passthru", "detail", "validate"})


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID (RFC 9562), with or without hyphens."""
    return _UUID.fullmatch(text) is not None


def is_name(text: str, minor: int = 10) -> bool:
    """Whether the text can name an object: any unreserved character since API 1.10, a host name before."""
    pattern = _NAME if minor >= 10 else _HOSTNAME
    return pattern.fullmatch(text) is not None and not is_uuid(text)


def uuid(field: str, text: str) -> str:
    """The UUID in lower case with hyphens. Raises `Invalid` naming the field."""
    if not is_uuid(text):
        raise errors.Invalid(reason=f"Expected a UUID for {field} but received {text!r}.")
    plain = text.replace("-", "").lower()
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


def mac(field: str, text: str) -> str:
    """The MAC address in lower case with colons. Raises `Invalid` naming the field."""
    if _MAC.fullmatch(text) is None:
        raise errors.Invalid(
            reason=f"Expected a MAC address such as 52:54:00:aa:bb:01 for {field} but received {text!r}."
        )
    return text.lower().replace("-", ":")


def node_name(text: str, minor: int) -> str:
    """A name that a node may have. Raises `Invalid` saying what is allowed."""
    if text in RESERVED or not is_name(text, minor):
        letters = "letters, digits and any of '-._~'" if minor >= 10 else "letters, digits, '-' and '.'"
        allowed = f"up to 255 {letters}, not a UUID, and none of {', '.join(sorted(RESERVED))}"
        raise errors.Invalid(reason=f"Cannot call a node {text!r}: a name is {allowed}.")
    return text
