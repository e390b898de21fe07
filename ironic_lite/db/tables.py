"""The tables, with Ironic's columns where Ironic has them."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BigId: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER counts up by itself in SQLite


class Timestamp(sa.DateTime):
    """UTC without a zone, to the microsecond."""


@compiles(Timestamp, "mysql", "mariadb")
def _timestamp_mysql(_type: Timestamp, _compiler: Any, **_options: Any) -> str:
    return (
        "DATETIME(6)"  # DATETIME alone drops the fraction; by name, as MySQL's dialect is 1 MiB that others don't need
    )


class _Row(sa.TypedColumns):
    id = sa.Column(BigId, primary_key=True)
    created_at = sa.Column(Timestamp, nullable=False)
    updated_at = sa.Column(Timestamp, nullable=True)


# A name that two devices may have in different case: MySQL compares texts without it unless told otherwise.
_Exact: Final = sa.String(255).with_variant(sa.String(255, collation="utf8mb4_bin"), "mysql", "mariadb")


def _json() -> sa.Column[dict[str, Any]]:
    return sa.Column(sa.JSON, nullable=False)


class Nodes(_Row):
    """`revision` counts up at each change: a statement that names it changes nothing that it has not seen."""

    uuid = sa.Column(sa.String(36), nullable=False, unique=True)
    name = sa.Column(sa.String(255), nullable=True, unique=True)
    revision = sa.Column(sa.BigInteger, nullable=False, server_default="0")

    # The lock (conductor/locks.py): who, which hold of it, for what, since when on the database's clock.
    reservation = sa.Column(sa.String(255), nullable=True, index=True)
    lock_id = sa.Column(sa.String(36), nullable=True)
    lock_purpose = sa.Column(sa.String(64), nullable=True)
    lock_taken_at = sa.Column(Timestamp, nullable=True)

    driver = sa.Column(sa.String(255), nullable=False, index=True)
    driver_info = _json()
    driver_internal_info = _json()
    conductor_group = sa.Column(sa.String(255), nullable=False, index=True)
    bios_interface = sa.Column(sa.String(255), nullable=True)
    boot_interface = sa.Column(sa.String(255), nullable=True)
    console_interface = sa.Column(sa.String(255), nullable=True)
    deploy_interface = sa.Column(sa.String(255), nullable=True)
    firmware_interface = sa.Column(sa.String(255), nullable=True)
    inspect_interface = sa.Column(sa.String(255), nullable=True)
    management_interface = sa.Column(sa.String(255), nullable=True)
    network_interface = sa.Column(sa.String(255), nullable=True)
    power_interface = sa.Column(sa.String(255), nullable=True)
    raid_interface = sa.Column(sa.String(255), nullable=True)
    rescue_interface = sa.Column(sa.String(255), nullable=True)
    storage_interface = sa.Column(sa.String(255), nullable=True)
    vendor_interface = sa.Column(sa.String(255), nullable=True)

    power_state = sa.Column(sa.String(15), nullable=True)
    target_power_state = sa.Column(sa.String(15), nullable=True)
    boot_mode = sa.Column(sa.String(16), nullable=True)
    secure_boot = sa.Column(sa.Boolean, nullable=True)
    health = sa.Column(sa.String(32), nullable=True)

    provision_state = sa.Column(sa.String(15), nullable=False, index=True)
    target_provision_state = sa.Column(sa.String(15), nullable=True)
    provision_updated_at = sa.Column(Timestamp, nullable=True)
    inspection_started_at = sa.Column(Timestamp, nullable=True)
    inspection_finished_at = sa.Column(Timestamp, nullable=True)
    last_error = sa.Column(sa.Text, nullable=True)
    fault = sa.Column(sa.String(255), nullable=True)
    maintenance = sa.Column(sa.Boolean, nullable=False)
    maintenance_reason = sa.Column(sa.Text, nullable=True)
    console_enabled = sa.Column(sa.Boolean, nullable=False)
    clean_step = _json()
    deploy_step = _json()
    service_step = _json()
    raid_config = _json()
    target_raid_config = _json()

    instance_uuid = sa.Column(sa.String(36), nullable=True, unique=True)
    instance_name = sa.Column(sa.String(255), nullable=True)
    instance_info = _json()
    properties = _json()
    extra = _json()
    network_data = _json()
    resource_class = sa.Column(sa.String(80), nullable=True, index=True)
    automated_clean = sa.Column(sa.Boolean, nullable=True)
    protected = sa.Column(sa.Boolean, nullable=False)
    protected_reason = sa.Column(sa.Text, nullable=True)
    retired = sa.Column(sa.Boolean, nullable=False)
    retired_reason = sa.Column(sa.Text, nullable=True)
    owner = sa.Column(sa.String(255), nullable=True, index=True)
    lessee = sa.Column(sa.String(255), nullable=True, index=True)
    description = sa.Column(sa.Text, nullable=True)
    shard = sa.Column(sa.String(255), nullable=True, index=True)
    parent_node = sa.Column(sa.String(36), nullable=True, index=True)
    disable_power_off = sa.Column(sa.Boolean, nullable=False)


class Ports(_Row):
    """A network card of a node. `revision` as in `Nodes`."""

    uuid = sa.Column(sa.String(36), nullable=False, unique=True)
    revision = sa.Column(sa.BigInteger, nullable=False, server_default="0")
    address = sa.Column(sa.String(18), nullable=False, unique=True)
    name = sa.Column(sa.String(255), nullable=True, unique=True)
    node_id = sa.Column(BigId, sa.ForeignKey("nodes.id"), nullable=False, index=True)
    extra = _json()
    local_link_connection = _json()
    internal_info = _json()
    pxe_enabled = sa.Column(sa.Boolean, nullable=False)
    physical_network = sa.Column(sa.String(64), nullable=True)
    is_smartnic = sa.Column(sa.Boolean, nullable=False)
    description = sa.Column(sa.String(255), nullable=True)
    vendor = sa.Column(sa.String(32), nullable=True)
    category = sa.Column(sa.String(80), nullable=True)


class NodeTraits(sa.TypedColumns):
    """What a node can do. A trait goes with its node."""

    node_id = sa.Column(BigId, sa.ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    trait = sa.Column(sa.String(255), primary_key=True)


class Allocations(_Row):
    """A client's wish for a node, and since it was granted the node.

    That the node's `instance_uuid` is the allocation's UUID, so that a node has one allocation at most, holds by a
    foreign key: whoever clears `instance_uuid` removes the allocation first. `conductor_affinity` is who finds a node.
    `revision` as in `Nodes`.
    """

    uuid = sa.Column(sa.String(36), nullable=False, unique=True)
    revision = sa.Column(sa.BigInteger, nullable=False, server_default="0")
    name = sa.Column(sa.String(255), nullable=True, unique=True)
    node_id = sa.Column(BigId, nullable=True, unique=True)
    state = sa.Column(sa.String(15), nullable=False, index=True)
    last_error = sa.Column(sa.Text, nullable=True)
    resource_class = sa.Column(sa.String(80), nullable=True)
    owner = sa.Column(sa.String(255), nullable=True)
    traits = sa.Column(sa.JSON, nullable=False)
    candidate_nodes = sa.Column(sa.JSON, nullable=False)
    extra = _json()
    conductor_affinity = sa.Column(
        BigId, sa.ForeignKey("conductors.id", ondelete="SET NULL"), nullable=True, index=True
    )


class Conductors(_Row):
    """`updated_at` is the last heartbeat on the database's clock; `rpc_url` is where its JSON-RPC listens.

    `drivers` maps each enabled hardware type to its kinds of interface, each with its enabled names, default first.
    """

    hostname = sa.Column(sa.String(255), nullable=False, unique=True)
    rpc_url = sa.Column(sa.String(255), nullable=False)
    conductor_group = sa.Column(sa.String(255), nullable=False)
    drivers = _json()
    online = sa.Column(sa.Boolean, nullable=False)


class NodeHistory(_Row):
    """What happened to a node: each change of its provision state, and the end of each other piece of work.

    `state` and `target_provision_state` are the node's after it; `duration_seconds` is how long it had been in the
    state that it left.
    """

    uuid = sa.Column(sa.String(36), nullable=False, unique=True)
    node_id = sa.Column(BigId, sa.ForeignKey("nodes.id"), nullable=False, index=True)
    conductor = sa.Column(sa.String(255), nullable=True)
    event_type = sa.Column(sa.String(255), nullable=True)
    severity = sa.Column(sa.String(255), nullable=True)
    event = sa.Column(sa.Text, nullable=True)
    user = sa.Column(sa.String(64), nullable=True)
    project = sa.Column(sa.String(80), nullable=True)
    state = sa.Column(sa.String(15), nullable=True)
    target_provision_state = sa.Column(sa.String(15), nullable=True)
    duration_seconds = sa.Column(sa.Integer, nullable=True)


class BiosSettings(sa.TypedColumns):
    """A BIOS setting of a node as its BMC last told it, and what its registry says that it may be."""

    node_id = sa.Column(BigId, sa.ForeignKey("nodes.id"), primary_key=True, autoincrement=False)
    name = sa.Column(_Exact, primary_key=True)
    created_at = sa.Column(Timestamp, nullable=False)
    updated_at = sa.Column(Timestamp, nullable=True)
    value = sa.Column(sa.Text, nullable=True)
    attribute_type = sa.Column(sa.String(255), nullable=True)
    allowable_values = sa.Column(sa.JSON(none_as_null=True), nullable=True)
    lower_bound = sa.Column(sa.BigInteger, nullable=True)
    upper_bound = sa.Column(sa.BigInteger, nullable=True)
    min_length = sa.Column(sa.BigInteger, nullable=True)
    max_length = sa.Column(sa.BigInteger, nullable=True)
    read_only = sa.Column(sa.Boolean, nullable=True)
    reset_required = sa.Column(sa.Boolean, nullable=True)
    unique = sa.Column(sa.Boolean, nullable=True)


class FirmwareInformation(_Row):
    """A piece of firmware of a node: the version that was seen first, the one seen last, the one that came later."""

    node_id = sa.Column(BigId, sa.ForeignKey("nodes.id"), nullable=False)
    component = sa.Column(_Exact, nullable=False)
    initial_version = sa.Column(sa.String(255), nullable=False)
    current_version = sa.Column(sa.String(255), nullable=True)
    last_version_flashed = sa.Column(sa.String(255), nullable=True)
    vendor = sa.Column(sa.String(255), nullable=True)
    model = sa.Column(sa.String(255), nullable=True)
    serial_number = sa.Column(sa.String(255), nullable=True)


class NodeInventory(_Row):
    """What the last inspection of a node found, and what it left beside that."""

    node_id = sa.Column(BigId, sa.ForeignKey("nodes.id"), nullable=False, unique=True)
    inventory_data = _json()
    plugin_data = _json()


class ServiceKeys(_Row):
    """A secret that all processes of a cluster share, by what it is for."""

    name = sa.Column(sa.String(64), nullable=False, unique=True)
    secret = sa.Column(sa.String(64), nullable=False)


nodes: Final = sa.Table("nodes", metadata, Nodes)
# By what a conductor asks which nodes changed lately.
sa.Index("ix_nodes_updated_at", nodes.c.updated_at)
sa.Index("ix_nodes_created_at", nodes.c.created_at)
# What allocations refer to.
sa.Index("ix_nodes_id_instance_uuid", nodes.c.id, nodes.c.instance_uuid, unique=True)
ports: Final = sa.Table("ports", metadata, Ports)
node_traits: Final = sa.Table("node_traits", metadata, NodeTraits)
conductors: Final = sa.Table("conductors", metadata, Conductors)
allocations: Final = sa.Table(
    "allocations",
    metadata,
    Allocations,
    sa.ForeignKeyConstraint(["node_id", "uuid"], ["nodes.id", "nodes.instance_uuid"], ondelete="CASCADE"),
)
node_history: Final = sa.Table("node_history", metadata, NodeHistory)
bios_settings: Final = sa.Table("bios_settings", metadata, BiosSettings)
firmware_information: Final = sa.Table(
    "firmware_information", metadata, FirmwareInformation, sa.UniqueConstraint("node_id", "component")
)
node_inventory: Final = sa.Table("node_inventory", metadata, NodeInventory)
keys: Final = sa.Table("service_keys", metadata, ServiceKeys)
