"""The event subscriptions of one BMC, and the events that it sends to them (DSP0266, chapter 12)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ironic_lite.fleet import documents, refusals
from ironic_lite.fleet.machine import Health, Power
from ironic_lite.fleet.outbox import Delivery, Outbox
from ironic_lite.fleet.quirks import Quirk

if TYPE_CHECKING:
    from ironic_lite.fleet.device import Device

SUBSCRIPTIONS_MAX: Final = 20
LATE_S: Final = 2.0
PROPERTIES: Final = {
    *("Destination", "Context", "Protocol", "HttpHeaders", "EventTypes", "EventFormatType", "RegistryPrefixes"),
    *("ResourceTypes", "MessageIds", "OriginResources", "SubscriptionType", "DeliveryRetryPolicy", "Name"),
}
TEST_PROPERTIES: Final = {
    *("EventId", "EventTimestamp", "EventType", "EventGroupId", "Message", "MessageArgs", "MessageId"),
    *("OriginOfCondition", "Severity"),
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """Somebody who wants to be told. `told` is what the document shows: not the headers, which may hold a secret."""

    ident: str
    destination: str
    context: str
    headers: dict[str, str]
    types: tuple[str, ...]
    told: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """The subscription as a resource."""
        return documents.subscription(self.ident, **self.told, HttpHeaders=None, Status=documents.status(Health.OK))

    def wants(self, event: dict[str, Any]) -> bool:
        """Whether an event of that type goes there."""
        return not self.types or event.get("EventType") in self.types


class Subscriptions:
    """The subscriptions of one BMC; it watches its machine while there are any."""

    __slots__ = ("_bmc", "_count", "_events", "_outbox", "_timer", "by_id")

    def __init__(self, bmc: Device, outbox: Outbox) -> None:
        self.by_id: dict[str, Subscription] = {}
        self._bmc = bmc
        self._outbox = outbox
        self._count = self._events = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, body: dict[str, Any]) -> Subscription:
        """Take a subscription on. Raises `refusals.RefusedError`."""
        if len(self.by_id) >= SUBSCRIPTIONS_MAX:
            text = "The event subscription failed due to the number of simultaneous subscriptions exceeding the limit."
            raise refusals.RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "EventSubscriptionLimitExceeded", text)
        destination = _destination(body)
        types = body.get("EventTypes") or []
        if not isinstance(types, list) or any(not isinstance(one, str) for one in types):
            raise refusals.wrong_value("EventTypes", types)
        if body.get("Protocol", "Redfish") != "Redfish":
            raise refusals.wrong_value("Protocol", body["Protocol"])
        self._count += 1
        ident, context, headers = str(self._count), str(body.get("Context") or ""), _headers(body)
        told = {name: value for name, value in body.items() if name not in {"HttpHeaders", "Name"}}
        subscription = Subscription(ident, destination, context, headers, tuple(types), {"Protocol": "Redfish", **told})
        self.by_id[ident] = subscription
        self._bmc.machine.watcher = self
        return subscription

    def remove(self, ident: str) -> bool:
        """End a subscription. False if there is none."""
        if self.by_id.pop(ident, None) is None:
            return False
        if not self.by_id:
            self._bmc.machine.watcher = None
        return True

    def planned(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        in_s = self._bmc.machine.changes_in_s
        self._timer = None if in_s is None else asyncio.get_running_loop().call_later(in_s, self._look)

    def reached(self, power: Power) -> None:
        self.emit(documents.power_event(power))

    def emit(self, event: dict[str, Any]) -> None:
        """Send an event to all who want it, as far as the BMC's quirks let it."""
        quirks = self._bmc.quirks
        self._events += 1
        timestamp = self._bmc.site.clock.now().isoformat(timespec="milliseconds") + "Z"
        event = {"EventId": str(self._events), "EventTimestamp": timestamp, "MemberId": "0", **event}
        if Quirk.EVENTS_LOST in quirks:
            return
        for subscription in self.by_id.values():
            if subscription.wants(event):
                delivery = Delivery(subscription.destination, subscription.headers, self._document(subscription, event))
                for _ in range(2 if Quirk.EVENTS_TWICE in quirks else 1):
                    late = Quirk.EVENTS_LATE in quirks
                    self._outbox.put(delivery, self._bmc.site.chance.uniform(0.0, LATE_S) if late else 0.0)

    def _document(self, subscription: Subscription, event: dict[str, Any]) -> bytes:
        whole = {
            "@odata.type": "#Event.v1_4_0.Event",
            "Id": str(self._events),
            "Name": "Event",
            "Context": subscription.context,
            "Events@odata.count": 1,
            "Events": [event],
        }
        return json.dumps(whole).encode()

    def _look(self) -> None:
        self._timer = None
        _ = self._bmc.machine.power  # tells `reached` what has come to pass
        if self._bmc.machine.changes_in_s is not None:
            self.planned()


def _destination(body: dict[str, Any]) -> str:
    destination = body.get("Destination")
    if destination is None:
        raise refusals.missing("Destination")
    if not isinstance(destination, str) or urlsplit(destination).scheme not in {"http", "https"}:
        raise refusals.wrong_value("Destination", destination)
    return destination


def _headers(body: dict[str, Any]) -> dict[str, str]:
    """The headers of a subscription: a list of objects of one header each, or of several."""
    given = body.get("HttpHeaders") or []
    if not isinstance(given, list) or any(not isinstance(one, dict) for one in given):
        raise refusals.wrong_value("HttpHeaders", "...")
    headers = {str(name): str(value) for one in given for name, value in one.items()}
    if any(mark in part for pair in headers.items() for part in pair for mark in "\r\n"):
        raise refusals.wrong_value("HttpHeaders", "...")
    return headers
