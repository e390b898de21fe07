"""One poll of a machine on the I/O loop: Get Chassis Status, by our own client.

It says what `IPMIPower.read` says, in the same words where it fails; `tests/drivers/test_ipmi_poll.py` holds the two
against each other. A BMC that the client does not understand is left to `read`, in a thread, for a day.
"""

from __future__ import annotations

import logging

import msgspec

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power
from ironic_lite.drivers.interfaces import NeedsThread, Reading
from ironic_lite.drivers.ipmi.account import Account, account
from ironic_lite.drivers.ipmi.bmcs import BMCS
from ironic_lite.drivers.ipmi.faults import CAUGHT_OF_OURS, is_surprise, translated
from ironic_lite.drivers.ipmi.options import conf

LOG = logging.getLogger(__name__)


class Target(msgspec.Struct, frozen=True):
    """A node as a poll needs it: made once for each driver_info, polled many times."""

    label: str
    account: Account

    @classmethod
    def of(cls, node: Node) -> Target:
        """Raises `InvalidDriverInfo` with every problem."""
        return cls(node.label, account(node))

    @property
    def address(self) -> str:
        """Which BMC it is."""
        return self.account.address


async def poll(target: Target, deadline: Deadline) -> Reading:
    """Ask the BMC once. Raises the `BMC...` errors by the deadline, and `NeedsThread`."""
    bounded = Deadline(SystemClock(), min(conf.command_retry_timeout, deadline.left_s()))
    try:
        bmc = BMCS.known(target.account) or await BMCS.find(target.account, bounded)
        if bmc.needs_thread:
            raise NeedsThread
        try:
            return reading(await bmc.status(target.account, bounded))
        except CAUGHT_OF_OURS as exc:
            if not is_surprise(exc):
                raise
            LOG.info(
                "The BMC of node %s is read in a thread for a day: it does not speak as IPMI defines.", target.label
            )
            bmc.demote()
            raise NeedsThread from exc
    except CAUGHT_OF_OURS as exc:
        if isinstance(exc, OSError):
            BMCS.forget_name(target.account)
        raise translated(target.label, target.account, exc) from exc


def reading(status: bytes) -> Reading:
    """What the data of Get Chassis Status says."""
    return Reading(power=Power.ON if status[0] & 1 else Power.OFF)
