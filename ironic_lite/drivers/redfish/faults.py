"""What went wrong with a BMC, in the words of `errors.py`. The one place where other libraries' errors end."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final

from sushy import exceptions as sushy_errors

from ironic_lite import errors
from ironic_lite.drivers.contact import Engaged
from ironic_lite.drivers.redfish.account import Account
from ironic_lite.drivers.redfish.bmc import Denied
from ironic_lite.drivers.redfish.http1 import BrokenAnswer, HungUp
from ironic_lite.drivers.redfish.session import SessionsMissing

# ValueError: a body that is no JSON. The others after it: JSON of a shape that no Redfish resource has.
CAUGHT: Final = (
    OSError, BrokenAnswer, Denied, Engaged, sushy_errors.SushyError, SessionsMissing, ValueError, KeyError, TypeError,
    AttributeError, RecursionError,
)  # fmt: skip
DETAIL_LIMIT: Final = 400
SAID: Final = (
    ((sushy_errors.AccessError, Denied), "it refuses the credentials"),
    ((Engaged,), "another request to it was still under way"),
    ((SessionsMissing,), "it has no session service; set redfish_auth_type to basic or auto"),
)
ADVICE: Final = "set redfish_verify_ca in driver_info to the path of the CA's certificate, or to false to go without"


def translated(label: str, account: Account, exc: Exception) -> errors.BMCError:
    """The error to raise instead. Its text holds what the BMC said, and nothing of the request."""
    known = {"node": label, "address": account.address}
    if isinstance(exc, sushy_errors.AccessError | Denied):
        return errors.BMCAccessDenied(**known)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return errors.BMCCertificateUntrusted(**known, reason=f"{exc.verify_message}; {ADVICE}")
    if isinstance(exc, Engaged):
        return errors.BMCEngaged(**known)
    silent = isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError)
    return (errors.BMCUnreachable if silent else errors.BMCError)(**known, reason=reason(exc))


def is_silence(exc: Exception) -> bool:
    """Whether the BMC would answer nothing else either: it is silent, busy, or refuses who asks."""
    if isinstance(exc, sushy_errors.AccessError):
        return bool(exc.status_code == 401)
    return isinstance(exc, OSError | Engaged | Denied | SessionsMissing)


def reason(exc: Exception) -> str:
    """What went wrong, in words that follow a colon."""
    if isinstance(exc, OSError):
        return _silence(exc)
    for kinds, text in SAID:
        if isinstance(exc, kinds):
            return text
    match exc:
        case sushy_errors.HTTPError():
            return f"HTTP status {exc.status_code}, {_detail(exc)}"
        case sushy_errors.SushyError() | BrokenAnswer():
            return str(exc)[:DETAIL_LIMIT].rstrip(".") or type(exc).__name__
    return "its answer is not what Redfish defines"


def _silence(exc: OSError) -> str:
    match exc:
        case TimeoutError():
            return "it did not answer in time"
        case socket.gaierror():
            return f"its name does not resolve ({exc.strerror})"
        case HungUp():
            return "it closed the connection without an answer"
        case ssl.SSLError():
            return f"TLS failed ({exc.reason or 'no reason given'})"
    # asyncio's own text names the address once more.
    return (os.strerror(exc.errno) if exc.errno else type(exc).__name__).lower()


def _detail(exc: sushy_errors.HTTPError) -> str:
    """The BMC's own sentence: its extended information, else its message."""
    body = exc.body if isinstance(exc.body, dict) else {}
    extended = body.get("@Message.ExtendedInfo")
    entries = extended if isinstance(extended, list) else [extended]
    said = [str(entry["Message"]) for entry in entries if isinstance(entry, dict) and entry.get("Message")]
    text = " ".join(said) or str(body.get("message") or "no reason given")
    return " ".join(text.split())[:DETAIL_LIMIT].rstrip(".")
