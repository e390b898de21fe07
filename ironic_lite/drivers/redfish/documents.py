"""What every reader of Redfish's documents needs of them. Pure."""

from __future__ import annotations

import codecs

import msgspec


class Link(msgspec.Struct):
    """A reference to another resource."""

    path: str = msgspec.field(name="@odata.id")


def plain(document: bytes) -> bytes:
    """Without the mark that some BMCs put before it, which JSON does not have."""
    return document.removeprefix(codecs.BOM_UTF8)
