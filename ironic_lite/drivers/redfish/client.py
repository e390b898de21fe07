"""The BMCs that we hold a session with, and the one way to talk to one: `visit`.

*Guarantees.* (1) One visit at a time per BMC account; others wait for it no longer than their deadline. (2) At most
`[redfish]connection_cache_size` BMCs are kept, the least recently used go first. (3) A session is used only with the
password that it was made with. (4) No thread is started, and nothing is sent by a finaliser.

What is dropped from the cache or outlived by a new password is not logged out, as that would make one BMC wait for
another; the BMC ends such a session by itself. `close_all` logs out all that are kept.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from sushy import exceptions as sushy_errors
from sushy.resources.system import system as sushy_system

from ironic_lite import errors
from ironic_lite.clock import Deadline
from ironic_lite.domain.node import Node
from ironic_lite.drivers.redfish.account import Account, account
from ironic_lite.drivers.redfish.connector import Connector
from ironic_lite.drivers.redfish.faults import CAUGHT, translated
from ironic_lite.drivers.redfish.options import conf

# Passwords are kept and compared as keyed hashes, under a key that ends with the process. No derivation: what would be
# attacked is this process's memory, which holds the password of each open session anyway.
_KEY: Final = secrets.token_bytes(32)
Key = tuple[str, str, str | None, str | None, bool | str, str]


class Bmc:
    """One BMC account: its lock, its connection, its System."""

    def __init__(self, account: Account) -> None:
        self.lock = threading.Lock()
        self.connector = Connector(account)
        self.digest = _digest(account.password)
        self.dropped = False
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


class Bmcs:
    """The BMCs in use, the least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, Bmc] = OrderedDict()

    def get(self, account: Account) -> Bmc:
        """The BMC of this account; a new one when the password has changed."""
        key = (account.address, account.root, account.system, account.username, account.verify, account.auth)
        with self._lock:
            found = self._known.pop(key, None)
            if found is not None and not hmac.compare_digest(found.digest, _digest(account.password)):
                self._drop(found)
                found = None
            self._known[key] = found = found or Bmc(account)
            while len(self._known) > conf.connection_cache_size:
                self._drop(self._known.popitem(last=False)[1])
            return found

    def take_all(self) -> list[Bmc]:
        """Empty the cache."""
        with self._lock:
            known = list(self._known.values())
            self._known.clear()
            return known

    def _drop(self, bmc: Bmc) -> None:
        """Close its connection now, or leave that to the visit that is using it."""
        bmc.dropped = True
        if bmc.lock.acquire(blocking=False):
            bmc.connector.forget()
            bmc.lock.release()


BMCS: Final = Bmcs()


@contextlib.contextmanager
def visit(node: Node, deadline: Deadline, permit: Callable[[], None] | None = None) -> Iterator[sushy_system.System]:
    """The node's System, freshly read, for as long as the block runs. All that the block does keeps the deadline.

    Without `permit` the block may only read. Raises `InvalidDriverInfo` and the `BMC...` errors.
    """
    known = account(node)
    bmc = BMCS.get(known)
    if not bmc.lock.acquire(timeout=deadline.left_s()):
        raise errors.BMCUnreachable(
            node=node.label, address=known.address, reason="another request to it was still under way"
        )
    try:
        bmc.connector.begin(deadline, permit)
        yield bmc.system()
    except errors.Error:
        raise
    except CAUGHT as exc:
        if isinstance(exc, sushy_errors.ResourceNotFoundError):
            bmc.forget_system()
        raise translated(node, known, exc) from exc
    finally:
        if bmc.dropped:
            bmc.connector.forget()
        bmc.lock.release()


def close_all(deadline: Deadline) -> None:
    """Log out of every BMC, each in at most 2 s, all by the deadline."""
    for bmc in BMCS.take_all():
        bmc.dropped = True
        if bmc.lock.acquire(timeout=min(2.0, deadline.left_s())):
            bmc.connector.logout(deadline)
            bmc.lock.release()


def _digest(password: str | None) -> bytes:
    return hmac.digest(_KEY, (password or "").encode(), "sha256")
