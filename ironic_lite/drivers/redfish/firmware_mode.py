"""Boot mode and secure boot of a Redfish machine: set, and seen to take effect.

Many machines take such a setting and show it only after they have booted: then they are restarted, as with Ironic, and
a machine that was off is switched off again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import sushy
from sushy import exceptions as sushy_errors
from sushy.resources.system import system as sushy_system

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import BootMode, Power, PowerTarget
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.redfish import client, poll
from ironic_lite.drivers.redfish.options import conf
from ironic_lite.drivers.redfish.power import RedfishPower
from ironic_lite.drivers.redfish.quirks import mode_override

MODES: Final = {mode: sushy.BootSourceOverrideMode(word) for word, mode in poll.BOOT_MODES.items()}
LOOK_S: Final = 15.0
# What the requests alone may take where nothing is waited for.
REQUESTS_S: Final = 60


def change_s() -> int:
    """Seconds that a change may take."""
    return conf.boot_mode_config_timeout or REQUESTS_S


def boot_mode(node: Node, deadline: Deadline) -> BootMode | None:
    """How the machine boots."""
    with client.visit(node, deadline) as system:
        return poll.BOOT_MODES.get(system.boot.mode.value) if system.boot and system.boot.mode else None


def set_boot_mode(node: Node, mode: BootMode, attempt: Attempt) -> Iterator[float]:
    """Have the machine boot so. Raises `SettingUnsettled`."""
    with client.visit(node, attempt.deadline, attempt.permit) as system:
        system.set_system_boot_options(**mode_override(system, MODES[mode]))
    yield from _settle(node, f'boot mode "{mode}"', attempt, lambda deadline: boot_mode(node, deadline) == mode)


def secure_boot(node: Node, deadline: Deadline) -> bool | None:
    """Whether secure boot is on; None for a machine that does not have it."""
    with client.visit(node, deadline) as system:
        found = _secure_boot(system)
        return None if found is None else found.enabled


def set_secure_boot(node: Node, on: bool, attempt: Attempt) -> Iterator[float]:  # noqa: FBT001  # the setting's value
    """Switch it. Raises `UnsupportedByDriver` for a machine that does not have it, and `SettingUnsettled`."""
    with client.visit(node, attempt.deadline, attempt.permit) as system:
        found = _secure_boot(system)
        if found is None:
            raise errors.UnsupportedByDriver(
                interface="management", node=node.label, what="secure boot", supported="boot mode"
            )
        found.set_enabled(on)
    wanted = f"secure boot {'on' if on else 'off'}"
    yield from _settle(node, wanted, attempt, lambda deadline: secure_boot(node, deadline) is on)


def _secure_boot(system: sushy_system.System) -> sushy_system.secure_boot.SecureBoot | None:
    try:
        return system.secure_boot
    except (sushy_errors.MissingAttributeError, sushy_errors.ResourceNotFoundError):
        return None


def _settle(node: Node, wanted: str, attempt: Attempt, shown: Callable[[Deadline], bool]) -> Iterator[float]:
    """End when the BMC shows what was set, or leave it to the next boot where the options say so."""
    if shown(attempt.deadline) or not conf.boot_mode_config_timeout:
        return
    attempt.report(f"Restarting the machine, as {wanted} does not show yet.")
    power = RedfishPower()
    was_off = power.read(node, attempt.deadline).power == Power.OFF
    yield from power.change(node, PowerTarget.REBOOT, attempt)
    while not shown(attempt.deadline):
        if attempt.deadline.left_s() <= LOOK_S:
            raise errors.SettingUnsettled(node=node.label, setting=wanted, timeout_s=round(attempt.deadline.timeout_s))
        yield LOOK_S
    if was_off:
        yield from power.change(node, PowerTarget.OFF, attempt)
