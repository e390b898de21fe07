"""What a simulated machine is made of, worked out from its serial number whenever somebody asks. Pure.

Nothing of it is kept: ten thousand machines differ, and take no more memory for that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

GIB: Final = 1024**3
GB: Final = 1000**3

BIOS_VERSION: Final = "2.4.1"
BMC_VERSION: Final = "1.0.0"
NIC_VERSION: Final = "22.31.6"

_SOCKETS: Final = (1, 2)
_CORES: Final = (16, 24, 32, 64)
_MODULES_GIB: Final = (16, 32, 64)
_MODULES: Final = 8
_DRIVES_GB: Final = (480, 960, 1920, 3840)
NICS: Final = 2
DRIVES: Final = 2


@dataclass(frozen=True, slots=True)
class Hardware:
    """The parts of one machine: the same each time for one serial number."""

    serial: str

    @property
    def sockets(self) -> int:
        """How many processors it has."""
        return _SOCKETS[self._drawn(0) % len(_SOCKETS)]

    @property
    def cores(self) -> int:
        """Cores of each processor, with two threads each."""
        return _CORES[self._drawn(1) % len(_CORES)]

    @property
    def modules_gib(self) -> tuple[int, ...]:
        """Its memory modules, in GiB."""
        return (_MODULES_GIB[self._drawn(2) % len(_MODULES_GIB)],) * _MODULES

    @property
    def drives_bytes(self) -> tuple[int, ...]:
        """The capacity of each drive."""
        return tuple(_DRIVES_GB[self._drawn(3 + index) % len(_DRIVES_GB)] * GB for index in range(DRIVES))

    @property
    def macs(self) -> tuple[str, ...]:
        """The address of each network port: locally administered, of 36 bits drawn and 4 that count the ports."""
        digits = f"02{self._digest().hex()[:9]}"
        return tuple(":".join(f"{digits}{port:x}"[at : at + 2] for at in range(0, 12, 2)) for port in range(NICS))

    def _drawn(self, which: int) -> int:
        return self._digest()[8 + which]

    def _digest(self) -> bytes:
        return hashlib.blake2b(self.serial.encode(), digest_size=16).digest()
