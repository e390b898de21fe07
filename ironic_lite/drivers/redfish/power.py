"""Power through Redfish: one GET tells it, one POST changes it."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, Final

import sushy
from sushy import exceptions as sushy_errors
from sushy.resources.system import system as sushy_system

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.events import Subscriber
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.interfaces import Attempt, Reading, Subscribed
from ironic_lite.drivers.redfish import client, events, poll
from ironic_lite.drivers.redfish.account import PROPERTIES, account
from ironic_lite.drivers.settling import settle

STATES: Final = {sushy.PowerState(word): power for word, power in poll.STATES.items()}
BOOT_MODES: Final = {sushy.BootSourceOverrideMode(word): mode for word, mode in poll.BOOT_MODES.items()}

Step = tuple[sushy.ResetType, Power]
ON: Final[Step] = (sushy.ResetType.ON, Power.ON)
OFF: Final[Step] = (sushy.ResetType.FORCE_OFF, Power.OFF)
SOFT_OFF: Final[Step] = (sushy.ResetType.GRACEFUL_SHUTDOWN, Power.OFF)
RESTART: Final[Step] = (sushy.ResetType.FORCE_RESTART, Power.ON)
SOFT_RESTART: Final[Step] = (sushy.ResetType.GRACEFUL_RESTART, Power.ON)

# What to do about a machine that is on: the first way of which the System offers every step.
WAYS: Final[dict[PowerTarget, tuple[tuple[Step, ...], ...]]] = {
    PowerTarget.ON: ((),),
    PowerTarget.OFF: ((OFF,),),
    PowerTarget.SOFT_OFF: ((SOFT_OFF,),),
    PowerTarget.REBOOT: ((RESTART,), (OFF, ON)),
    PowerTarget.SOFT_REBOOT: ((SOFT_RESTART,), (SOFT_OFF, ON)),
}
REFUSALS: Final = (400, 409)


class RedfishPower:
    """The power interface of the hardware type `redfish`."""

    targets = frozenset(PowerTarget)
    properties = PROPERTIES

    def check(self, node: Node) -> None:
        account(node)

    def read(self, node: Node, deadline: Deadline) -> Reading:
        with client.visit(node, deadline, rank=Rank.POWER) as system:
            return Reading(
                power=STATES.get(system.power_state),
                boot_mode=BOOT_MODES.get(system.boot.mode) if system.boot else None,
                health=system.status.health.value if system.status and system.status.health else None,
                vendor=system.manufacturer,
            )

    def target(self, node: Node) -> poll.Target:
        return poll.Target.of(node)

    async def keep_subscription(self, target: poll.Target, subscriber: Subscriber, deadline: Deadline) -> Subscribed:
        return await events.keep(target, subscriber, deadline)

    def poll(self, target: poll.Target, deadline: Deadline) -> Coroutine[Any, Any, Reading]:
        return poll.poll(target, deadline)

    def change(self, node: Node, target: PowerTarget, attempt: Attempt) -> Iterator[float]:
        with client.visit(node, attempt.deadline) as system:
            steps = _steps(node, target, system)
        for reset, wanted in steps:
            attempt.report(f"Sending {reset.value}.")
            self._press(node, reset, wanted, attempt)
            yield from settle(node, target, wanted, attempt, lambda deadline: self.read(node, deadline).power)

    def close_all(self, deadline: Deadline) -> None:
        """Log out of every BMC."""
        client.close_all(deadline)

    def _press(self, node: Node, reset: sushy.ResetType, wanted: Power, attempt: Attempt) -> None:
        """Send the reset once. A BMC that refuses it because the machine is there already has done what was asked."""
        restart = (reset, wanted) in (RESTART, SOFT_RESTART)
        with client.visit(node, attempt.deadline, attempt.permit) as system:
            try:
                system.reset_system(reset)
            except sushy_errors.HTTPError as exc:
                if exc.status_code not in REFUSALS or restart:
                    raise
                system.invalidate()
                system.refresh(force=False)
                if STATES.get(system.power_state) != wanted:
                    raise


def _steps(node: Node, target: PowerTarget, system: sushy_system.System) -> tuple[Step, ...]:
    """What to send to a machine that is as it is now."""
    if STATES.get(system.power_state) != Power.ON:
        # Off, or unknown: then "on" and "off" are still sent as asked.
        off = STATES.get(system.power_state) == Power.OFF
        ways = ((ON,),) if target.settles_as == Power.ON else ((),) if off else WAYS[target]
    else:
        ways = WAYS[target]
    offered = system.get_allowed_reset_system_values()
    for steps in ways:
        if all(reset in offered for reset, _ in steps):
            return steps
    raise errors.UnsupportedByDriver(
        interface="power",
        node=node.label,
        what=target.value,
        supported=", ".join(sorted(reset.value for reset in offered)),
    )
