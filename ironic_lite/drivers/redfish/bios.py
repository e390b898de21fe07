"""BIOS settings through Redfish: the attributes, and what their registry says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ironic_lite.clock import Deadline
from ironic_lite.domain.bios import Setting
from ironic_lite.domain.node import Node
from ironic_lite.drivers.redfish import client
from ironic_lite.drivers.redfish.account import PROPERTIES, account
from ironic_lite.drivers.redfish.walk import Document, Walk, flag, integer, link, text

ENGLISH: Final = "en"


class RedfishBIOS:
    """The BIOS interface of the hardware type `redfish`."""

    properties = PROPERTIES

    def check(self, node: Node) -> None:
        account(node)

    def settings(self, node: Node, deadline: Deadline) -> list[Setting]:
        with client.visit(node, deadline) as system:
            walk = Walk(system)
            bios = walk.under(walk.system, "Bios") or {}
            attributes = bios.get("Attributes") or {}
            registered = _registered(walk, bios.get("AttributeRegistry")) if attributes else {}
            return [
                _setting(name, attributes[name], registered.get(name)) for name in sorted(filter(_keepable, attributes))
            ]


def _keepable(name: str) -> bool:
    return text(name) == name


def _setting(name: str, value: Any, entry: Document | None) -> Setting:
    if entry is None:
        return Setting(name, _value(value))
    values = entry.get("Value") if isinstance(entry.get("Value"), list) else None
    return Setting(
        name,
        _value(value),
        attribute_type=text(entry.get("Type")),
        allowable_values=[text(one["ValueName"]) or "" for one in values or ()],
        lower_bound=integer(entry.get("LowerBound")),
        upper_bound=integer(entry.get("UpperBound")),
        min_length=integer(entry.get("MinLength")),
        max_length=integer(entry.get("MaxLength")),
        read_only=flag(entry.get("ReadOnly")),
        reset_required=flag(entry.get("ResetRequired")),
        unique=flag(entry.get("IsSystemUniqueProperty")),
    )


def _value(value: Any) -> str | None:
    """The value as JSON writes it, as a change takes it back; Ironic has "0" and "1" for false and true."""
    if value is None:
        return None
    return (str(value).lower() if isinstance(value, bool) else str(value)).replace("\x00", "")


def _registered(walk: Walk, name: str | None) -> Mapping[str, Document]:
    """What the registry of that name says of each attribute; nothing if the BMC does not have it."""
    if not name:
        return {}
    collection = walk.under(walk.root, "Registries") or {}
    # First those whose path has the name in it: BMCs list dozens.
    paths = sorted((link(one) or "" for one in collection.get("Members") or ()), key=lambda path: name not in path)
    for file in walk.each([{"@odata.id": path} for path in paths]):
        if name in (file.get("Registry"), file.get("Id")):
            entries = (walk.document(_place(file)) or {}).get("RegistryEntries") or {}
            return {entry["AttributeName"]: entry for entry in entries.get("Attributes") or ()}
    return {}


def _place(file: Document) -> str | None:
    """Where a registry is, in English if it is there in several languages."""
    locations = sorted(file.get("Location") or (), key=lambda one: one.get("Language") != ENGLISH)
    uri = next((one["Uri"] for one in locations if one.get("Uri")), None)
    return uri if isinstance(uri, str) else link(uri)
