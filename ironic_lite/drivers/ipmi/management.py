"""Boot device and sensors through IPMI."""

from __future__ import annotations

from typing import Any, Final

from pyghmi import constants as pyghmi_constants
from pyghmi.ipmi import command as pyghmi_command
from pyghmi.ipmi.oem import generic

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootDevice, BootMode
from ironic_lite.drivers.interfaces import Attempt, BootChoice, Sensors
from ironic_lite.drivers.ipmi import client
from ironic_lite.drivers.ipmi.account import PROPERTIES, account
from ironic_lite.drivers.ipmi.session import Session

CHASSIS: Final = 0x00
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

STATUS: Final = (
    (pyghmi_constants.Health.Failed, "nr"),
    (pyghmi_constants.Health.Critical, "cr"),
    (pyghmi_constants.Health.Warning, "nc"),
)


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

    def sensors(self, node: Node, deadline: Deadline) -> Sensors:
        found: Sensors = {}
        with client.visit(node, deadline) as session:
            for number, reading in _readings(session):
                entry = _entry(number, reading)
                if entry:
                    found.setdefault(reading.type, {})[entry["Sensor ID"]] = entry
        return found


def boot_choice(options: bytes) -> BootChoice:
    """What the boot flags parameter says. Flags that are not marked valid are what is left of an earlier boot."""
    flags, device = options[2], options[3] & DEVICE
    if not flags & VALID or device not in DEVICES:
        return BootChoice(boot_device=None, persistent=None)
    return BootChoice(boot_device=DEVICES[device], persistent=bool(flags & PERSISTENT))


class _Commands(pyghmi_command.Command):  # type: ignore[misc]
    """pyghmi's commands over a session of ours, without its vendors' handlers, some of which turn to HTTPS."""

    def __init__(self, session: Session) -> None:
        self.ipmi_session, self.bmc = session, session.bmc
        self._sdr, self._sdrcachedir = None, None
        self._oem, self._oemknown = generic.OEMHandler(None, None), True


def _readings(session: Session) -> list[tuple[int, Any]]:
    """Each sensor's number and pyghmi's reading of it; sensors that the BMC does not answer for are left out."""
    commands = _Commands(session)
    repository = commands.init_sdr()
    found = []
    for key in repository.get_sensor_numbers():
        sensor = repository.sensors[key]
        answer = session.query(4, 0x2D, bytes([sensor.sensor_number]), rslun=sensor.sensor_lun)
        if "error" not in answer:
            found.append((sensor.sensor_number, sensor.decode_sensor_reading(commands, answer["data"])))
    return found


def _entry(number: int, reading: Any) -> dict[str, Any]:
    """A sensor as ipmitool's text has it; empty where there is nothing to read."""
    if reading.unavailable or (reading.value is None and not reading.states):
        return {}
    value = ", ".join(reading.states)
    if reading.value is not None:
        unit = "degrees C" if reading.units in ("°C", "C") else reading.units
        value = f"{reading.value:g} {unit or ''}".strip()
    status = next((text for health, text in STATUS if reading.health & health), "ok")
    return {"Sensor ID": f"{reading.name} (0x{number:02x})", "Sensor Reading": value, "Status": status}


def _boots_uefi(node: Node) -> bool:
    """Whether the machine boots UEFI, as its capabilities say; Ironic's default is UEFI."""
    capabilities = str(node.properties.get("capabilities") or "")
    pairs = dict(item.split(":", 1) for item in capabilities.split(",") if ":" in item)
    return pairs.get("boot_mode", BootMode.UEFI).strip() == BootMode.UEFI
