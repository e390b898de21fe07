"""A node as read from its row: frozen, and the only thing that a driver gets to see."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ironic_lite.domain.states import BootMode, Fault, Power, Provision

INTERFACE_KINDS: Final = (
    "bios", "boot", "console", "deploy", "firmware", "inspect", "management", "network", "power", "raid", "rescue",
    "storage", "vendor",
)  # fmt: skip


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `nodes`, with the columns that the conductor and its drivers work with."""

    uuid: str
    name: str | None = None
    driver: str
    conductor_group: str = ""
    driver_info: dict[str, Any] = {}
    driver_internal_info: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    instance_uuid: str | None = None
    instance_info: dict[str, Any] = {}
    bios_interface: str | None = None
    boot_interface: str | None = None
    deploy_interface: str | None = None
    firmware_interface: str | None = None
    inspect_interface: str | None = None
    management_interface: str | None = None
    power_interface: str | None = None
    raid_interface: str | None = None
    rescue_interface: str | None = None
    vendor_interface: str | None = None
    power_state: Power | None = None
    target_power_state: Power | None = None
    provision_state: Provision = Provision.ENROLL
    target_provision_state: Provision | None = None
    provision_updated_at: datetime.datetime | None = None
    inspection_finished_at: datetime.datetime | None = None
    clean_step: dict[str, Any] = {}
    deploy_step: dict[str, Any] = {}
    service_step: dict[str, Any] = {}
    last_error: str | None = None
    maintenance: bool = False
    maintenance_reason: str | None = None
    fault: Fault | None = None
    automated_clean: bool | None = None
    protected: bool = False
    retired: bool = False
    disable_power_off: bool = False
    boot_mode: BootMode | None = None
    secure_boot: bool | None = None
    health: str | None = None
    reservation: str | None = None
    lock_id: str | None = None
    lock_purpose: str | None = None
    revision: int = 0

    @property
    def label(self) -> str:
        """How a sentence names the node: its name and UUID, or its UUID."""
        return labelled(self.name, self.uuid)

    def written(self, changes: Mapping[str, Any]) -> Node:
        """The node after one statement made these changes, but for columns that a `Node` does not carry."""
        known = {name: changes[name] for name in changes.keys() & FIELDS}
        return msgspec.structs.replace(self, **known, revision=self.revision + 1)


FIELDS: Final = Node.__struct_fields__


def labelled(name: str | None, uuid: str) -> str:
    """How a sentence names the node of that name and UUID."""
    return f"{name} ({uuid})" if name else uuid
