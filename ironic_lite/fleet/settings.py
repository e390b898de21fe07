"""What a fleet is made of: how many BMCs of which kind, where, and how they behave."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ironic_lite.fleet.device import Credentials
from ironic_lite.fleet.latency import NONE, Latency
from ironic_lite.fleet.listeners import EACH_LISTENS_MAX, OWN_LISTENERS_MAX, addresses
from ironic_lite.fleet.outbox import RETRY_S
from ironic_lite.fleet.sessions import SLOTS, SLOTS_MAX

FIRST_ADDRESS: Final = "127.77.0.1"
SIZE_MAX: Final = 20000
PORT_MAX: Final = 65535


class SettingsError(ValueError):
    """Settings that make no fleet; the text is a whole sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`size` Redfish BMCs and then `ipmi_size` IPMI ones from `first_address` on; a port of 0 picks a free one.

    `ca_file` makes the Redfish ones speak TLS. `own_listeners` of a fleet whose BMCs share one listener have their own.
    """

    credentials: Credentials = field(repr=False)
    size: int
    ipmi_size: int = 0
    first_address: str = FIRST_ADDRESS
    port: int = 0
    ipmi_port: int = 0
    control_port: int = 0
    seed: int = 0
    power_delay_s: float = 0.0
    latency: Latency = NONE
    loss: float = 0.0
    session_slots: int = SLOTS
    own_listeners: int = 0
    event_retry_s: float = RETRY_S
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Raises `SettingsError`."""
        _within("The number of Redfish BMCs", self.size, 0, SIZE_MAX)
        _within("The number of IPMI BMCs", self.ipmi_size, 0, SIZE_MAX)
        for name, port in {"port": self.port, "IPMI port": self.ipmi_port, "control port": self.control_port}.items():
            _within(f"The {name}", port, 0, PORT_MAX)
        _within("The number of session slots", self.session_slots, 1, SLOTS_MAX)
        _within("The number of listeners of their own", self.own_listeners, 0, OWN_LISTENERS_MAX)
        _within("The power delay", self.power_delay_s, 0, 3600)
        _within("The interval of an event's retries", self.event_retry_s, 0, 3600)
        _within("The loss", self.loss, 0, 1)
        if self.port == PORT_MAX and self.own_listeners:
            raise SettingsError(f"The listeners of their own are on the port after {self.port}, which is none.")
        self.addresses()

    @property
    def listeners(self) -> int:
        """How many sockets the Redfish BMCs listen on."""
        return self.size if self.size <= EACH_LISTENS_MAX else self.own_listeners + 1

    def addresses(self) -> list[str]:
        """Where the BMCs are, the Redfish ones first. Raises `ValueError` when that is not all in 127.0.0.0/8."""
        return addresses(self.first_address, self.size + self.ipmi_size)


def _within(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{what} is from {low} to {high}, not {value}.")
