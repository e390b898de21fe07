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
from ironic_lite.api.v1 import node_rules
from ironic_lite.api.v1.node import NodeStates, c, find
from ironic_lite.conductor import power, provision
from ironic_lite.domain.provision import ABORT_SINCE, NEXT, VERBS, Event
from ironic_lite.domain.states import NO_POWER_CHANGE, PowerTarget, Provision

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

# The verbs that this version carries out.
CARRIED_OUT: Final = frozenset({Event.MANAGE, Event.PROVIDE, Event.ADOPT, Event.DELETE, Event.ABORT})
# The events that maintenance mode forbids, and those that protection does.
NOT_IN_MAINTENANCE: Final = frozenset({Event.DEPLOY, Event.REBUILD})
NOT_IF_PROTECTED: Final = frozenset({Event.DELETE, Event.REBUILD})

# What may stand beside a provision target: its first version, and the events that it means something to.
EXTRAS: Final[dict[str, tuple[int, frozenset[Event]]]] = {
    "configdrive": (1, frozenset({Event.DEPLOY, Event.REBUILD})),
    "clean_steps": (15, frozenset({Event.CLEAN})),
    "rescue_password": (38, frozenset({Event.RESCUE})),
    "deploy_steps": (69, frozenset({Event.DEPLOY, Event.REBUILD})),
    "disable_ramdisk": (70, frozenset({Event.CLEAN, Event.SERVICE})),
    "service_steps": (87, frozenset({Event.SERVICE})),
    "runbook": (92, frozenset({Event.CLEAN, Event.SERVICE, Event.DEPLOY})),
}

_POWER_COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    c.uuid, c.driver, c.conductor_group, c.provision_state, c.power_state, c.disable_power_off,
)  # fmt: skip
_PROVISION_COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    c.uuid, c.driver, c.conductor_group, c.provision_state, c.reservation, c.lock_purpose, c.maintenance, c.protected,
)  # fmt: skip


class PowerRequest(Body):
    """The body of PUT .../states/power."""

    target: str
    timeout: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMEOUT_S)] | None = None


class ProvisionRequest(Body):
    """The body of PUT .../states/provision."""

    target: str
    configdrive: dict[str, Any] | str | None = None
    clean_steps: list[dict[str, Any]] | None = None
    deploy_steps: list[dict[str, Any]] | None = None
    service_steps: list[dict[str, Any]] | None = None
    rescue_password: str | None = None
    disable_ramdisk: bool | None = None
    runbook: str | None = None


_POWER_REQUEST: Final = Schema(PowerRequest)
_PROVISION_REQUEST: Final = Schema(ProvisionRequest, large=True)


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


class ProvisionState:
    """PUT /v1/nodes/{ident}/states/provision."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        caller: Caller = req.context.caller
        arguments.refuse(req)
        wanted = _PROVISION_REQUEST.read(req)
        node = find(self._serving, caller, ident, _PROVISION_COLUMNS)
        event = _event(node, wanted, caller.minor)
        owner = self._serving.members.owner(node.uuid, node.driver, node.conductor_group)
        self._serving.conductors.call(owner, provision.change_provision_state, node.uuid, event)
        answers.accepted(resp, answers.states_url(caller, ident))


def _event(node: sa.Row[Any], wanted: ProvisionRequest, minor: int) -> Event:
    """The event of a request that the node can take. The order of the checks is Ironic's."""
    state = Provision(node.provision_state)
    event, since = VERBS.get(wanted.target, (None, 1))
    versions.require(minor, since, f"The verb {wanted.target!r}")
    if event is None:
        raise errors.InvalidState(verb=wanted.target, node=node.uuid, state=state)
    if event is Event.ABORT:
        versions.require(minor, ABORT_SINCE.get(state, 1), f"The verb {wanted.target!r} in state {state!r}")
    if node.maintenance and event in NOT_IN_MAINTENANCE:
        raise errors.NodeInMaintenance(what=wanted.target, node=node.uuid)
    if (state, event) not in NEXT:
        if node.reservation is not None:  # the state may be on its way to one that accepts the verb
            raise errors.NodeLocked(node=node.uuid, host=node.reservation, purpose=node.lock_purpose)
        raise errors.InvalidState(verb=wanted.target, node=node.uuid, state=state)
    _check_extras(wanted, event, minor)
    if node.protected and event in NOT_IF_PROTECTED:
        raise node_rules.protected(node.uuid)
    if event not in CARRIED_OUT:
        supported = ", ".join(verb for verb, (one, _) in VERBS.items() if one in CARRIED_OUT)
        raise errors.NotThereYet(what=f"The verb {wanted.target!r}", supported=supported)
    return event


def _check_extras(wanted: ProvisionRequest, event: Event, minor: int) -> None:
    """Raise for what stands beside a target that it means nothing to. Empty values are nothing (Metal3 sends them)."""
    for name, (since, events) in EXTRAS.items():
        if not getattr(wanted, name):
            continue
        versions.require(minor, since, f"The key {name}")
        if event not in events:
            raise errors.Invalid(reason=f"The key {name} means nothing to the verb {wanted.target!r}.")
