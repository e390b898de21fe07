"""/v1/nodes/{ident}/management: indicators and interrupts."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import falcon

from ironic_lite import errors
from ironic_lite.api import answers, arguments
from ironic_lite.api.body import Body, Schema
from ironic_lite.api.caller import Caller, links
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import find
from ironic_lite.api.v1.node_actions import OWNED_BY, ask
from ironic_lite.conductor import management
from ironic_lite.domain.indicators import Indicator, Light, Part

SETTABLE: Final = (Light.ON, Light.OFF, Light.BLINKING)


class NMIRequest(Body):
    """The body of PUT .../inject_nmi, which may be missing."""


class IndicatorRequest(Body):
    """The body of PUT .../indicators/{name@component}."""

    state: str


_NMI_REQUEST: Final = Schema(NMIRequest)
_INDICATOR_REQUEST: Final = Schema(IndicatorRequest)


class InjectNMI:
    """PUT /v1/nodes/{ident}/management/inject_nmi."""

    since = 29

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        _NMI_REQUEST.read_optional(req)
        ask(self._serving, req.context.caller, ident, management.inject_nmi)
        answers.done(resp)


class Indicators:
    """GET /v1/nodes/{ident}/management/indicators."""

    since = 63

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        node = find(self._serving, caller, ident, OWNED_BY)
        owner = self._serving.members.owner(node.uuid, node.driver, node.conductor_group)
        found = self._serving.conductors.call(owner, management.get_indicators, node.uuid)
        answers.show(resp, {"indicators": [_shown(caller, node.uuid, one) for one in found]})


class IndicatorItem:
    """GET and PUT /v1/nodes/{ident}/management/indicators/{name@component}."""

    since = 63

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str, indicator: str) -> None:
        arguments.refuse(req)
        name, part = _named(indicator)
        state = ask(self._serving, req.context.caller, ident, management.get_indicator, name, part)
        answers.show(resp, {"state": state})

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str, indicator: str) -> None:
        arguments.refuse(req)
        name, part = _named(indicator)
        state = _INDICATOR_REQUEST.read(req).state.lower()  # clients write ON, and read on
        if state not in SETTABLE:
            raise errors.Invalid(reason=f"state cannot be {state!r}; allowed are: {', '.join(SETTABLE)}.")
        ask(self._serving, req.context.caller, ident, management.set_indicator, name, part, Light(state))
        answers.done(resp)


def _named(indicator: str) -> tuple[str, Part]:
    name, _, part = indicator.rpartition("@")
    if not name or part not in set(Part):
        raise errors.Invalid(
            reason=f"An indicator is called name@component, not {indicator!r}; components are: {', '.join(Part)}."
        )
    return name, Part(part)


def _shown(caller: Caller, node: str, one: Indicator) -> dict[str, Any]:
    return {
        "name": one.ident,
        "component": one.component,
        "readonly": one.readonly,
        "states": one.states,
        "links": links(caller.base_url, f"nodes/{node}/management/indicators/{quote(one.ident, safe='@:')}"),
    }
