"""The one way to talk to an IPMI BMC in a thread: `visit`, a session for as long as a block runs.

Each visit logs in and out: about 2 ms of CPU and five round trips, against keeping one of a BMC's few session slots and
sending keep-alives for it.

*Guarantees.* (1) One visit or poll at a time per BMC (`Bmc.contact`); others wait for it no longer than their deadline.
(2) Nothing of a session is kept between visits. (3) Every error of pyghmi ends here, in the words of `errors.py`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import Any

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.drivers.contact import IO, Rank
from ironic_lite.drivers.ipmi import program
from ironic_lite.drivers.ipmi.account import Account, account
from ironic_lite.drivers.ipmi.bmc import Bmc
from ironic_lite.drivers.ipmi.bmcs import BMCS
from ironic_lite.drivers.ipmi.faults import CAUGHT, Refused, is_surprise, translated
from ironic_lite.drivers.ipmi.options import conf
from ironic_lite.drivers.ipmi.rmcp import CHASSIS_STATUS
from ironic_lite.drivers.ipmi.session import Session
from ironic_lite.drivers.tools import TOOLS

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def visit(node: Node, deadline: Deadline, rank: Rank = Rank.ACTION) -> Iterator[Session]:
    """A session with the node's BMC. Raises `InvalidDriverInfo` and the `BMC...` errors."""
    known = account(node)
    with _turn(node, known, deadline, rank) as (_, bounded), contextlib.closing(Session(known, bounded)) as session:
        yield session


def status(node: Node, deadline: Deadline) -> bytes:
    """The data of Get Chassis Status: through pyghmi, or ipmitool for a BMC that pyghmi does not understand.

    Raises `InvalidDriverInfo` and the `BMC...` errors.
    """
    known = account(node)
    with _turn(node, known, deadline, Rank.POWER) as (bmc, bounded):
        programs = TOOLS.programs if program.can_ask(known) else None
        if programs is None or not bmc.read_by_program:
            try:
                with contextlib.closing(Session(known, bounded)) as session:
                    return checked(session.query(*CHASSIS_STATUS))
            except CAUGHT as exc:
                if programs is None or not is_surprise(exc):
                    raise
                LOG.info("For the BMC of node %s, %s stands in for pyghmi: %s", node.label, program.PROGRAM, exc)
        # For a day, if it understands the BMC.
        bmc.read_by_program = False
        found = program.status(programs, known, bmc.address[0], bounded)
        bmc.read_by_program = True
        return found


def checked(answer: Any) -> bytes:
    """The data of an answer. Raises `Refused` for an error."""
    if answer is None:
        raise TimeoutError
    if "error" in answer:
        raise Refused(answer["error"])
    return bytes(answer["data"])


@contextlib.contextmanager
def _turn(node: Node, account: Account, deadline: Deadline, rank: Rank) -> Iterator[tuple[Bmc, Deadline]]:
    """The BMC, and by when the block must have ended."""
    bounded = Deadline(SystemClock(), min(conf.command_retry_timeout, deadline.left_s()))
    try:
        with IO.turn(functools.partial(BMCS.hold, account, rank, bounded), bounded) as bmc:
            yield bmc, bounded
    except errors.Error:
        raise
    except CAUGHT as exc:
        raise translated(node.label, account, exc) from exc
