"""/v1/drivers: the hardware types that live conductors serve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import falcon

from ironic_lite import errors
from ironic_lite.api import answers, arguments, versions
from ironic_lite.api.arguments import Argument, choice
from ironic_lite.api.caller import Caller, links
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import INTERFACES_SINCE
from ironic_lite.cluster.members import Ring
from ironic_lite.domain.node import INTERFACE_KINDS
from ironic_lite.drivers import registry

INTERFACES_SHOWN_SINCE: Final = 30

# Every field with the version that shows it; those of interfaces are left out of plain lists.
_SUMMARY: Final = {"name": 1, "hosts": 1, "links": 1, "properties": 14, "type": 30}
_INTERFACES: Final = {
    name: INTERFACES_SHOWN_SINCE if INTERFACES_SINCE[kind] <= 31 else INTERFACES_SINCE[kind]
    for kind in INTERFACE_KINDS
    for name in (f"default_{kind}_interface", f"enabled_{kind}_interfaces")
}
FIELDS: Final = _SUMMARY | _INTERFACES

ARGUMENTS: Final = {
    "type": Argument(choice("classic", "dynamic"), since=30),
    "detail": Argument(arguments.boolean, since=30),
    "fields": Argument(arguments.words, since=77, repeats=True),
}


class Drivers:
    """GET /v1/drivers."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, ARGUMENTS)
        fields = _fields(caller.minor, given)
        ring = self._serving.members.current()
        # All our drivers are what Ironic calls dynamic.
        names = [] if given.get("type") == "classic" else ring.drivers()
        answers.show(resp, {"drivers": [_shown(ring, name, caller, fields) for name in names]})


class DriverItem:
    """GET /v1/drivers/{name}."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(req, caller.minor, {"fields": ARGUMENTS["fields"]})
        fields = _fields(caller.minor, {"detail": True} | given)
        ring = served(self._serving, name)
        answers.show(resp, _shown(ring, name, caller, fields))


class DriverProperties:
    """GET /v1/drivers/{name}/properties: the keys of driver_info and what they mean."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        arguments.refuse(req)
        served(self._serving, name)
        answers.show(resp, registry.properties(name))


def served(serving: Serving, name: str) -> Ring:
    """The cluster, in which somebody serves that driver. Raises `DriverNotFound`."""
    ring = serving.members.current()
    if not ring.serving(name):
        raise errors.DriverNotFound(driver=name)
    return ring


def _fields(minor: int, given: Mapping[str, Any]) -> set[str]:
    chosen: Iterable[str] | None = given.get("fields")
    if chosen is None:
        shown = FIELDS if given.get("detail") else _SUMMARY
        return {name for name, since in shown.items() if since <= minor}
    if unknown := sorted(set(chosen) - FIELDS.keys()):
        raise errors.Invalid(
            reason=f"{', '.join(unknown)} cannot be asked for by fields; allowed are: {', '.join(sorted(FIELDS))}."
        )
    for name in chosen:
        versions.require(minor, FIELDS[name], f"The field {name}")
    return {*chosen, "links"}


def _shown(ring: Ring, name: str, caller: Caller, fields: set[str]) -> dict[str, Any]:
    conductors = ring.serving(name)
    everything: dict[str, Any] = {
        "name": name,
        "hosts": [one.hostname for one in conductors],
        "links": links(caller.base_url, f"drivers/{name}"),
        "properties": links(caller.base_url, f"drivers/{name}/properties"),
        "type": "dynamic",
    }
    for kind in INTERFACE_KINDS:
        enabled = list(dict.fromkeys(choice for one in conductors for choice in one.drivers[name].get(kind, [])))
        everything[f"default_{kind}_interface"] = next(iter(enabled), None)
        everything[f"enabled_{kind}_interfaces"] = enabled
    return {field: value for field, value in everything.items() if field in fields}
