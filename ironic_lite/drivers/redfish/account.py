"""What driver_info says about a Redfish BMC: read, checked, and every problem told at once."""

from __future__ import annotations

import ipaddress
import pathlib
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ironic_lite import errors
from ironic_lite.config import Section, Str
from ironic_lite.domain.node import Node

PORTS: Final = {"http": 80, "https": 443}
AUTH_TYPES: Final = ("auto", "session", "basic")
TRUE: Final = ("true", "yes", "on", "1")
FALSE: Final = ("false", "no", "off", "0")

PROPERTIES: Final[Mapping[str, str]] = {
    "redfish_address": "The BMC's address: a host name or IP address, or a URL; https is assumed. Required.",
    "redfish_system_id": "The path of the machine's System resource, such as /redfish/v1/Systems/1; may be left out "
    "where the BMC has one System.",
    "redfish_username": "The user to log in as.",
    "redfish_password": "The user's password.",
    "redfish_verify_ca": "Whether to verify the BMC's TLS certificate: true (the default), false, or the path of a CA "
    "file or directory to verify it with.",
    "redfish_auth_type": "How to log in: session, basic, or auto (a session where the BMC has them); "
    "[redfish]auth_type by default.",
}


class conf(Section, name="redfish"):
    """How to log in where the node does not say."""

    auth_type = Str(
        "auto",
        choices=AUTH_TYPES,
        help="How to log in to a BMC: a Redfish session, HTTP basic authentication, or a session where there are any.",
    )


class Account(msgspec.Struct, frozen=True):
    """Where a BMC is and how to log in to it. Hashable, and as text never more than the address."""

    scheme: str
    host: str
    port: int
    root: str
    system: str | None
    username: str | None
    password: str | None
    verify: bool | str
    auth: str

    @property
    def address(self) -> str:
        """The BMC as a sentence names it: no user, no password, no path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def authority(self) -> str:
        """The BMC as a Host header names it: an address's zone means something to us alone (RFC 6874)."""
        host = self.host.partition("%")[0]
        host = f"[{host}]" if ":" in host else host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Account({self.address})"


def account(node: Node) -> Account:
    """The node's account. Raises `InvalidDriverInfo` with every problem. What thousands have in common is shared."""
    problems: list[str] = []
    info = node.driver_info
    scheme, host, port, root = _address(info.get("redfish_address"), problems)
    found = Account(
        scheme=scheme,
        host=host,
        port=port,
        root=root,
        system=_system(info.get("redfish_system_id"), problems),
        username=_text(info, "redfish_username", problems),
        password=_text(info, "redfish_password", problems),
        verify=_verify(info.get("redfish_verify_ca", True), problems),
        auth=_auth(info.get("redfish_auth_type") or conf.auth_type, problems),
    )
    if found.username and found.password is None:
        problems.append("redfish_password is missing although redfish_username is set")
    if problems:
        raise errors.InvalidDriverInfo(node=node.label, problems="; ".join(problems))
    return found


def _address(value: Any, problems: list[str]) -> tuple[str, str, int, str]:
    """(scheme, host, port, root path) of an address that may have any of these left out."""
    nothing = ("https", "", 0, "")
    if not isinstance(value, str) or not value.strip():
        problems.append("redfish_address is missing; it is the BMC's host name, IP address or URL")
        return nothing
    text = value.strip()
    if _is_ipv6(text):
        text = f"[{text}]"
    try:
        url = urllib.parse.urlsplit(text if "://" in text else f"https://{text}")
        port = url.port or PORTS.get(url.scheme, 0)
    except ValueError:
        url, port = urllib.parse.urlsplit(""), 0
    if url.scheme not in PORTS or not url.hostname:
        # The value itself is not repeated: it may hold a password.
        problems.append("redfish_address is no address; it is a host name, an IP address, or an http or https URL")
        return nothing
    if url.username or url.password:
        problems.append("redfish_address holds credentials; they belong in redfish_username and redfish_password")
    root = url.path.rstrip("/") or "/redfish/v1"
    return sys.intern(url.scheme), url.hostname.replace("%25", "%"), port, sys.intern(f"{root}/")


def _is_ipv6(text: str) -> bool:
    """Whether it is a bare IPv6 address, perhaps with a zone (fe80::1%eth0)."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _system(value: Any, problems: list[str]) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.startswith("/"):
        problems.append(f"redfish_system_id is {value!r}; it is a path such as /redfish/v1/Systems/1")
        return None
    return sys.intern(value)


def _text(info: Mapping[str, Any], key: str, problems: list[str]) -> str | None:
    value = info.get(key)
    if value is not None and not isinstance(value, str):
        problems.append(f"{key} is not a text")
        return None
    return value


def _verify(value: Any, problems: list[str]) -> bool | str:
    if isinstance(value, bool):
        return value
    text = str(value).strip()
    if text.lower() in TRUE + FALSE:
        return text.lower() in TRUE
    if not pathlib.Path(text).exists():
        problems.append(f"redfish_verify_ca is {value!r}; it is true, false, or the path of a CA file or directory")
    return sys.intern(text)


def _auth(value: Any, problems: list[str]) -> str:
    if value not in AUTH_TYPES:
        problems.append(f"redfish_auth_type is {value!r}; allowed are: {', '.join(AUTH_TYPES)}")
        return "auto"
    return str(value)
