"""Versions of firmware through Redfish: of the BIOS, the BMC and the network adapters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ironic_lite.clock import Deadline
from ironic_lite.domain.firmware import BIOS, BMC, NIC, Component
from ironic_lite.domain.node import Node
from ironic_lite.drivers.redfish import client
from ironic_lite.drivers.redfish.account import PROPERTIES, account
from ironic_lite.drivers.redfish.walk import TEXT_LIMIT, Document, Walk, link, text


class RedfishFirmware:
    """The firmware interface of the hardware type `redfish`."""

    properties = PROPERTIES

    def check(self, node: Node) -> None:
        account(node)

    def components(self, node: Node, deadline: Deadline) -> list[Component]:
        with client.visit(node, deadline) as system:
            return list(_Versions(Walk(system)).components())


class _Versions:
    """A resource tells the version of its firmware itself, or else the UpdateService's list does."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk

    def components(self) -> Iterator[Component]:
        system = self._walk.system
        links = system.get("Links") or {}
        bios = text(system.get("BiosVersion")) or self._listed(link(system.get("Bios")))
        if bios:
            yield Component(BIOS, bios)
        for manager in self._walk.each((links.get("ManagedBy") or ())[:1]):
            version = text(manager.get("FirmwareVersion")) or self._listed(manager.get("@odata.id"))
            if version:
                yield _component(BMC, version, manager)
        for chassis in self._walk.each(links.get("Chassis")):
            for adapter in self._walk.members(chassis, "NetworkAdapters"):
                yield from self._of_adapter(adapter)

    def _of_adapter(self, adapter: Document) -> Iterator[Component]:
        """Named by its serial number, as in Ironic: its place may change."""
        controllers = adapter.get("Controllers") or [{}]
        version = text(controllers[0].get("FirmwarePackageVersion")) or self._listed(adapter.get("@odata.id"))
        if version:
            name = text(adapter.get("SerialNumber")) or text(adapter.get("Id"))
            yield _component(f"{NIC}{name}"[:TEXT_LIMIT], version, adapter)

    def _listed(self, path: str | None) -> str | None:
        return self._inventory.get(path) if path else None

    @cached_property
    def _inventory(self) -> dict[str, str]:
        """The version of what each resource runs, by its path; read only if somebody asks."""
        listed = self._walk.members(self._walk.under(self._walk.root, "UpdateService"), "FirmwareInventory")
        return {
            str(link(item)): version
            for one in listed
            if (version := text(one.get("Version"))) is not None
            for item in one.get("RelatedItem") or ()
        }


def _component(name: str, version: str, told: Document) -> Component:
    return Component(
        name,
        version,
        vendor=text(told.get("Manufacturer")),
        model=text(told.get("Model")),
        serial_number=text(told.get("SerialNumber")),
    )
