"""What a written value must be: a check takes the field's name, the value and the version, and returns what is stored.

Every check raises `Invalid` naming the field and what is allowed. None never comes here: it means the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.api import arguments
from ironic_lite.domain import names

Check = Callable[[str, Any, int], Any]

MAX_NOTE_CHARS: Final = 4096
_JSON_NAMES: Final = {list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
_GROUP: Final = re.compile(r"[A-Za-z0-9_.-]{0,255}")
_DATAPATH: Final = re.compile(r"[0-9a-f]{16}", re.IGNORECASE)  # OpenFlow: 64 bits


def text(limit: int) -> Check:
    """A text of at most `limit` characters."""

    def check(field: str, value: Any, _minor: int) -> str:
        if not isinstance(value, str):
            raise errors.Invalid(reason=f"Expected a text for {field} but received {value!r}.")
        if len(value) > limit or "\x00" in value:
            raise errors.Invalid(reason=f"{field} must be at most {limit} characters, none of them NUL.")
        return value

    return check


word: Final = text(255)
note: Final = text(MAX_NOTE_CHARS)


def mapping(field: str, value: Any, _minor: int) -> dict[str, Any]:
    """A JSON object. The refusal does not repeat what may be a misplaced password."""
    if not isinstance(value, dict):
        raise errors.Invalid(reason=f"Expected an object for {field} but received {_JSON_NAMES[type(value)]}.")
    return value


def boolean(field: str, value: Any, _minor: int) -> bool:
    """A boolean in any spelling."""
    return arguments.boolean(field, value)


def uuid(field: str, value: Any, minor: int) -> str:
    """A UUID."""
    return names.uuid(field, word(field, value, minor))


def mac(field: str, value: Any, minor: int) -> str:
    """A MAC address."""
    return names.mac(field, word(field, value, minor))


def node_name(field: str, value: Any, minor: int) -> str:
    """A node's name."""
    return names.node_name(word(field, value, minor), minor)


def name(field: str, value: Any, minor: int) -> str:
    """The name of anything but a node."""
    if not names.is_name(word(field, value, minor)):
        raise errors.Invalid(
            reason=f"Cannot use {value!r} as {field}: a name is up to 255 letters, digits, '-._~', and no UUID."
        )
    return str(value)


def conductor_group(field: str, value: Any, minor: int) -> str:
    """A conductor group, in lower case."""
    if _GROUP.fullmatch(word(field, value, minor)) is None:
        raise errors.Invalid(reason=f"{field} cannot be {value!r}; allowed are letters, digits and any of '-._'.")
    return str(value).lower()


def boot_mode(field: str, value: Any, _minor: int) -> str:
    """UEFI or BIOS."""
    if value not in ("uefi", "bios"):
        raise errors.Invalid(reason=f"{field} cannot be {value!r}; allowed are: uefi, bios.")
    return str(value)


def network_data(field: str, value: Any, minor: int) -> dict[str, Any]:
    """Links, networks and services, each a list of objects; or nothing at all."""
    given = mapping(field, value, minor)
    unknown = given.keys() - {"links", "networks", "services"}
    if unknown:
        raise errors.Invalid(
            reason=f"{field} cannot hold {', '.join(sorted(unknown))}; allowed are: links, networks, services."
        )
    for key, items in given.items():
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise errors.Invalid(reason=f"{key} of {field} must be a list of objects.")
    return given


def local_link_connection(field: str, value: Any, minor: int) -> dict[str, Any]:
    """A switch port (switch_id, port_id), a smart NIC (port_id, hostname), an unmanaged network, or nothing."""
    given = mapping(field, value, minor)
    if not all(isinstance(item, str) for item in given.values()):
        raise errors.Invalid(reason=f"Every value of {field} must be a text.")
    if given and not _is_known_link(given, minor):
        raise errors.Invalid(
            reason=f"{field} must be empty, or hold switch_id, port_id and perhaps switch_info, or port_id and "
            "hostname, or (since API version 1.64) network_type unmanaged alone."
        )
    switch = given.get("switch_id")
    if switch is not None and _DATAPATH.fullmatch(switch) is None:
        return given | {"switch_id": names.mac(f"switch_id of {field}", switch)}
    return given


_VTEP: Final = frozenset({"vtep-logical-switch", "vtep-physical-switch"})
_LINK_SHAPES: Final = (
    ({"switch_id", "port_id"}, {"switch_info"}, 1),
    ({"port_id", "hostname"}, set[str](), 1),
    ({"network_type"}, set[str](), 64),
)


def _is_known_link(given: dict[str, str], minor: int) -> bool:
    keys = given.keys() - _VTEP
    if given.get("network_type", "unmanaged") != "unmanaged":
        return False
    return any(needed <= keys <= needed | optional and minor >= since for needed, optional, since in _LINK_SHAPES)
