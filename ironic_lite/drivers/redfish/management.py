"""Boot device, boot mode, secure boot, sensors, indicators and interrupts through Redfish."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sushy

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.indicators import Indicator, Light, Part
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, BootMode
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.interfaces import Attempt, BootChoice, Collected
from ironic_lite.drivers.redfish import client, collect, firmware_mode, lights, poll, sensors
from ironic_lite.drivers.redfish.account import PROPERTIES, account
from ironic_lite.drivers.redfish.quirks import boot_override
from ironic_lite.drivers.redfish.walk import Walk

SOURCES: Final = {
    BootDevice.PXE: sushy.BootSource.PXE,
    BootDevice.DISK: sushy.BootSource.HDD,
    BootDevice.CDROM: sushy.BootSource.CD,
    BootDevice.BIOS: sushy.BootSource.BIOS_SETUP,
    BootDevice.UEFIHTTP: sushy.BootSource.UEFI_HTTP,
}
DEVICES: Final = {source: device for device, source in SOURCES.items()} | {sushy.BootSource.USB_CD: BootDevice.CDROM}
PERSISTENT: Final = {
    sushy.BootSourceOverrideEnabled.CONTINUOUS: True,
    sushy.BootSourceOverrideEnabled.ONCE: False,
}


class RedfishManagement:
    """The management interface of the hardware type `redfish`."""

    properties = PROPERTIES

    def check(self, node: Node) -> None:
        account(node)

    def boot_devices(self, node: Node, deadline: Deadline) -> list[BootDevice]:
        with client.visit(node, deadline) as system:
            offered = system.get_allowed_system_boot_source_values()
            return [device for device, source in SOURCES.items() if source in offered]

    def boot_device(self, node: Node, deadline: Deadline) -> BootChoice:
        with client.visit(node, deadline) as system:
            boot = system.boot
            if boot is None or boot.enabled not in PERSISTENT:
                return BootChoice(boot_device=None, persistent=None)
            return BootChoice(boot_device=DEVICES.get(boot.target), persistent=PERSISTENT[boot.enabled])

    def set_boot_device(self, node: Node, choice: BootChoice, attempt: Attempt) -> None:
        enabled = (
            sushy.BootSourceOverrideEnabled.CONTINUOUS if choice.persistent else sushy.BootSourceOverrideEnabled.ONCE
        )
        with client.visit(node, attempt.deadline, attempt.permit) as system:
            offered = system.get_allowed_system_boot_source_values()
            supported = [device for device, source in SOURCES.items() if source in offered]
            if choice.boot_device is None or choice.boot_device not in supported:
                raise errors.UnsupportedByDriver(
                    interface="management",
                    node=node.label,
                    what=f"boot device {choice.boot_device}",
                    supported=", ".join(supported),
                )
            system.set_system_boot_options(**boot_override(system, SOURCES[choice.boot_device], enabled))

    @property
    def mode_change_s(self) -> int:
        return firmware_mode.change_s()

    def set_boot_mode(self, node: Node, mode: BootMode, attempt: Attempt) -> Iterator[float]:
        return firmware_mode.set_boot_mode(node, mode, attempt)

    def secure_boot(self, node: Node, deadline: Deadline) -> bool | None:
        return firmware_mode.secure_boot(node, deadline)

    def set_secure_boot(self, node: Node, on: bool, attempt: Attempt) -> Iterator[float]:  # noqa: FBT001  # the value
        return firmware_mode.set_secure_boot(node, on, attempt)

    def inject_nmi(self, node: Node, attempt: Attempt) -> None:
        with client.visit(node, attempt.deadline, attempt.permit) as system:
            offered = system.get_allowed_reset_system_values()
            if sushy.ResetType.NMI not in offered:
                raise errors.UnsupportedByDriver(
                    interface="management",
                    node=node.label,
                    what=sushy.ResetType.NMI.value,
                    supported=", ".join(sorted(reset.value for reset in offered)),
                )
            system.reset_system(sushy.ResetType.NMI)

    def indicators(self, node: Node, deadline: Deadline) -> list[Indicator]:
        with client.visit(node, deadline) as system:
            return lights.found(Walk(system))

    def indicator(self, node: Node, name: str, part: Part, deadline: Deadline) -> Light:
        with client.visit(node, deadline) as system:
            return lights.shown(Walk(system), node.label, name, part)

    def set_indicator(self, node: Node, name: str, part: Part, light: Light, attempt: Attempt) -> None:
        with client.visit(node, attempt.deadline, attempt.permit) as system:
            lights.show(Walk(system), node.label, name, part, light)

    def sensors(self, node: Node, deadline: Deadline) -> Collected:
        with client.visit(node, deadline, rank=Rank.SENSORS) as system:
            return sensors.collect(system, deadline)

    def target(self, node: Node) -> poll.Target:
        return poll.Target.of(node)

    async def collect(self, target: poll.Target, deadline: Deadline) -> Collected:
        return await collect.collect(target, deadline)
