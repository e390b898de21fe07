"""The one way to talk to a BMC through sushy: `visit`.

*Guarantees.* (1) One visit at a time per account, System and rank; others wait for it no longer than their deadline.
Between the requests of different visits the BMC's contact decides, so that power need not wait for the end of a
collection of sensors. (2) At most `VISITORS_LIMIT` of sushy's pictures are kept, the least recently used go first; a
picture is used only with the account that it was made with. (3) No thread is started here but that of the I/O loop.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from sushy import exceptions as sushy_errors
from sushy.resources.system import system as sushy_system

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.drivers.contact import Rank
from ironic_lite.drivers.redfish.account import Account, account
from ironic_lite.drivers.redfish.bmc import BMCS
from ironic_lite.drivers.redfish.connector import Connector
from ironic_lite.drivers.redfish.faults import CAUGHT, translated

VISITORS_LIMIT: Final = 1000

Key = tuple[Account, Rank]


class Visitor:
    """What sushy knows of one System, and whose turn it is to use that."""

    def __init__(self, account: Account) -> None:
        self.lock = threading.Lock()
        self.connector = Connector(msgspec.structs.replace(account, system=None))
        self._path = account.system
        self._system: sushy_system.System | None = None

    def system(self) -> sushy_system.System:
        """The machine as it is now: one GET once the BMC is known."""
        if self._system is None:
            self._system = self.connector.root.get_system(self._path)
        else:
            # Not refresh(force=True): that would fetch again whatever was looked at below the System, too.
            self._system.invalidate()
            self._system.refresh(force=False)
        return self._system

    def forget_system(self) -> None:
        """Look for the System anew at the next visit."""
        self._system = None


class Visitors:
    """Those in use, the least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, Visitor] = OrderedDict()

    def get(self, account: Account, rank: Rank) -> Visitor:
        """The visitor of this account and rank."""
        with self._lock:
            self._known[account, rank] = found = self._known.pop((account, rank), None) or Visitor(account)
            if len(self._known) > VISITORS_LIMIT:
                self._known.popitem(last=False)
            return found

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._known.clear()


VISITORS: Final = Visitors()


@contextlib.contextmanager
def visit(
    node: Node, deadline: Deadline, permit: Callable[[], None] | None = None, rank: Rank = Rank.ACTION
) -> Iterator[sushy_system.System]:
    """The node's System, freshly read, for as long as the block runs. All that the block does keeps the deadline.

    Without `permit` the block may only read. Raises `InvalidDriverInfo` and the `BMC...` errors.
    """
    known = account(node)
    visitor = VISITORS.get(known, rank)
    if not visitor.lock.acquire(timeout=deadline.left_s()):
        raise errors.BMCEngaged(node=node.label, address=known.address)
    try:
        visitor.connector.begin(deadline, permit, rank)
        yield visitor.system()
    except errors.Error:
        raise
    except CAUGHT as exc:
        if isinstance(exc, sushy_errors.ResourceNotFoundError):
            visitor.forget_system()
        raise translated(node.label, known, exc) from exc
    finally:
        visitor.lock.release()


def close_all(deadline: Deadline) -> None:
    """Log out of every BMC, each in at most 2 s, all by the deadline."""
    VISITORS.clear()
    BMCS.close_all(deadline)
