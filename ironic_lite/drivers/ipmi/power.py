"""Power through IPMI's chassis commands."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers.interfaces import Attempt, Reading
from ironic_lite.drivers.ipmi import client, poll
from ironic_lite.drivers.ipmi.account import PROPERTIES, account
from ironic_lite.drivers.ipmi.bmcs import BMCS
from ironic_lite.drivers.settling import settle

CHASSIS = 0x00
CONTROL = 0x02


class Control(enum.IntEnum):
    """The requests of Chassis Control (IPMI 2.0, table 28-4)."""

    OFF = 0
    ON = 1
    RESET = 3
    DIAGNOSTIC = 4  # a non-maskable interrupt
    SOFT_OFF = 5


SETTLES = {Control.OFF: Power.OFF, Control.SOFT_OFF: Power.OFF, Control.ON: Power.ON, Control.RESET: Power.ON}
# What to do about a machine that is on. Reset is for machines whose power must not be cut.
WAYS = {
    PowerTarget.ON: (),
    PowerTarget.OFF: (Control.OFF,),
    PowerTarget.SOFT_OFF: (Control.SOFT_OFF,),
    PowerTarget.REBOOT: (Control.OFF, Control.ON),
    PowerTarget.SOFT_REBOOT: (Control.SOFT_OFF, Control.ON),
}


class IPMIPower:
    """The power interface of the hardware type `ipmi`."""

    targets = frozenset(PowerTarget)
    properties = PROPERTIES

    def check(self, node: Node) -> None:
        account(node)

    def read(self, node: Node, deadline: Deadline) -> Reading:
        return poll.reading(client.status(node, deadline))

    def target(self, node: Node) -> poll.Target:
        return poll.Target.of(node)

    async def poll(self, target: poll.Target, deadline: Deadline) -> Reading:
        return await poll.poll(target, deadline)

    def change(self, node: Node, target: PowerTarget, attempt: Attempt) -> Iterator[float]:
        for control in _steps(node, target, self.read(node, attempt.deadline).power):
            attempt.report(f"Sending {control.name.lower().replace('_', ' ')}.")
            self._press(node, control, attempt)
            yield from settle(node, target, SETTLES[control], attempt, lambda deadline: self.read(node, deadline).power)

    def close_all(self, deadline: Deadline) -> None:
        """Log out of every BMC."""
        BMCS.close_all(deadline)

    def _press(self, node: Node, control: Control, attempt: Attempt) -> None:
        """Send the command once. Without an answer the machine's state tells whether it arrived, but for a reset."""
        with client.visit(node, attempt.deadline) as session:
            attempt.permit()
            answer = session.command(CHASSIS, CONTROL, bytes([control]))
            if answer is not None or control == Control.RESET:
                client.checked(answer)


def _steps(node: Node, target: PowerTarget, power: Power | None) -> tuple[Control, ...]:
    if power == Power.OFF:
        return (Control.ON,) if target.settles_as == Power.ON else ()
    if node.disable_power_off and target.always_acts:
        return (Control.RESET,)
    return WAYS[target]
