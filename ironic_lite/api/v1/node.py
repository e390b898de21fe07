"""What a node looks like from outside, and how nodes are found and listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from ironic_lite import errors
from ironic_lite.api import arguments, checks
from ironic_lite.api.arguments import Argument, choice
from ironic_lite.api.caller import Caller, links
from ironic_lite.api.collection import Collection, Filter
from ironic_lite.api.resource import Field, Resource, Scene, Write, constant, timestamp
from ironic_lite.api.serving import Serving
from ironic_lite.db import allocations, nodes, traits
from ironic_lite.db.tables import nodes as table
from ironic_lite.domain import names
from ironic_lite.domain.states import Fault, Provision

c: Final = table.c

# Paths take names from here on; before, a name is simply not found.
NAMES_SINCE: Final = 5

# The first version that can choose each kind of interface.
INTERFACES_SINCE: Final = {
    "network": 20, "boot": 31, "console": 31, "deploy": 31, "inspect": 31, "management": 31, "power": 31, "raid": 31,
    "vendor": 31, "storage": 33, "rescue": 38, "bios": 40, "firmware": 86,
}  # fmt: skip


def _no_chassis(field: str, value: Any, minor: int) -> None:
    raise errors.Invalid(reason=f"Chassis {checks.uuid(field, value, minor)} could not be found.")


def _interface(kind: str) -> Field:
    return Field(column=c[f"{kind}_interface"], since=INTERFACES_SINCE[kind], write=Write.ALWAYS, check=checks.word)


def _object(column: sa.Column[Any], *, since: int = 1, write: Write = Write.NEVER, secret: bool = False) -> Field:
    return Field(column=column, since=since, write=write, secret=secret, check=checks.mapping, absent={})


def _flag(column: sa.Column[Any], *, since: int = 1, write: Write) -> Field:
    return Field(column=column, since=since, write=write, check=checks.boolean, absent=False)


def _time(column: sa.Column[Any], *, since: int = 1, selectable: bool = True) -> Field:
    return Field(column=column, since=since, show=timestamp, selectable=selectable)


def _links(sub: str, *, since: int = 1) -> Field:
    def derive(scene: Scene, uuid: str) -> list[dict[str, str]]:
        return links(scene.base_url, f"nodes/{uuid}{sub}")

    return Field(since=since, selectable=False, derive=derive, needs=(c.uuid,))


def _conductor(scene: Scene, uuid: str, driver: str, group: str) -> str | None:
    owner = scene.ring.owner(uuid, driver, group)
    return owner.hostname if owner else None


def _allocation(_scene: Scene, uuid: str | None) -> str | None:
    return uuid


def _traits(_scene: Scene, told: list[str] | None) -> list[str]:
    return shown_traits(told)


def shown_traits(told: list[str] | None) -> list[str]:
    """Traits as answers show them; a database may say null for none."""
    return sorted(told or ())


class Node(Resource, noun="node"):
    """A node. The order is that of Ironic's answers."""

    uuid = Field(column=c.uuid, summary=True, write=Write.CREATE, check=checks.uuid)
    created_at = _time(c.created_at, selectable=False)
    updated_at = _time(c.updated_at, selectable=False)
    automated_clean = Field(column=c.automated_clean, since=47, write=Write.ALWAYS, check=checks.boolean)
    bios_interface = _interface("bios")
    boot_interface = _interface("boot")
    boot_mode = Field(column=c.boot_mode, since=75, write=Write.CREATE, check=checks.boot_mode)
    clean_step = _object(c.clean_step, since=7, secret=True)
    conductor_group = Field(
        column=c.conductor_group, since=46, write=Write.ALWAYS, check=checks.conductor_group, absent=""
    )
    console_enabled = _flag(c.console_enabled, write=Write.CREATE)
    console_interface = _interface("console")
    disable_power_off = _flag(c.disable_power_off, since=95, write=Write.ALWAYS)
    deploy_interface = _interface("deploy")
    deploy_step = _object(c.deploy_step, since=44, secret=True)
    description = Field(column=c.description, since=51, write=Write.ALWAYS, check=checks.note)
    driver = Field(column=c.driver, write=Write.ALWAYS, check=checks.word, required=True)
    driver_info = _object(c.driver_info, write=Write.ALWAYS, secret=True)
    driver_internal_info = _object(c.driver_internal_info, since=3, secret=True)
    extra = _object(c.extra, write=Write.ALWAYS)
    fault = Field(column=c.fault, since=42)
    firmware_interface = _interface("firmware")
    health = Field(column=c.health, since=109)
    inspection_finished_at = _time(c.inspection_finished_at, since=6)
    inspection_started_at = _time(c.inspection_started_at, since=6)
    inspect_interface = _interface("inspect")
    instance_info = _object(c.instance_info, write=Write.ALWAYS, secret=True)
    instance_name = Field(column=c.instance_name, since=104, write=Write.ALWAYS, check=checks.word)
    instance_uuid = Field(column=c.instance_uuid, summary=True, write=Write.ALWAYS, check=checks.uuid)
    last_error = Field(column=c.last_error)
    lessee = Field(column=c.lessee, since=65, write=Write.ALWAYS, check=checks.word)
    maintenance = Field(column=c.maintenance, summary=True, write=Write.ALWAYS, check=checks.boolean, absent=False)
    maintenance_reason = Field(column=c.maintenance_reason)
    management_interface = _interface("management")
    name = Field(column=c.name, since=5, summary=True, write=Write.ALWAYS, check=checks.node_name, nullable=False)
    network_data = Field(column=c.network_data, since=66, write=Write.ALWAYS, check=checks.network_data, absent={})
    network_interface = _interface("network")
    owner = Field(column=c.owner, since=50, write=Write.ALWAYS, check=checks.word)
    parent_node = Field(column=c.parent_node, since=83, write=Write.ALWAYS, check=checks.word)
    power_interface = _interface("power")
    power_state = Field(column=c.power_state, summary=True)
    properties = _object(c.properties, write=Write.ALWAYS)
    protected = _flag(c.protected, since=48, write=Write.PATCH)
    protected_reason = Field(column=c.protected_reason, since=48, write=Write.PATCH, check=checks.note)
    provision_state = Field(
        column=c.provision_state,
        summary=True,
        before=((2, Provision.AVAILABLE, None), (39, Provision.INSPECT_WAIT, Provision.INSPECTING)),
    )
    provision_updated_at = _time(c.provision_updated_at)
    raid_config = _object(c.raid_config, since=12)
    raid_interface = _interface("raid")
    rescue_interface = _interface("rescue")
    reservation = Field(column=c.reservation)
    resource_class = Field(column=c.resource_class, since=21, write=Write.ALWAYS, check=checks.text(80))
    retired = _flag(c.retired, since=61, write=Write.ALWAYS)
    retired_reason = Field(column=c.retired_reason, since=61, write=Write.ALWAYS, check=checks.note)
    secure_boot = Field(column=c.secure_boot, since=75, write=Write.CREATE, check=checks.boolean)
    service_step = _object(c.service_step, since=87, secret=True)
    shard = Field(column=c.shard, since=82, write=Write.ALWAYS, check=checks.word)
    storage_interface = _interface("storage")
    target_power_state = Field(column=c.target_power_state)
    target_provision_state = Field(column=c.target_provision_state)
    target_raid_config = _object(c.target_raid_config, since=12)
    traits = Field(since=37, derive=_traits, needs=(traits.OF_NODE,))
    vendor_interface = _interface("vendor")
    links = _links("")
    conductor = Field(since=49, derive=_conductor, needs=(c.uuid, c.driver, c.conductor_group))
    allocation_uuid = Field(since=52, derive=_allocation, needs=(allocations.OF_NODE,))
    chassis_uuid = constant(None, write=Write.ALWAYS, check=_no_chassis)
    ports = _links("/ports")
    states = _links("/states", since=14)
    portgroups = _links("/portgroups", since=24)
    volume = _links("/volume", since=32)


class NodeStates(Resource, noun="node"):
    """What GET .../states shows of a node."""

    console_enabled = Node.console_enabled
    last_error = Node.last_error
    power_state = Node.power_state
    provision_state = Node.provision_state
    target_power_state = Node.target_power_state
    target_provision_state = Node.target_provision_state
    provision_updated_at = Node.provision_updated_at
    raid_config = Node.raid_config
    target_raid_config = Node.target_raid_config
    boot_mode = Node.boot_mode
    secure_boot = Node.secure_boot


def find(serving: Serving, caller: Caller, ident: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Row[Any]:
    """Those columns of the node with that UUID or name. Raises `NodeNotFound`, or `InvalidIdent` for nonsense."""
    if names.is_uuid(ident):
        return nodes.fetch(serving.database, names.uuid("node", ident), columns)
    if caller.minor < NAMES_SINCE:
        raise errors.NodeNotFound(node=ident)
    if not names.is_name(ident, caller.minor):
        raise errors.InvalidIdent(ident=ident)
    try:
        return nodes.fetch(serving.database, ident, columns)
    except errors.NodeNotFound:
        if ident != caller.stripped:
            raise
    return nodes.fetch(serving.database, f"{ident}.json", columns)  # a node may really be called that


def _equal(column: sa.Column[Any], argument: Argument) -> Filter:
    return Filter(argument, lambda _serving, value: column == value)


def _present(column: sa.Column[Any], since: int = 1) -> Filter:
    def where(_serving: Serving, wanted: bool) -> sa.ColumnElement[bool]:  # noqa: FBT001  # the argument's value
        return column.is_not(None) if wanted else column.is_(None)

    return Filter(Argument(arguments.boolean, since=since), where)


def _parent(serving: Serving, ident: str) -> sa.ColumnElement[bool]:
    parent: sa.ColumnElement[bool] = c.parent_node == nodes.fetch(serving.database, ident, (c.uuid,)).uuid
    return parent


def _without_children(given: Mapping[str, Any]) -> Sequence[sa.ColumnElement[Any]]:
    """Nodes that belong to another node show only when somebody asks for them."""
    if given.get("include_children") or "parent_node" in given:
        return ()
    return (c.parent_node.is_(None),)


def _text(since: int = 1) -> Argument:
    return Argument(arguments.text, since=since)


_FLAG: Final = Argument(arguments.boolean)

FILTERS: Final[Mapping[str, Filter]] = {
    "instance_uuid": _equal(c.instance_uuid, arguments.UUID),
    "associated": _present(c.instance_uuid),
    "maintenance": _equal(c.maintenance, _FLAG),
    "provision_state": _equal(c.provision_state, Argument(choice(*Provision), since=9)),
    "driver": _equal(c.driver, _text(16)),
    "resource_class": _equal(c.resource_class, _text(21)),
    "fault": _equal(c.fault, Argument(choice(*Fault), since=42)),
    "conductor_group": Filter(_text(46), lambda _serving, value: c.conductor_group == value.lower()),
    "owner": _equal(c.owner, _text(50)),
    "lessee": _equal(c.lessee, _text(65)),
    "description_contains": Filter(_text(), lambda _serving, value: c.description.contains(value, autoescape=True)),
    "retired": _equal(c.retired, _FLAG),
    "shard": Filter(
        Argument(arguments.texts, since=82, repeats=True), lambda _serving, value: c.shard.in_(sorted(value))
    ),
    "sharded": _present(c.shard, since=82),
    "include_children": Filter(Argument(arguments.boolean, since=83), lambda _serving, _value: sa.true()),
    "parent_node": Filter(_text(83), _parent),
    "instance_name": _equal(c.instance_name, _text(104)),
}

COLLECTION: Final = Collection(
    name="nodes",
    resource=Node,
    source=table,
    id_column=c.id,
    marker=c.uuid,
    filters=FILTERS,
    always=_without_children,
)
