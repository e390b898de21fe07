"""What a simulated BMC does at each IPMI command, by network function and number: code and data of the response."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Final

from ironic_lite.fleet.device import Device
from ironic_lite.fleet.ipmi import records
from ironic_lite.fleet.machine import BootEnabled, BootMode, BootSource, Power, Reset, StandbyError

OK, BUSY, UNSPECIFIED = 0x00, 0xC0, 0xFF
INVALID_COMMAND, OUT_OF_RANGE, BAD_LENGTH, NOT_PRESENT, BAD_FIELD = 0xC1, 0xC9, 0xC7, 0xCB, 0xCC
NOT_NOW, CANNOT_RETURN, UNSUPPORTED_PARAMETER = 0xD5, 0xCA, 0x80
CHASSIS, SENSOR, APPLICATION, STORAGE = 0x00, 0x04, 0x06, 0x0A
CLOSE_SESSION: Final = (APPLICATION, 0x3C)
READING: Final = (SENSOR, 0x2D)

Answer = tuple[int, bytes]
Handler = Callable[[Device, bytes], Answer]

_CONTROLS: Final = {
    0: Reset.FORCE_OFF,
    1: Reset.ON,
    2: Reset.POWER_CYCLE,
    3: Reset.FORCE_RESTART,
    4: Reset.NMI,
    5: Reset.GRACEFUL_SHUTDOWN,
}
_BOOT_FLAGS: Final = 5
_BOOT_CODES: Final = {
    0x0: BootSource.NONE,
    0x1: BootSource.PXE,
    0x2: BootSource.HDD,
    0x5: BootSource.CD,
    0x6: BootSource.BIOS_SETUP,
    0xF: BootSource.USB,
}
_CODES: Final = {source: code for code, source in _BOOT_CODES.items()} | {BootSource.UEFI_HTTP: 0x1}
_VALID, _LASTING, _UEFI = 0x80, 0x40, 0x20  # bits of the first byte of the boot flags
# Device 0x20, firmware 1.0, IPMI 2.0, sensors, records, chassis; the manufacturer 0 is unspecified.
_DEVICE_ID: Final = bytes.fromhex("20 01 01 00 02 83 000000 0000 00000000")
_REPOSITORY_BORN: Final = struct.pack("<II", 0x60000000, 0x60000000)
_CIPHER_SUITES: Final = bytes.fromhex("c0 03 01 41 81  c0 11 03 44 81")
_CHUNK: Final = 16  # Get Channel Cipher Suites tells so many bytes a time


def run(bmc: Device, network: int, command: int, data: bytes) -> Answer:
    """Carry a command out: its completion code and what the response holds."""
    handler = COMMANDS.get((network, command))
    if handler is None:
        return INVALID_COMMAND, b""
    _ = bmc.machine.power  # catches up with what has changed since: a boot may have used up the boot device
    try:
        return handler[1](bmc, data)
    except (IndexError, struct.error):
        return BAD_LENGTH, b""


def name(network: int, command: int) -> str:
    """What a command is counted as."""
    known = COMMANDS.get((network, command))
    return known[0] if known is not None else "unknown"


def _chassis_status(bmc: Device, _data: bytes) -> Answer:
    on = bmc.shown_power in {Power.ON, Power.POWERING_OFF}  # one bit: it moves when the change is done
    return OK, bytes((0x60 | on, 0x00, 0x40, 0x70))


def _chassis_control(bmc: Device, data: bytes) -> Answer:
    kind = _CONTROLS.get(data[0] & 0x0F)
    if kind is None:
        return BAD_FIELD, b""
    try:
        bmc.change_power(kind)
    except StandbyError:
        return NOT_NOW, b""
    return OK, b""


def _set_boot_options(bmc: Device, data: bytes) -> Answer:
    if data[0] & 0x7F != _BOOT_FLAGS:
        return OK, b""  # acknowledgements and the like: taken, and without effect here
    flags, device = data[1], _BOOT_CODES.get(data[2] >> 2 & 0x0F)
    if device is None:
        return BAD_FIELD, b""
    machine = bmc.machine
    wanted = flags & _VALID and device is not BootSource.NONE
    machine.boot_source = device if wanted else BootSource.NONE
    lasting = BootEnabled.CONTINUOUS if flags & _LASTING else BootEnabled.ONCE
    machine.boot_enabled = lasting if wanted else BootEnabled.DISABLED
    machine.boot_mode = BootMode.UEFI if flags & _UEFI else BootMode.LEGACY
    return OK, b""


def _get_boot_options(bmc: Device, data: bytes) -> Answer:
    parameter = data[0] & 0x7F
    if parameter != _BOOT_FLAGS:
        return UNSUPPORTED_PARAMETER, b""
    machine = bmc.machine
    flags = 0 if machine.boot_enabled is BootEnabled.DISABLED else _VALID
    flags |= _LASTING if machine.boot_enabled is BootEnabled.CONTINUOUS else 0
    flags |= _UEFI if machine.boot_mode is BootMode.UEFI else 0
    return OK, bytes((1, parameter, flags, _CODES[machine.boot_source] << 2, 0, 0, 0))


def _privilege(_bmc: Device, data: bytes) -> Answer:
    return OK, bytes((data[0] or 0x04,))  # 0 asks for the present one: there is only the administrator


def _guid(bmc: Device, _data: bytes) -> Answer:
    return OK, guid(bmc)


def guid(bmc: Device) -> bytes:
    """The UUID of the machine, as SMBIOS orders its bytes."""
    return uuid.UUID(bmc.identity.uuid).bytes_le


def _authentication(_bmc: Device, _data: bytes) -> Answer:
    # Channel 1, extended capabilities, no authentication type of IPMI 1.5, users with names, IPMI 2.0 alone.
    return OK, bytes((0x01, 0x80, 0x04, 0x02, 0, 0, 0, 0))


def _cipher_suites(_bmc: Device, data: bytes) -> Answer:
    start = (data[2] & 0x3F) * _CHUNK
    return OK, b"\x01" + _CIPHER_SUITES[start : start + _CHUNK]


def _repository(_bmc: Device, _data: bytes) -> Answer:
    head = struct.pack("<BHH", records.VERSION, len(records.RECORDS), 0xFFFF)
    return OK, head + _REPOSITORY_BORN + b"\x02"


def _reserve(_bmc: Device, _data: bytes) -> Answer:
    return OK, b"\x01\x00"


def _get_record(_bmc: Device, data: bytes) -> Answer:
    number, offset, count = struct.unpack_from("<HBB", data, 2)
    index = max(number, 1) - 1
    if index >= len(records.RECORDS):
        return NOT_PRESENT, b""
    record = records.RECORDS[index]
    if offset > len(record):
        return OUT_OF_RANGE, b""
    following = index + 2 if index + 1 < len(records.RECORDS) else records.LAST_RECORD
    return OK, struct.pack("<H", following) + record[offset : offset + count]


def _reading(bmc: Device, data: bytes) -> Answer:
    number = data[0]
    if not 1 <= number <= len(records.SENSORS):
        return NOT_PRESENT, b""
    raw = records.raw_values(bmc.readings())[number - 1]
    return OK, bytes((raw, 0xC0, records.SENSORS[number - 1].state(raw)))


def _thresholds(_bmc: Device, data: bytes) -> Answer:
    if not 1 <= data[0] <= len(records.SENSORS):
        return NOT_PRESENT, b""
    return OK, records.SENSORS[data[0] - 1].thresholds()


def _constant(data: bytes) -> Handler:
    return lambda _bmc, _data: (OK, data)


# Every command: the name that it is counted as, and what it does.
COMMANDS: Final[dict[tuple[int, int], tuple[str, Handler]]] = {
    (CHASSIS, 0x00): ("chassis-capabilities", _constant(bytes((0, 0x20, 0x20, 0x20, 0x20)))),
    (CHASSIS, 0x01): ("chassis-status", _chassis_status),
    (CHASSIS, 0x02): ("chassis-control", _chassis_control),
    (CHASSIS, 0x04): ("identify", _constant(b"")),
    (CHASSIS, 0x08): ("set-boot-options", _set_boot_options),
    (CHASSIS, 0x09): ("get-boot-options", _get_boot_options),
    (SENSOR, 0x27): ("thresholds", _thresholds),
    READING: ("reading", _reading),
    (APPLICATION, 0x01): ("device-id", _constant(_DEVICE_ID)),
    (APPLICATION, 0x04): ("self-test", _constant(b"\x55\x00")),
    (APPLICATION, 0x37): ("guid", _guid),
    (APPLICATION, 0x38): ("authentication", _authentication),
    (APPLICATION, 0x3B): ("privilege", _privilege),
    CLOSE_SESSION: ("close-session", _constant(b"")),
    (APPLICATION, 0x54): ("cipher-suites", _cipher_suites),
    (STORAGE, 0x20): ("record-repository", _repository),
    (STORAGE, 0x22): ("reserve-records", _reserve),
    (STORAGE, 0x23): ("get-record", _get_record),
}
