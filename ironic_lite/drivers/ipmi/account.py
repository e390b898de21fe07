"""What driver_info says about an IPMI BMC: read, checked, and every problem told at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.domain.node import Node

PRIVILEGES: Final = {"CALLBACK": 1, "USER": 2, "OPERATOR": 3, "ADMINISTRATOR": 4}
CIPHER_SUITES: Final = (3, 17)
# A user name has at most 16 bytes and an RMCP+ password at most 20 (IPMI 2.0, tables 13-11 and 22-30).
USERNAME_LIMIT: Final = 16
PASSWORD_LIMIT: Final = 20

PROPERTIES: Final[Mapping[str, str]] = {
    "ipmi_address": "The BMC's host name or IP address. Required.",
    "ipmi_username": "The user to log in as; left out, the anonymous user.",
    "ipmi_password": "The user's password.",
    "ipmi_port": "The BMC's UDP port; 623 by default.",
    "ipmi_priv_level": "The privilege level to ask for: CALLBACK, USER, OPERATOR or ADMINISTRATOR; left out, the "
    "highest of the last two that the BMC grants.",
    "ipmi_cipher_suite": "The cipher suite: 3 or 17; left out, 17 and then 3.",
    "ipmi_protocol_version": "The protocol version; only 2.0.",
    "ipmi_hex_kg_key": "The BMC's Kg key as hexadecimal digits, where one is set for two-key authentication.",
    "ipmi_bridging": "Whether to reach the BMC through another one; only no.",
}


class Account(msgspec.Struct, frozen=True):
    """Where a BMC is and how to log in to it. As text never more than the address."""

    host: str
    port: int
    username: bytes
    password: bytes
    privilege: int | None
    cipher_suite: int | None
    kg: bytes | None

    @property
    def address(self) -> str:
        """The BMC as a sentence names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Account({self.address})"


def account(node: Node) -> Account:
    """The node's account. Raises `InvalidDriverInfo` with every problem."""
    problems: list[str] = []
    info = node.driver_info
    found = Account(
        host=_host(info.get("ipmi_address"), problems),
        port=_port(info.get("ipmi_port") or 623, problems),
        username=_secret(info, "ipmi_username", USERNAME_LIMIT, problems),
        password=_secret(info, "ipmi_password", PASSWORD_LIMIT, problems),
        privilege=_privilege(info.get("ipmi_priv_level"), problems),
        cipher_suite=_cipher_suite(info.get("ipmi_cipher_suite"), problems),
        kg=_kg(info.get("ipmi_hex_kg_key"), problems),
    )
    if str(info.get("ipmi_protocol_version", "2.0")) != "2.0":
        problems.append(f"ipmi_protocol_version is {info['ipmi_protocol_version']!r}; only 2.0 is spoken")
    if info.get("ipmi_bridging", "no") != "no":
        problems.append(f"ipmi_bridging is {info['ipmi_bridging']!r}; only no is supported")
    if problems:
        raise errors.InvalidDriverInfo(node=node.label, problems="; ".join(problems))
    return found


def _host(value: Any, problems: list[str]) -> str:
    if not isinstance(value, str) or not value.strip():
        problems.append("ipmi_address is missing; it is the BMC's host name or IP address")
        return ""
    return value.strip()


def _port(value: Any, problems: list[str]) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        problems.append(f"ipmi_port is {value!r}; it is a UDP port, 1 to 65535")
        return 0
    return int(text)


def _secret(info: Mapping[str, Any], key: str, limit: int, problems: list[str]) -> bytes:
    """A text as the bytes that go over the wire. Bytes also keep pyghmi from mixing up its keys."""
    value = info.get(key) or ""
    if not isinstance(value, str) or len(value.encode()) > limit:
        problems.append(f"{key} is not a text of at most {limit} bytes")
        return b""
    return value.encode()


def _privilege(value: Any, problems: list[str]) -> int | None:
    if value is None or value == "":
        return None
    if value not in PRIVILEGES:
        problems.append(f"ipmi_priv_level is {value!r}; allowed are: {', '.join(PRIVILEGES)}")
        return None
    return PRIVILEGES[value]


def _cipher_suite(value: Any, problems: list[str]) -> int | None:
    if value is None or value == "":
        return None
    if str(value) not in map(str, CIPHER_SUITES):
        problems.append(f"ipmi_cipher_suite is {value!r}; supported are: {', '.join(map(str, CIPHER_SUITES))}")
        return None
    return int(value)


def _kg(value: Any, problems: list[str]) -> bytes | None:
    if value is None or value == "":
        return None
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        problems.append("ipmi_hex_kg_key is not an even number of hexadecimal digits")
        return None
