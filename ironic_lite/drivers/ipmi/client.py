"""The one way to talk to an IPMI BMC: `visit`, a session for as long as a block runs.

Each visit logs in and out: about 2 ms of CPU and five round trips, against keeping one of a BMC's few session slots and
sending keep-alives for it.

*Guarantees.* (1) One visit at a time per BMC; others wait for it no longer than their deadline. (2) Nothing of a BMC is
kept between visits. (3) Every error of pyghmi ends here, in the words of `errors.py`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Final

from pyghmi import exceptions as pyghmi_errors

from ironic_lite import errors
from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.domain.node import Node
from ironic_lite.drivers.ipmi.account import Account, account
from ironic_lite.drivers.ipmi.options import conf
from ironic_lite.drivers.ipmi.session import LoginRefused, Session

# What pyghmi raises over a packet that is not what it expects. It checks neither lengths nor codes.
MALFORMED: Final = (struct.error, IndexError, KeyError, TypeError, ValueError, AssertionError, AttributeError)
CAUGHT: Final = (OSError, LoginRefused, pyghmi_errors.PyghmiException, *MALFORMED)
# The words in which pyghmi and the BMCs' RAKP codes say that it is the credentials.
DENIED: Final = ("password", "unauthorized", "invalid role", "integrity check", "integrity code", "privilege")


class Refused(Exception):
    """The BMC answered a command with an error."""


_LOCKS_LOCK: Final = threading.Lock()
_LOCKS: Final[weakref.WeakValueDictionary[tuple[str, int], threading.Lock]] = weakref.WeakValueDictionary()


@contextlib.contextmanager
def visit(node: Node, deadline: Deadline) -> Iterator[Session]:
    """A session with the node's BMC. Raises `InvalidDriverInfo` and the `BMC...` errors."""
    known = account(node)
    bounded = Deadline(SystemClock(), min(conf.command_retry_timeout, deadline.left_s()))
    lock = _lock(known)
    if not lock.acquire(timeout=bounded.left_s()):
        raise errors.BMCUnreachable(
            node=node.label, address=known.address, reason="another request to it was still under way"
        )
    try:
        with contextlib.closing(Session(known, bounded)) as session:
            yield session
    except errors.Error:
        raise
    except (Refused, *CAUGHT) as exc:
        raise translated(node, known, exc) from exc
    finally:
        lock.release()


def checked(answer: Any) -> bytes:
    """The data of an answer. Raises `Refused` for an error."""
    if answer is None:
        raise TimeoutError
    if "error" in answer:
        raise Refused(answer["error"])
    return bytes(answer["data"])


def translated(node: Node, account: Account, exc: Exception) -> errors.BMCError:
    """The error to raise instead."""
    known = {"node": node.label, "address": account.address}
    match exc:
        case TimeoutError():
            return errors.BMCUnreachable(**known, reason="it did not answer in time")
        case socket.gaierror():
            return errors.BMCUnreachable(**known, reason=f"its name does not resolve ({exc.strerror})")
        case OSError():
            return errors.BMCUnreachable(**known, reason=(exc.strerror or type(exc).__name__).lower())
        case LoginRefused() if any(word in str(exc).lower() for word in DENIED):
            return errors.BMCAccessDenied(**known)
        case LoginRefused() | Refused() | pyghmi_errors.PyghmiException():
            return errors.BMCError(**known, reason=str(exc).rstrip("."))
    return errors.BMCError(**known, reason="its answer is not what IPMI defines")


def _lock(account: Account) -> threading.Lock:
    """The lock of a BMC; it is there for as long as somebody uses it."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault((account.host, account.port), threading.Lock())
