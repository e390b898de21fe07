"""Boot device, sensors and interrupts through IPMI, which knows neither boot modes nor indicators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.indicators import Indicator, Light, Part
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, BootMode
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.interfaces import Attempt, BootChoice, Collected
from ironic_lite.drivers.ipmi import client, sensors
from ironic_lite.drivers.ipmi.account import PROPERTIES, account
from ironic_lite.drivers.ipmi.power import CHASSIS, CONTROL, Control

SET_BOOT_OPTIONS: Final = 0x08
GET_BOOT_OPTIONS: Final = 0x09
# Parameters of the boot options, and the bits of boot flags (IPMI 2.0, table 28-14).
CLEARING: Final = 3
FLAGS: Final = 5
KEEP_AFTER_TIMEOUT: Final = 0x08
VALID: Final = 0x80
PERSISTENT: Final = 0x40
UEFI: Final = 0x20
DEVICE: Final = 0x3C

CODES: Final = {
    BootDevice.PXE: 0x04,
    BootDevice.DISK: 0x08,
    BootDevice.SAFE: 0x0C,
    BootDevice.CDROM: 0x14,
    BootDevice.BIOS: 0x18,
}
DEVICES: Final = {code: device for device, code in CODES.items()}


class IPMIManagement:
    """The management interface of the hardware type `ipmi`."""

    properties = PROPERTIES

    def check(self, node: Node) -> None:
        account(node)

    def boot_devices(self, node: Node, deadline: Deadline) -> list[BootDevice]:  # noqa: ARG002  # nothing is asked
        """What IPMI can say; a BMC cannot be asked which of these the machine has."""
        account(node)
        return list(CODES)

    def boot_device(self, node: Node, deadline: Deadline) -> BootChoice:
        with client.visit(node, deadline) as session:
            return boot_choice(client.checked(session.query(CHASSIS, GET_BOOT_OPTIONS, bytes([FLAGS, 0, 0]))))

    def set_boot_device(self, node: Node, choice: BootChoice, attempt: Attempt) -> None:
        if choice.boot_device not in CODES:
            raise errors.UnsupportedByDriver(
                interface="management",
                node=node.label,
                what=f"boot device {choice.boot_device}",
                supported=", ".join(CODES),
            )
        flags = VALID | (PERSISTENT if choice.persistent else 0) | (UEFI if _boots_uefi(node) else 0)
        # First that the choice outlives the 60 s after which BMCs forget it, as a machine may take longer to boot.
        options = (bytes([CLEARING, KEEP_AFTER_TIMEOUT]), bytes([FLAGS, flags, CODES[choice.boot_device], 0, 0, 0]))
        with client.visit(node, attempt.deadline) as session:
            for option in options:
                attempt.permit()
                client.checked(session.command(CHASSIS, SET_BOOT_OPTIONS, option))

    @property
    def mode_change_s(self) -> int:
        return 1

    def set_boot_mode(self, node: Node, mode: BootMode, attempt: Attempt) -> Iterator[float]:  # noqa: ARG002  # not IPMI's
        raise _unsupported(node, "a change of the boot mode")

    def secure_boot(self, node: Node, deadline: Deadline) -> bool | None:  # noqa: ARG002  # not IPMI's
        return None

    def set_secure_boot(self, node: Node, on: bool, attempt: Attempt) -> Iterator[float]:  # noqa: ARG002, FBT001  # not IPMI's
        raise _unsupported(node, "secure boot")

    def inject_nmi(self, node: Node, attempt: Attempt) -> None:
        with client.visit(node, attempt.deadline) as session:
            attempt.permit()
            client.checked(session.command(CHASSIS, CONTROL, bytes([Control.DIAGNOSTIC])))

    def indicators(self, node: Node, deadline: Deadline) -> list[Indicator]:  # noqa: ARG002  # not IPMI's
        raise _unsupported(node, "indicators")

    def indicator(self, node: Node, name: str, part: Part, deadline: Deadline) -> Light:  # noqa: ARG002  # not IPMI's
        raise _unsupported(node, "indicators")

    def set_indicator(self, node: Node, name: str, part: Part, light: Light, attempt: Attempt) -> None:  # noqa: ARG002
        raise _unsupported(node, "indicators")

    def sensors(self, node: Node, deadline: Deadline) -> Collected:
        known = account(node)
        with client.visit(node, deadline, Rank.SENSORS) as session:
            return sensors.collect(session, (known.host, known.port))


def boot_choice(options: bytes) -> BootChoice:
    """What the boot flags parameter says. Flags that are not marked valid are what is left of an earlier boot."""
    flags, device = options[2], options[3] & DEVICE
    if not flags & VALID or device not in DEVICES:
        return BootChoice(boot_device=None, persistent=None)
    return BootChoice(boot_device=DEVICES[device], persistent=bool(flags & PERSISTENT))


def _unsupported(node: Node, what: str) -> errors.UnsupportedByDriver:
    supported = "boot devices, sensors, interrupts"
    return errors.UnsupportedByDriver(interface="management", node=node.label, what=what, supported=supported)


def _boots_uefi(node: Node) -> bool:
    """Whether the machine boots UEFI, as its capabilities say; Ironic's default is UEFI."""
    capabilities = str(node.properties.get("capabilities") or "")
    pairs = dict(item.split(":", 1) for item in capabilities.split(",") if ":" in item)
    return pairs.get("boot_mode", BootMode.UEFI).strip() == BootMode.UEFI
