"""One poll of a machine on the I/O loop: one GET tells power, boot mode, health and who made it.

A BMC that leaves the boot mode out of the System, and names a settings resource, is asked for that too.

It says what `RedfishPower.read` says through sushy, field for field; `tests/drivers/test_redfish_poll.py` holds the two
against each other. What a BMC leaves out, or says in a word that Redfish does not have, is None; a document whose shape
is not a System's is an error.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sushy import exceptions as sushy_errors

from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootMode, Power
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.interfaces import Reading
from ironic_lite.drivers.redfish.account import Account, account
from ironic_lite.drivers.redfish.bmc import BMCS, Bmc
from ironic_lite.drivers.redfish.documents import Link, plain
from ironic_lite.drivers.redfish.exchange import Request
from ironic_lite.drivers.redfish.faults import CAUGHT, translated
from ironic_lite.drivers.redfish.http1 import BrokenAnswer, Response

# A machine on its way counts as there; Paused and whatever else a BMC says are unknown.
STATES: Final = {"On": Power.ON, "PoweringOn": Power.ON, "Off": Power.OFF, "PoweringOff": Power.OFF}
BOOT_MODES: Final = {"UEFI": BootMode.UEFI, "Legacy": BootMode.BIOS}
HEALTHS: Final = ("OK", "Warning", "Critical")


class Target(msgspec.Struct, frozen=True):
    """A node as a poll needs it: made once for each driver_info, polled many times."""

    label: str
    account: Account
    system: str | None

    @classmethod
    def of(cls, node: Node) -> Target:
        """Raises `InvalidDriverInfo` with every problem."""
        known = account(node)
        return cls(node.label, msgspec.structs.replace(known, system=None), known.system)

    @property
    def address(self) -> str:
        """Which BMC it is."""
        return self.account.address


class _Boot(msgspec.Struct):
    mode: Any = msgspec.field(default=None, name="BootSourceOverrideMode")


class _Status(msgspec.Struct):
    health: Any = msgspec.field(default=None, name="Health")


class _Settings(msgspec.Struct, rename="pascal"):
    settings_object: Link | None = None


class _System(msgspec.Struct, rename="pascal"):
    id: Any
    power_state: Any = None
    boot: _Boot | None = None
    status: _Status | None = None
    manufacturer: Any = None
    settings: _Settings | None = msgspec.field(default=None, name="@Redfish.Settings")


class _Pending(msgspec.Struct, rename="pascal"):
    """The settings resource of a System: what BMCs put there that leave it out of the System."""

    boot: _Boot | None = None


class _Root(msgspec.Struct, rename="pascal"):
    systems: Link


class _Collection(msgspec.Struct, rename="pascal"):
    members: list[Link]


_SYSTEM: Final = msgspec.json.Decoder(_System)
_PENDING: Final = msgspec.json.Decoder(_Pending)
_ROOT: Final = msgspec.json.Decoder(_Root)
_COLLECTION: Final = msgspec.json.Decoder(_Collection)


async def poll(target: Target, deadline: Deadline) -> Reading:
    """Ask the BMC once. Raises the `BMC...` errors, by the deadline."""
    bmc = BMCS.get(target.account)
    try:
        path = target.system or bmc.system or await only_system(bmc, target.account, Rank.POWER, deadline)
        answer = await bmc.ask(target.account, Request("GET", path), Rank.POWER, deadline)
        system = _SYSTEM.decode(_document(answer, path))
        reading = _reading(system)
        if reading.boot_mode is None and system.boot and system.settings and system.settings.settings_object:
            mode = await _pending_mode(bmc, target.account, system.settings.settings_object.path, deadline)
            reading = msgspec.structs.replace(reading, boot_mode=mode)
    except CAUGHT as exc:
        if isinstance(exc, sushy_errors.ResourceNotFoundError):
            bmc.system = None
        raise translated(target.label, target.account, exc) from exc
    return reading


def _reading(system: _System) -> Reading:
    health = system.status.health if system.status else None
    return Reading(
        power=_known(STATES, system.power_state),
        boot_mode=_known(BOOT_MODES, system.boot.mode) if system.boot else None,
        health=health if health in HEALTHS else None,
        vendor=system.manufacturer,
    )


def _known(words: dict[str, Any], said: Any) -> Any:
    return words.get(said) if isinstance(said, str) else None


def _document(response: Response, path: str) -> bytes:
    if response.status_code != 200:
        sushy_errors.raise_for_response("GET", path, response)
    return plain(response.content)


async def _pending_mode(bmc: Bmc, account: Account, path: str, deadline: Deadline) -> BootMode | None:
    """The boot mode where some BMCs keep it. One more GET; what goes wrong with it says nothing of the machine."""
    response = await bmc.ask(account, Request("GET", path), Rank.POWER, deadline)
    try:
        boot = _PENDING.decode(plain(response.content)).boot if response.status_code == 200 else None
    except ValueError:
        return None
    return _known(BOOT_MODES, boot.mode) if boot else None


async def only_system(bmc: Bmc, account: Account, rank: Rank, deadline: Deadline) -> str:
    """The path of the machine of a BMC that has one; remembered."""
    answer = await bmc.ask(account, Request("GET", account.root), rank, deadline)
    path = _ROOT.decode(_document(answer, account.root)).systems.path
    answer = await bmc.ask(account, Request("GET", path), rank, deadline)
    collection = _COLLECTION.decode(_document(answer, path))
    if len(collection.members) != 1:
        raise BrokenAnswer(f"it has {len(collection.members)} Systems; set redfish_system_id in driver_info")
    bmc.system = collection.members[0].path
    return bmc.system
