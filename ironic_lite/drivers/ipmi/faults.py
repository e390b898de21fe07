"""What goes wrong with an IPMI BMC, and in which words of `errors.py` that is told: the same on every way to it."""

from __future__ import annotations

import socket
import struct
from typing import Final

from pyghmi import exceptions as pyghmi_errors
from pyghmi.ipmi.private import constants as pyghmi_constants

from ironic_lite import errors
from ironic_lite.drivers.contact import Engaged
from ironic_lite.drivers.ipmi.account import Account

# The words in which pyghmi and the BMCs' RAKP codes say that it is the credentials.
DENIED: Final = ("password", "unauthorized", "invalid role", "integrity check", "integrity code", "privilege")
# The words in which they say that they do not know what was said: another client may say it better.
UNKNOWN: Final = ("unrecognized", "payload type")
# Of the codes of a login (IPMI 2.0, table 13-15) those that decide what is done next.
NO_ROOM, INVALID_SESSION, INVALID_ROLE, UNKNOWN_NAME = 0x01, 0x02, 0x09, 0x0D


class LoginRefused(Exception):
    """The BMC, or the check of what it says, ended the login.

    `code` is the BMC's own, 0 where it gave none; `opening` says that it did not even begin.
    """

    def __init__(self, words: str, code: int = 0, *, opening: bool = False) -> None:
        super().__init__(words)
        self.code, self.opening = code, opening

    @classmethod
    def by_code(cls, code: int, where: str) -> LoginRefused:
        """In pyghmi's words; `where` is empty for the answer to Open Session."""
        words = pyghmi_constants.rmcp_codes.get(code, f"Unrecognized RMCP code {code}")
        return cls(words + where, code, opening=not where)

    @property
    def denied(self) -> bool:
        """Whether it is the credentials."""
        return any(word in str(self).lower() for word in DENIED)

    @property
    def surprising(self) -> bool:
        """Whether the two did not understand each other."""
        return any(word in str(self).lower() for word in UNKNOWN)


class Refused(Exception):
    """The BMC answered a command with an error."""


class Surprise(Exception):
    """The BMC answers, and not as IPMI 2.0 defines."""


# What pyghmi raises over a packet that is not what it expects. It checks neither lengths nor codes.
MALFORMED: Final = (struct.error, IndexError, KeyError, TypeError, ValueError, AssertionError, AttributeError)
CAUGHT_OF_OURS: Final = (OSError, Engaged, LoginRefused, Refused, Surprise)
CAUGHT: Final = (*CAUGHT_OF_OURS, pyghmi_errors.PyghmiException, *MALFORMED)


def is_surprise(exc: Exception) -> bool:
    """Whether a client did not understand the BMC, so that another one may."""
    return isinstance(exc, (Surprise, *MALFORMED)) or (isinstance(exc, LoginRefused) and exc.surprising)


def translated(label: str, account: Account, exc: Exception) -> errors.BMCError:
    """The error to raise instead; `label` is the node's."""
    known = {"node": label, "address": account.address}
    if isinstance(exc, LoginRefused) and exc.denied:
        return errors.BMCAccessDenied(**known)
    if isinstance(exc, Engaged):
        return errors.BMCEngaged(**known)
    return (errors.BMCUnreachable if isinstance(exc, OSError) else errors.BMCError)(**known, reason=_reason(exc))


def _reason(exc: Exception) -> str:
    match exc:
        case TimeoutError():
            return "it did not answer in time"
        case socket.gaierror():
            return f"its name does not resolve ({exc.strerror})"
        case OSError():
            return (exc.strerror or type(exc).__name__).lower()
        case LoginRefused() | Refused() | pyghmi_errors.PyghmiException():
            return str(exc).rstrip(".")
    return "its answer is not what IPMI defines"
