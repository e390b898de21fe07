"""A client's wish for a node of a class, with traits, or one of some."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

MAX_TRAITS: Final = 50  # of one node, so that no allocation can ask for more either


class State(StrEnum):
    """How far an allocation is."""

    ALLOCATING = "allocating"
    ACTIVE = "active"
    ERROR = "error"


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Without candidates, given by UUID, every node is one; an owner narrows them to its own."""

    uuid: str
    resource_class: str
    name: str | None = None
    owner: str | None = None
    traits: list[str] = []
    candidate_nodes: list[str] = []
    extra: dict[str, Any] = {}

    @property
    def wish(self) -> str:
        """What is looked for, in words."""
        parts = [f"resource class {self.resource_class}"]
        parts += [f"traits {', '.join(sorted(self.traits))}"] if self.traits else []
        parts += [f"one of {len(self.candidate_nodes)} candidates"] if self.candidate_nodes else []
        parts += [f"owner {self.owner}"] if self.owner is not None else []
        return "; ".join(parts)
