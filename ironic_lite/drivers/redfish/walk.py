"""From one document of a BMC to the next, through sushy's connector.

sushy's own resources refuse a document in which one property is missing that they demand; what machines are made of is
told too differently for that. Everything is bounded: the requests of one walk, and the members of each collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sushy import exceptions as sushy_errors

from ironic_lite.drivers.redfish.parts import ABSENT

MEMBERS_LIMIT: Final = 64
REQUESTS_LIMIT: Final = 400
# What the database keeps of a name, a version, a serial number; and of a whole number.
TEXT_LIMIT: Final = 255
INTEGER_LIMIT: Final = 2**63

Document = Mapping[str, Any]


class Walk:
    """One visit's way through the documents. Raises what `client.visit` translates."""

    def __init__(self, system: Any) -> None:
        self.system: Document = system.json
        self.root: Document = system.root.json
        self._connector = system._conn  # noqa: SLF001  # as sushy goes on, too
        self._left = REQUESTS_LIMIT

    def document(self, path: str | None) -> Document | None:
        """What is there; None where the BMC has nothing."""
        if path is None:
            return None
        if self._left == 0:
            raise ValueError
        self._left -= 1
        try:
            found = self._connector.get(path).json()
        except sushy_errors.HTTPError as exc:
            if exc.status_code not in ABSENT:
                raise
            return None
        if not isinstance(found, dict):
            raise TypeError
        return found

    def under(self, document: Document | None, *names: str) -> Document | None:
        """What a document links to under that name, or under the names in turn from link to link."""
        for name in names:
            document = self.document(link((document or {}).get(name)))
        return document

    def members(self, document: Document | None, name: str) -> Iterator[Document]:
        """The members of the collection that a document links to."""
        collection = self.under(document, name) or {}
        return self.each(collection.get("Members"))

    def each(self, links: Any) -> Iterator[Document]:
        """What each of the links leads to; a member that is there whole is not asked for again."""
        for one in (links or ())[:MEMBERS_LIMIT]:
            found = one if len(one) > 1 else self.document(link(one))
            if found is not None:
                yield found

    def change(self, path: str, values: Document) -> None:
        """PATCH what is at that path."""
        etag = self._connector.get(path).headers.get("ETag")
        self._connector.patch(path, data=values, etag=etag)


def link(value: Any) -> str | None:
    """The path that a reference leads to."""
    return value.get("@odata.id") if value else None


def text(value: Any) -> str | None:
    """A text or a number as text that can be kept; BMCs fill what they do not know with blanks."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    return str(value).replace("\x00", "").strip()[:TEXT_LIMIT] or None


def integer(value: Any) -> int | None:
    """A whole number that can be kept."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= INTEGER_LIMIT:
        return None
    return value


def flag(value: Any) -> bool | None:
    """True or false, where it says so."""
    return value if isinstance(value, bool) else None
