"""PUT /v1/nodes/{ident}/states/provision: the verbs that carry a node through its life."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final

import falcon
import msgspec
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments, versions
from ironic_lite.api.body import Body, Schema
from ironic_lite.api.caller import Caller
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1 import node_rules
from ironic_lite.api.v1.node import c, find
from ironic_lite.conductor import provision
from ironic_lite.conductor.flow import Request
from ironic_lite.domain.provision import ABORT_SINCE, VERBS, Event, accepts
from ironic_lite.domain.states import Provision
from ironic_lite.domain.steps import AskedStep, StepInterface

# The events that maintenance mode forbids, and those that protection does.
NOT_IN_MAINTENANCE: Final = frozenset({Event.DEPLOY, Event.REBUILD})
NOT_IF_PROTECTED: Final = frozenset({Event.DELETE, Event.REBUILD})

CONFIG_DRIVE_OBJECT_SINCE: Final = 56
MAX_PRIORITY: Final = 10**9
VENDOR_DATA_SINCE: Final = 59
CONFIG_DRIVE_KEYS: Final[dict[str, type | tuple[type, ...]]] = {
    "meta_data": dict, "network_data": dict, "user_data": (dict, list, str), "vendor_data": dict,
}  # fmt: skip

# What may stand beside a provision target: the events that it means something to, each with its first version.
EXTRAS: Final[dict[str, dict[Event, int]]] = {
    "configdrive": {Event.DEPLOY: 1, Event.REBUILD: 35},
    "clean_steps": {Event.CLEAN: 15},
    "rescue_password": {Event.RESCUE: 38},
    "deploy_steps": {Event.DEPLOY: 69, Event.REBUILD: 69},
    "disable_ramdisk": {Event.CLEAN: 70, Event.SERVICE: 108},
    "service_steps": {Event.SERVICE: 87},
    "runbook": {Event.CLEAN: 92, Event.SERVICE: 92, Event.DEPLOY: 92},
}

# What must stand beside a verb.
NEEDS: Final = {
    Event.CLEAN: ("clean_steps", "a list of one step or more"),
    Event.SERVICE: ("service_steps", "a list of one step or more"),
    Event.RESCUE: ("rescue_password", "a word that is not blank"),
}

_PROVISION_COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    c.uuid, c.driver, c.conductor_group, c.provision_state, c.reservation, c.lock_purpose, c.maintenance, c.protected,
)  # fmt: skip


class StepRequest(Body):
    """One of clean_steps or service_steps."""

    interface: StepInterface
    step: str
    args: dict[str, Any] = msgspec.field(default_factory=dict)
    order: Annotated[int, msgspec.Meta(ge=0, le=MAX_PRIORITY)] | None = None
    execute_on_child_nodes: bool = False
    limit_child_node_execution: list[str] = msgspec.field(default_factory=list)


class DeployStepRequest(Body):
    """One of deploy_steps."""

    interface: StepInterface
    step: str
    args: dict[str, Any]
    priority: Annotated[int, msgspec.Meta(ge=0, le=MAX_PRIORITY)] | Annotated[str, msgspec.Meta(pattern="^[0-9]{1,9}$")]


class ProvisionRequest(Body):
    """The body of PUT .../states/provision."""

    target: str
    configdrive: dict[str, Any] | str | None = None
    clean_steps: list[StepRequest] | None = None
    deploy_steps: list[DeployStepRequest] | None = None
    service_steps: list[StepRequest] | None = None
    rescue_password: str | None = None
    disable_ramdisk: bool | None = None
    runbook: str | None = None


_PROVISION_REQUEST: Final = Schema(ProvisionRequest, large=True)


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
        self._serving.conductors.call(
            owner, provision.change_provision_state, node.uuid, event, _request(wanted, caller.minor)
        )
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
    if not accepts(state, event):
        if node.reservation is not None:  # the state may be on its way to one that accepts the verb
            raise errors.NodeLocked(node=node.uuid, host=node.reservation, purpose=node.lock_purpose)
        raise errors.InvalidState(verb=wanted.target, node=node.uuid, state=state)
    _check_extras(wanted, event, minor)
    if node.protected and event in NOT_IF_PROTECTED:
        raise node_rules.protected(node.uuid)
    return event


def _check_extras(wanted: ProvisionRequest, event: Event, minor: int) -> None:
    """Raise for what stands beside a target that it means nothing to. Empty values are nothing (Metal3 sends them)."""
    for name, events in EXTRAS.items():
        if not getattr(wanted, name):
            continue
        versions.require(minor, events.get(event, min(events.values())), f"The key {name}")
        if event not in events:
            raise errors.Invalid(reason=f"The key {name} means nothing to the verb {wanted.target!r}.")
    if wanted.runbook:
        raise errors.NotThereYet(what="The key runbook", supported="steps that the request names")
    if event in NEEDS:
        name, what = NEEDS[event]
        given = getattr(wanted, name)
        if not (given.strip() if isinstance(given, str) else given):
            raise errors.Invalid(reason=f"The verb {wanted.target!r} needs {name}: {what}.")


def _request(wanted: ProvisionRequest, minor: int) -> Request:
    """What stands beside the verb, as the conductor takes it."""
    steps = [_step(one) for one in sorted(wanted.clean_steps or wanted.service_steps or (), key=_order)]
    steps += [AskedStep(one.interface, one.step, one.args, int(one.priority)) for one in wanted.deploy_steps or ()]
    return Request(
        steps=steps,
        disable_ramdisk=bool(wanted.disable_ramdisk),
        configdrive=_config_drive(wanted.configdrive, minor),
        rescue_password=wanted.rescue_password,
    )


def _order(step: StepRequest) -> int:
    """Those without an order stay where they are, ahead of the others."""
    return step.order or 0


def _step(wanted: StepRequest) -> AskedStep:
    if wanted.execute_on_child_nodes or wanted.limit_child_node_execution:
        raise errors.NotThereYet(what="A step on child nodes", supported="steps on the node itself")
    return AskedStep(wanted.interface, wanted.step, wanted.args)


def _config_drive(given: dict[str, Any] | str | None, minor: int) -> dict[str, Any] | str | None:
    """A URL, a gzipped ISO in base64, or its contents by name. Raises `Invalid` naming what is wrong."""
    if isinstance(given, str):
        if given and "://" not in given and not _is_base64(given):
            raise errors.Invalid(reason="configdrive must be a URL, a gzipped ISO in base64, or an object.")
    elif given:
        versions.require(minor, CONFIG_DRIVE_OBJECT_SINCE, "An object as configdrive")
        for name, value in given.items():
            if name not in CONFIG_DRIVE_KEYS or (name == "vendor_data" and minor < VENDOR_DATA_SINCE):
                raise errors.Invalid(
                    reason=f"configdrive has no {name!r}; allowed are: {', '.join(CONFIG_DRIVE_KEYS)}."
                )
            if not isinstance(value, CONFIG_DRIVE_KEYS[name]):
                raise errors.Invalid(reason=f"configdrive's {name} has the wrong type.")
    return given or None


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
