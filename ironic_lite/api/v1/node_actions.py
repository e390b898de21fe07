"""What can be done to a node beside its states: maintenance, validation, boot device."""

from __future__ import annotations

from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import falcon
import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import answers, arguments, checks
from ironic_lite.api.arguments import Argument
from ironic_lite.api.body import Body, Schema
from ironic_lite.api.caller import Caller
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1 import nodes
from ironic_lite.api.v1.node import NAMES_SINCE, c, find
from ironic_lite.cluster.rpc import Method
from ironic_lite.conductor import boot, validation
from ironic_lite.domain.states import BootDevice

P = ParamSpec("P")
R = TypeVar("R")

OWNED_BY: Final[tuple[sa.ColumnElement[Any], ...]] = (c.uuid, c.driver, c.conductor_group)


class MaintenanceRequest(Body):
    """The body of PUT .../maintenance, which may be missing."""

    reason: str | None = None


class BootDeviceRequest(Body):
    """The body of PUT .../management/boot_device."""

    boot_device: str
    persistent: bool | str | int = False


_MAINTENANCE_REQUEST: Final = Schema(MaintenanceRequest)
_BOOT_DEVICE_REQUEST: Final = Schema(BootDeviceRequest)


class Maintenance:
    """PUT and DELETE /v1/nodes/{ident}/maintenance."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        reason = (_MAINTENANCE_REQUEST.read_optional(req) or MaintenanceRequest()).reason
        if reason is not None:
            checks.note("reason", reason, req.context.caller.minor)
        self._set(req, ident, {"maintenance": True, "maintenance_reason": reason})
        answers.accepted(resp)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        self._set(req, ident, {"maintenance": False, "maintenance_reason": None, "fault": None})
        answers.accepted(resp)

    def _set(self, req: falcon.Request, ident: str, wanted: dict[str, Any]) -> None:
        def rule(node: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in wanted.items() if node[name] != value}

        nodes.change(self._serving, req.context.caller, ident, rule)


class Validate:
    """GET /v1/nodes/{ident}/validate."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        answers.show(resp, _validated(self._serving, req.context.caller, ident))


class LegacyValidate:
    """GET /v1/nodes/validate?node=, which older clients use."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        caller: Caller = req.context.caller
        given = arguments.read(
            req, caller.minor, {"node_uuid": arguments.UUID, "node": Argument(arguments.text, since=NAMES_SINCE)}
        )
        if len(given) != 1:
            raise errors.Invalid(reason="Exactly one of the arguments node and node_uuid must name the node.")
        answers.show(resp, _validated(self._serving, caller, next(iter(given.values()))))


class BootDeviceState:
    """GET and PUT /v1/nodes/{ident}/management/boot_device."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        answers.show(resp, ask(self._serving, req.context.caller, ident, boot.get_boot_device))

    def on_put(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        wanted = _BOOT_DEVICE_REQUEST.read(req)
        if wanted.boot_device not in set(BootDevice):
            raise errors.Invalid(
                reason=f"boot_device cannot be {wanted.boot_device!r}; allowed are: {', '.join(BootDevice)}."
            )
        persistent = arguments.boolean("persistent", wanted.persistent)
        device = BootDevice(wanted.boot_device)
        ask(self._serving, req.context.caller, ident, boot.set_boot_device, device, persistent)
        answers.done(resp)


class BootDevices:
    """GET /v1/nodes/{ident}/management/boot_device/supported."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def on_get(self, req: falcon.Request, resp: falcon.Response, ident: str) -> None:
        arguments.refuse(req)
        devices = ask(self._serving, req.context.caller, ident, boot.supported_boot_devices)
        answers.show(resp, {"supported_boot_devices": devices})


def ask(
    serving: Serving,
    caller: Caller,
    ident: str,
    method: Method[Any, Concatenate[str, P], R],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """What the node's conductor answers to a question about the node, or to an order."""
    node = find(serving, caller, ident, OWNED_BY)
    owner = serving.members.owner(node.uuid, node.driver, node.conductor_group)
    return serving.conductors.call(owner, method, node.uuid, *args, **kwargs)


def _validated(serving: Serving, caller: Caller, ident: str) -> dict[str, dict[str, Any]]:
    found = ask(serving, caller, ident, validation.validate_interfaces)
    return {
        kind: {"result": one.result} | ({} if one.reason is None else {"reason": one.reason})
        for kind, one in found.items()
    }
