"""Events of a node's BMC: where they are sent, and the token that proves that we asked for them.

A token is made of the node's UUID under a key of the whole cluster, so that nobody has to look one up to check it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

import msgspec

PREFIX: Final = "/lite/v1/events"
KEY: Final = "events"  # the name of the cluster's key


class Subscriber(msgspec.Struct, frozen=True):
    """Who is to be told of a node's events: `url`, or nobody. As text it never shows the URL, which holds the token."""

    uuid: str
    url: str | None

    @property
    def context(self) -> str:
        """What a BMC keeps with a subscription of ours, and repeats in each event."""
        return f"ironic_lite {self.uuid}"

    def made(self, destination: object, context: object) -> bool:
        """Whether a subscription is one of ours for this node, of whichever life, key and address."""
        return context == self.context or (isinstance(destination, str) and f"{PREFIX}/{self.uuid}/" in destination)

    def __repr__(self) -> str:
        return f"Subscriber({self.uuid})"


def subscriber(base_url: str | None, key: str, uuid: str) -> Subscriber:
    """Where the node's events go, if the API is reached at that URL; without one, nowhere."""
    url = f"{base_url.rstrip('/')}{PREFIX}/{uuid}/{token(key, uuid)}" if base_url else None
    return Subscriber(uuid, url)


def token(key: str, uuid: str) -> str:
    """The token of a node: 256 bits that may stand in a URL."""
    digest = hmac.digest(key.encode(), f"events of node {uuid}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_token(key: str, uuid: str, given: str) -> bool:
    """Whether it is the node's. Takes as long for a wrong one as for the right one."""
    return hmac.compare_digest(token(key, uuid).encode(), given.encode("utf-8", "surrogateescape"))
