"""Waiting until a machine is in the power state that it was told to be in. Shared by every driver.

Who waits yields the seconds until it wants to go on, so that nobody has to give it a thread meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.domain.states import Power, PowerTarget
from ironic_lite.drivers.interfaces import Attempt

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0
GROWTH: Final = 1.5

LOG = logging.getLogger(__name__)


def settle(
    node: Node,
    target: PowerTarget,
    wanted: Power,
    attempt: Attempt,
    read: Callable[[Deadline], Power | None],
) -> Iterator[float]:
    """Ask the BMC with growing pauses, which are yielded, until the machine is `wanted`.

    A BMC that misses an answer meanwhile is asked again: the command has been sent, and only the machine's state says
    how it ended. Raises `PowerStateUnsettled` when the deadline passes first, and at once what asking again cannot
    mend (`BMCAccessDenied`, `BMCCertificateUntrusted`).
    """
    pause_s, actual = FIRST_PAUSE_S, "no answer"
    while True:
        try:
            state = read(attempt.deadline)
        except (errors.BMCAccessDenied, errors.BMCCertificateUntrusted):
            raise
        except errors.BMCError as exc:
            LOG.debug("While node %s is on its way to %s: %s", node.label, wanted, exc)
            actual = "no answer"
        else:
            if state == wanted:
                return
            actual = state or "unknown"
        if not attempt.deadline.passed():
            attempt.report(f'Waiting for "{wanted}"; the BMC says "{actual}".')
            yield min(pause_s, attempt.deadline.left_s())
            pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
        if attempt.deadline.passed():
            raise errors.PowerStateUnsettled(
                node=node.label, target=target, timeout_s=round(attempt.deadline.timeout_s), actual=actual
            )


def finish(pauses: Iterable[float], attempt: Attempt) -> None:
    """Carry a change out to its end here and now, pausing in this thread."""
    for pause_s in pauses:
        attempt.pause(pause_s)
