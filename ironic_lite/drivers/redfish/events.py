"""Our subscription to the events of one BMC, on the I/O loop and through its one contact (DSP0266, chapter 12).

What is there is read, what is wanted made, and what an earlier life of ours left is removed; subscriptions of others
are never touched. Requests are bounded: the service, its first `MEMBERS_LIMIT` subscriptions, and those that change.
No permit is asked for: nothing of the machine changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec
from sushy import exceptions as sushy_errors

from ironic_lite.clock import Deadline
from ironic_lite.domain.events import Subscriber
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.interfaces import Subscribed
from ironic_lite.drivers.redfish.bmc import BMCS, Bmc
from ironic_lite.drivers.redfish.documents import Link, plain
from ironic_lite.drivers.redfish.exchange import Request
from ironic_lite.drivers.redfish.faults import CAUGHT, translated
from ironic_lite.drivers.redfish.http1 import Response
from ironic_lite.drivers.redfish.poll import Target
from ironic_lite.drivers.redfish.session import JSON_LINE

T = TypeVar("T")

MEMBERS_LIMIT: Final = 64
# Of the types that older BMCs want to be named, those that may tell of power.
TYPES: Final = ("StatusChange", "ResourceUpdated", "Alert")
# Statuses of a BMC that has no events, or has none for this user.
LACKING: Final = (403, 404, 405, 501)


class _Root(msgspec.Struct, rename="pascal"):
    event_service: Link | None = None


class _Service(msgspec.Struct, rename="pascal"):
    service_enabled: bool | None = None
    subscriptions: Link | None = None
    types: list[str] | None = msgspec.field(default=None, name="EventTypesForSubscription")
    formats: list[str] | None = msgspec.field(default=None, name="EventFormatTypes")


class _Collection(msgspec.Struct, rename="pascal"):
    members: list[Link] = []


class _Member(msgspec.Struct, rename="pascal"):
    destination: Any = None
    context: Any = None


class _Lacking(Exception):
    """The BMC has no events for us."""


class _Talk:
    """Requests to one BMC, behind those that power needs."""

    def __init__(self, bmc: Bmc, target: Target, deadline: Deadline) -> None:
        self._bmc, self._account, self._deadline = bmc, target.account, deadline
        self.root = target.account.root

    async def read(self, path: str, kind: type[T]) -> T:
        """The document at that path. Raises `_Lacking`, and what a poll's GET raises."""
        response = await self.ask(Request("GET", path))
        if response.status_code in LACKING:
            raise _Lacking
        if response.status_code != 200:
            sushy_errors.raise_for_response("GET", path, response)
        return msgspec.json.decode(plain(response.content), type=kind)

    async def ask(self, request: Request) -> Response:
        return await self._bmc.ask(self._account, request, Rank.SENSORS, self._deadline)


async def keep(target: Target, subscriber: Subscriber, deadline: Deadline) -> Subscribed:
    """See to it that there is one subscription of ours, as wanted, or none. Raises the `BMC...` errors."""
    talk = _Talk(BMCS.get(target.account), target, deadline)
    try:
        service, path = await _service(talk)
        kept = await _tidied(talk, path, subscriber)
        if subscriber.url is None:
            return Subscribed.NOT
        return Subscribed.ALREADY if kept else await _subscribe(talk, path, service, subscriber)
    except _Lacking:
        return Subscribed.REFUSED if subscriber.url is not None else Subscribed.NOT
    except CAUGHT as exc:
        raise translated(target.label, target.account, exc) from exc


async def _service(talk: _Talk) -> tuple[_Service, str]:
    """The event service, and the path of its subscriptions."""
    root = await talk.read(talk.root, _Root)
    if root.event_service is None:
        raise _Lacking
    service = await talk.read(root.event_service.path, _Service)
    if service.subscriptions is None or service.service_enabled is False:
        raise _Lacking
    return service, service.subscriptions.path


async def _tidied(talk: _Talk, path: str, subscriber: Subscriber) -> bool:
    """Remove what is ours and not wanted. Whether the wanted one is there."""
    kept = False
    for link in (await talk.read(path, _Collection)).members[:MEMBERS_LIMIT]:
        try:
            member = await talk.read(link.path, _Member)
        except _Lacking:  # it has just gone
            continue
        if not subscriber.made(member.destination, member.context):
            continue
        # A BMC may keep the destination to itself.
        if not kept and subscriber.url is not None and member.destination in (subscriber.url, None):
            kept = True
        else:
            response = await talk.ask(Request("DELETE", link.path))
            if response.status_code >= 400 and response.status_code not in LACKING:
                sushy_errors.raise_for_response("DELETE", link.path, response)
    return kept


async def _subscribe(talk: _Talk, path: str, service: _Service, subscriber: Subscriber) -> Subscribed:
    for body in _bodies(service, subscriber):
        data = json.dumps(body).encode()
        response = await talk.ask(Request("POST", path, JSON_LINE, data, repeatable=False))
        if response.status_code < 300:
            return Subscribed.ANEW
        if response.status_code != 400:
            break
    # What it says is not repeated: it may hold our URL, and so the token.
    return Subscribed.REFUSED


def _bodies(service: _Service, subscriber: Subscriber) -> Iterator[dict[str, Any]]:
    """What to ask for: no more than events that may matter, else all, for BMCs that do not take their own words."""
    plain = {"Destination": subscriber.url, "Protocol": "Redfish", "Context": subscriber.context}
    types = [one for one in TYPES if one in (service.types or ())]
    wishes: dict[str, Any] = {"EventTypes": types} if types else {}
    if "Event" in (service.formats or ()):
        wishes["EventFormatType"] = "Event"
    if wishes:
        yield plain | wishes
    yield plain
