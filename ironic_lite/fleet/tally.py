"""What one BMC has counted: requests by kind, connections, how much went on at the same time."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Tally:
    """The counters of one BMC. `*_max` is the most at the same time since they were cleared."""

    __slots__ = (
        "connected",
        "connected_max",
        "connections",
        "handshakes",
        "in_flight",
        "in_flight_max",
        "pipelined",
        "requests",
    )

    def __init__(self) -> None:
        self.connected = self.in_flight = 0
        self.requests: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """Begin to count anew; what goes on now goes on being counted."""
        self.requests.clear()
        self.connections = self.handshakes = self.pipelined = 0
        self.connected_max = self.connected
        self.in_flight_max = self.in_flight

    def connect(self) -> None:
        """A connection was made."""
        self.connections += 1
        self.connected += 1
        self.connected_max = max(self.connected_max, self.connected)

    def begin(self, request: str) -> None:
        """A request was taken; each is followed by one `end`."""
        self.requests[request] += 1
        self.enter()

    def enter(self) -> None:
        """A request that was counted already is under way; each is followed by one `end`."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)

    def end(self) -> None:
        """The request was answered, or whoever sent it went away."""
        self.in_flight -= 1

    def told(self) -> dict[str, Any]:
        """All counters, as JSON has them."""
        numbers = {name: getattr(self, name) for name in self.__slots__ if name != "requests"}
        return {"requests": dict(self.requests), "total": self.requests.total(), **numbers}
