"""The routes of `routing` as Pecan has them: objects, as in Ironic's API. Importable only where Pecan is.

A collection looks its member up, and a part is an attribute of the member. Pecan reads the closures of exposed
functions, so that these stand at the top of the module.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

pecan: Any = importlib.import_module("pecan")
_HEADER = ""
RestController: Any = importlib.import_module("pecan.rest").RestController


def application(kinds: Sequence[str], header: str) -> Any:
    """The WSGI application; its answers tell what `header` said."""
    global _HEADER  # noqa: PLW0603  # Pecan makes its own objects: nothing can be handed to them
    _HEADER = header
    version = type("V1", (RestController,), {kind: Collection() for kind in kinds})
    return pecan.make_app(type("Root", (), {"v1": version()})())


def _get_all(self: Any) -> dict[str, str | None]:
    return {"uuid": self.ident, "power_state": "power on", "version": pecan.request.headers.get(_HEADER)}


def _lookup(_self: Any, ident: str, *remainder: str) -> tuple[Any, tuple[str, ...]]:
    member = Member()
    member.ident = member.states.ident = member.history.ident = ident
    return member, remainder


Part: Any = type("Part", (RestController,), {"get_all": pecan.expose("json")(_get_all)})
Member: Any = type(
    "Member", (RestController,), {"get_all": pecan.expose("json")(_get_all), "states": Part(), "history": Part()}
)
Collection: Any = type("Collection", (RestController,), {"_lookup": pecan.expose()(_lookup)})
