"""Who asks, in which version: passed explicitly, never global."""

from __future__ import annotations

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """What every handler may know of its request.

    `base_url` is the scheme and authority that links begin with. `stripped` is the last segment of the path if a
    `.json` was taken from it (versions before 1.91): an object may still be called that.
    """

    minor: int
    request_id: str
    base_url: str
    stripped: str | None = None


def links(base_url: str, path: str) -> list[dict[str, str]]:
    """The two links of Ironic's objects: with /v1 and without."""
    return [{"href": f"{base_url}/v1/{path}", "rel": "self"}, {"href": f"{base_url}/{path}", "rel": "bookmark"}]
