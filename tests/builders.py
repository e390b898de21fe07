"""Rows and nodes for tests, complete but for what a test is about."""

from __future__ import annotations

from typing import Any

from ironic_lite.clock import new_uuid
from ironic_lite.db import nodes
from ironic_lite.db.engine import Database
from ironic_lite.domain.node import Node

_EMPTY = (
    "driver_info", "driver_internal_info", "clean_step", "deploy_step", "service_step", "raid_config",
    "target_raid_config", "instance_info", "properties", "extra", "network_data",
)  # fmt: skip
_FALSE = ("maintenance", "console_enabled", "protected", "retired", "disable_power_off")


def a_row(**given: Any) -> dict[str, Any]:
    """The values of a new node's row."""
    row: dict[str, Any] = {key: {} for key in _EMPTY} | dict.fromkeys(_FALSE, False)
    row |= {"uuid": new_uuid(), "driver": "fake-hardware", "conductor_group": "", "provision_state": "enroll"}
    return row | {"power_interface": "fake", "management_interface": "fake"} | given


def a_node(database: Database, **given: Any) -> Node:
    """A node that is in the database."""
    row = a_row(**given)
    nodes.insert(database, row)
    return nodes.get(database, row["uuid"])
