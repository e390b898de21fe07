"""Watching the nodes: rows for the screen, with what is remembered between two looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from ironic_lite.clock import Clock
from ironic_lite.demo import screen
from ironic_lite.demo.client import Node
from ironic_lite.demo.screen import Row

TEMPERATURE_EVERY_S: Final = 5.0


class Source(Protocol):
    """What is watched: a `Client`."""

    def nodes(self) -> list[Node]:
        """Every node in full."""

    def temperature_c(self, uuid: str) -> float | None:
        """The highest temperature of a node."""


class Watch:
    """Asks the service for all nodes in one request a look, and for their sensors every few seconds."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self.rows: dict[str, Row] = {}
        self._source = source
        self._clock = clock
        self._changed_at_s: dict[str, float] = {}
        self._temperatures_c: dict[str, float | None] = {}
        self._next_temperatures_s = clock.monotonic()

    def look(self) -> list[str]:
        """Take a new picture into `rows`; the lines that tell what changed. Raises `ServiceSilent`."""
        nodes = self._source.nodes()
        now_s = self._clock.monotonic()
        if now_s >= self._next_temperatures_s:
            self._next_temperatures_s = now_s + TEMPERATURE_EVERY_S
            self._temperatures_c = {node["uuid"]: self._source.temperature_c(node["uuid"]) for node in nodes}
        rows = [screen.row(node, self._temperatures_c.get(node["uuid"])) for node in nodes]
        lines = screen.changes(self.rows, rows)
        for one in rows:
            if screen.changes(self.rows, [one]):
                self._changed_at_s[one.name] = now_s
        self.rows = {one.name: replace(one, changed_s=now_s - self._changed_at_s[one.name]) for one in rows}
        return lines
