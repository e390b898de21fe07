"""/v1/nodes/{ident}/states: what a node is doing, and the requests to change its power and provision state."""

from __future__ import annotations

from typing import Annotated, Any, Final

import falcon
import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments, versions
from ironic_lite.api.body import Body, Schema
from ironic_lite.api.caller import Caller
from ironic_lite.api.resource import Scene
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.node import NodeStates, c, find
from ironic_lite.conductor import power
from ironic_lite.domain.states import NO_POWER_CHANGE, PowerTarget

MAX_TIMEOUT_S: Final = 24 * 3600

# What a client can ask of a machine's power, with the version that brought it.
POWER_TARGETS: Final[dict[str, tuple[PowerTarget, int]]] = {
    "power on": (PowerTarget.ON, 1),
    "power off": (PowerTarget.OFF, 1),
    "rebooting": (PowerTarget.REBOOT, 1),
    "soft power off": (PowerTarget.SOFT_OFF, 27),
    "soft rebooting": (PowerTarget.SOFT_REBOOT, 27),
}
TIMEOUT_SINCE: Final = 27

_POWER_COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    c.uuid, c.driver, c.conductor_group, c.provision_state, c.power_state, c.disable_power_off,
)  # fmt: skip


class PowerRequest(Body):
    """The body of PUT .../states/power."""

    target: str
    timeout: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_S)] | None = None


_POWER_REQUEST: Final = Schema(PowerRequest)


class States:
    """GET /v1/nodes/{ident}/states, and the older /v1/nodes/states/{ident}."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        view = NodeStates.detail(caller.minor)
        row = find(self._serving, caller, ident, view.columns)
        answers.show(resp, view.render(row, Scene(caller, self._serving.members)))


class PowerState:
    """PUT /v1/nodes/{ident}/states/power."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        wanted = _POWER_REQUEST.read(req)
        node = find(self._serving, caller, ident, _POWER_COLUMNS)
        target, since = _power_target(node, wanted.target)
        versions.require(caller.minor, since, f"The target {wanted.target!r}")
        if wanted.timeout is not None:
            versions.require(caller.minor, TIMEOUT_SINCE, "The key timeout")
        _allow_power(node, target)
        owner = self._serving.members.owner(node.uuid, node.driver, node.conductor_group)
        self._serving.conductors.call(owner, power.change_power, node.uuid, target, wanted.timeout)
        answers.accepted(resp, answers.states_url(caller, ident))


def _power_target(node: sa.Row[Any], wanted: str) -> tuple[PowerTarget, int]:
    try:
        return POWER_TARGETS[wanted]
    except KeyError:
        raise errors.Invalid(
            reason=f"The power of node {node.uuid} cannot become {wanted!r}; allowed are: {', '.join(POWER_TARGETS)}."
        ) from None


def _allow_power(node: sa.Row[Any], target: PowerTarget) -> None:
    """Raise what forbids the change already here; the conductor looks again under the node's lock."""
    if node.provision_state in NO_POWER_CHANGE:
        raise errors.InvalidState(verb=target, node=node.uuid, state=node.provision_state)
    if node.disable_power_off and target in (PowerTarget.OFF, PowerTarget.SOFT_OFF):
        raise errors.Conflict(reason=f"Node {node.uuid} must not be powered off: its disable_power_off is true.")
