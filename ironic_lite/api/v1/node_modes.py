"""/v1/nodes/{ident}/states/boot_mode and .../secure_boot: the requests to change them."""

from __future__ import annotations

from typing import Final

import falcon

from ironic_lite.api import answers, arguments, checks
from ironic_lite.api.body import Body, Schema
from ironic_lite.api.caller import Caller
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node_actions import ask
from ironic_lite.conductor import modes
from ironic_lite.domain.states import BootMode


class ModeRequest(Body):
    """The body of both."""

    target: bool | str | int


_REQUEST: Final = Schema(ModeRequest)


class BootModeState:
    """PUT /v1/nodes/{ident}/states/boot_mode."""

    since = 76

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        mode = BootMode(checks.boot_mode("target", _REQUEST.read(req).target, caller.minor))
        ask(self._serving, caller, ident, modes.change_boot_mode, mode)
        answers.accepted(resp, answers.states_url(caller, ident))


class SecureBootState:
    """PUT /v1/nodes/{ident}/states/secure_boot."""

    since = 76

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        wanted = arguments.boolean("target", _REQUEST.read(req).target)
        ask(self._serving, caller, ident, modes.change_secure_boot, wanted)
        answers.accepted(resp, answers.states_url(caller, ident))
