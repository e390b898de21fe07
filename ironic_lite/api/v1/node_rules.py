"""What a node may become: the rules on creating, changing and deleting one (Ironic's API reference, nodes)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ironic_lite import errors
from ironic_lite.api import versions
from ironic_lite.api.serving import Serving
from ironic_lite.api.v1.allocation_rules import removable
from ironic_lite.config import Bool, Section
from ironic_lite.db import nodes
from ironic_lite.db.tables import nodes as table
from ironic_lite.domain.node import INTERFACE_KINDS
from ironic_lite.domain.states import DELETABLE, PATCHABLE_ON_THE_WAY, REDRIVABLE, Provision

Values = dict[str, Any]
Stored = Mapping[str, Any]


class conf(Section, name="conductor"):
    """Rules on nodes."""

    allow_deleting_available_nodes = Bool(True, help="Whether a node in state available may be deleted.")


# The state in which a new node begins, by version.
BEGINS_IN: Final = {1: Provision.AVAILABLE, 11: Provision.ENROLL}
# States that refuse a PATCH from a version on, although they accept it before.
CLOSED_SINCE: Final = {Provision.INSPECTING: 39}
MAX_INSTANCE_NAME_CHARS: Final = 255
PROTECTABLE: Final = frozenset({Provision.ACTIVE, Provision.RESCUE})


def complete(serving: Serving, values: Values, minor: int) -> Values:
    """A new node's values with its interfaces, its state and what else no client sets."""
    if values["retired_reason"] is not None and not values["retired"]:
        raise errors.Invalid(reason="retired_reason can only be given for a node that is retired.")
    enabled = served_interfaces(serving, values["uuid"], values["driver"], values["conductor_group"])
    state = versions.as_of(minor, BEGINS_IN)
    return {
        **{column.name: {} for column in table.columns if column.name in _OBJECTS},
        "provision_state": state,
        "protected": False,
        **values,
        **_instance_name(values["instance_name"], values["instance_info"]),
        **{f"{kind}_interface": chosen(kind, values[f"{kind}_interface"], enabled) for kind in INTERFACE_KINDS},
        "parent_node": parent(serving, values["uuid"], values["parent_node"]),
    }


_OBJECTS: Final = frozenset(
    {"driver_internal_info", "clean_step", "deploy_step", "service_step", "raid_config", "target_raid_config"}
)


def served_interfaces(serving: Serving, uuid: str, driver: str, group: str) -> Mapping[str, list[str]]:
    """The enabled interfaces of the driver on the conductor that will own the node, by kind, default first.

    Raises `UnknownDriver` naming the drivers that are served, `Invalid` if none serves it in the group, or
    `NoConductor` if nobody serves anything now: then the same request may pass later.
    """
    ring = serving.members.current()
    owner = ring.owner(uuid, driver, group)
    if owner is not None:
        return owner.drivers[driver]
    if not ring.members:
        raise errors.NoConductor(driver=driver, group=group)
    if not ring.serving(driver):
        raise errors.UnknownDriver(driver=driver, served=", ".join(ring.drivers()) or "none")
    groups = ", ".join(repr(one.conductor_group) for one in ring.serving(driver))
    raise errors.Invalid(
        reason=f"No conductor of conductor_group {group!r} serves driver {driver!r}; groups that do are: {groups}."
    )


def chosen(kind: str, wanted: str | None, enabled: Mapping[str, list[str]]) -> str | None:
    """The interface of a kind: the wanted one if it is enabled, the default for none. Raises `Invalid`."""
    allowed = enabled.get(kind, [])
    if wanted is None:
        return next(iter(allowed), None)
    if wanted not in allowed:
        reason = f"{kind}_interface cannot be {wanted!r}; allowed are: {', '.join(allowed) or 'none'}."
        raise errors.Invalid(reason=reason)
    return wanted


def parent(serving: Serving, uuid: str, ident: str | None) -> str | None:
    """The UUID of the parent node. Raises `Invalid` if there is none, or the node would be its own."""
    if ident is None:
        return None
    try:
        found: str = nodes.fetch(serving.database, ident, (table.c.uuid,)).uuid
    except errors.NodeNotFound as exc:
        raise errors.Invalid(reason=f"parent_node cannot be {ident!r}: there is no such node.") from exc
    if found == uuid:
        raise errors.Invalid(reason=f"parent_node of node {uuid} cannot be the node itself.")
    return found


def open_to_patch(node: Stored, minor: int) -> None:
    """Raise `Conflict` for a node in a state that takes no changes, and `NodeLocked` for one that is held."""
    if node["reservation"] is not None:
        raise errors.NodeLocked(node=node["uuid"], host=node["reservation"], purpose=node["lock_purpose"])
    state = Provision(node["provision_state"])
    on_the_way = node["target_provision_state"] is not None and state not in PATCHABLE_ON_THE_WAY
    if on_the_way or minor >= CLOSED_SINCE.get(state, versions.MAX + 1):
        raise errors.Conflict(
            reason=f'Node {node["uuid"]} can not be updated while it is in state "{state}" on its way to another.'
        )


def followed_up(serving: Serving, node: Stored, changes: Values, *, reset_interfaces: bool) -> Values:
    """The changes of a PATCH with all that follows from them. Raises what forbids them."""
    for rule in (_instance, _protection, _retirement):
        rule(node, changes)
    follow = dict(changes)
    if "instance_name" not in changes:
        follow |= _instance_name(node["instance_name"], changes.get("instance_info", {}))
    if "parent_node" in changes:
        follow["parent_node"] = parent(serving, node["uuid"], changes["parent_node"])
    follow |= _interfaces(serving, node, changes, reset_interfaces=reset_interfaces)
    if changes.get("maintenance") is False:
        follow |= {"maintenance_reason": None, "fault": None}
    if changes.get("protected") is False:
        follow["protected_reason"] = None
    if changes.get("retired") is False:
        follow["retired_reason"] = None
    return follow


def _instance(node: Stored, changes: Values) -> None:
    if changes.get("instance_uuid") is not None and node["instance_uuid"] is not None:
        raise errors.NodeAssociated(node=node["uuid"], instance=node["instance_uuid"])
    if "instance_uuid" in changes and changes["instance_uuid"] is None and node["allocation_uuid"] is not None:
        removable(
            node["uuid"], node["provision_state"], node["target_provision_state"], maintenance=node["maintenance"]
        )


def _instance_name(name: str | None, instance_info: Mapping[str, Any]) -> Values:
    """An instance without a name is called by the display_name that Nova gives it."""
    display_name = instance_info.get("display_name")
    if name is not None or not isinstance(display_name, str) or not 0 < len(display_name) <= MAX_INSTANCE_NAME_CHARS:
        return {}
    return {"instance_name": display_name}


def _protection(node: Stored, changes: Values) -> None:
    state = node["provision_state"]
    if changes.get("protected") and state not in PROTECTABLE:
        raise errors.Conflict(
            reason=f"Node {node['uuid']} can only be made protected in provision states "
            f"{' or '.join(sorted(PROTECTABLE))}; its state is {state}."
        )
    if changes.get("protected_reason") is not None and not changes.get("protected", node["protected"]):
        raise errors.Invalid(reason=f"protected_reason can only be set on a protected node, and {node['uuid']} is not.")


def _retirement(node: Stored, changes: Values) -> None:
    if changes.get("retired") and node["provision_state"] == Provision.AVAILABLE:
        raise errors.Conflict(
            reason=f"Node {node['uuid']} can not be retired in state available; move it to manageable."
        )
    if changes.get("retired_reason") is not None and not changes.get("retired", node["retired"]):
        raise errors.Invalid(reason=f"retired_reason can only be set on a retired node, and {node['uuid']} is not.")


def _interfaces(serving: Serving, node: Stored, changes: Values, *, reset_interfaces: bool) -> Values:
    """The interfaces after a change of driver, group or interfaces: each must be enabled where the node will live."""
    touched = [name for name in changes if name == "driver" or name.endswith("_interface")]
    if not touched and "conductor_group" not in changes:
        return {}
    if touched and node["provision_state"] not in REDRIVABLE and not node["maintenance"]:
        raise errors.Conflict(
            reason=f"Node {node['uuid']} can not have {', '.join(sorted(touched))} updated in state "
            f"{node['provision_state']}; allowed are: {', '.join(sorted(REDRIVABLE))}, or maintenance mode."
        )
    after = {**node, **changes}
    enabled = served_interfaces(serving, node["uuid"], after["driver"], after["conductor_group"])
    kept: Stored = changes if reset_interfaces else after
    result = {f"{kind}_interface": chosen(kind, kept.get(f"{kind}_interface"), enabled) for kind in INTERFACE_KINDS}
    return {name: value for name, value in result.items() if value != node[name]}


def deletable(node: Stored) -> None:
    """Raise what forbids deleting the node: `Forbidden`, `NodeLocked`, `NodeAssociated` or `Conflict`."""
    if node["protected"]:
        raise protected(node["uuid"])
    if node["reservation"] is not None:
        raise errors.NodeLocked(node=node["uuid"], host=node["reservation"], purpose=node["lock_purpose"])
    if node["maintenance"]:
        return
    if node["instance_uuid"] is not None:
        raise errors.NodeAssociated(node=node["uuid"], instance=node["instance_uuid"])
    allowed = DELETABLE if conf.allow_deleting_available_nodes else DELETABLE - {Provision.AVAILABLE}
    if node["provision_state"] not in allowed:
        raise errors.Conflict(
            reason=f"Can not delete node {node['uuid']} in provision state {node['provision_state']}; allowed are: "
            f"{', '.join(sorted(allowed))}, or maintenance mode."
        )


def protected(uuid: str) -> errors.Forbidden:
    """The error of an action that would undo what protection keeps."""
    return errors.Forbidden(reason=f"Node {uuid} is protected and cannot be undeployed, rebuilt or deleted.")
