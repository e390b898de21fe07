"""Every error that a caller can meet: one class, one HTTP status, one whole sentence.

An error crosses a process by the name of its class and its finished text (`BY_NAME`), so a message is written
once, where the error is raised. No message ever holds a password, a token or a URL with credentials in it.
"""

from __future__ import annotations

from typing import ClassVar, Final

BY_NAME: Final[dict[str, type[Error]]] = {}


class Error(Exception):
    """The root. `status` is the HTTP status of the answer; `message` is a format string over the details."""

    status: ClassVar[int] = 500
    message: ClassVar[str] = "An unexpected error occurred."
    retry_after_s: ClassVar[int | None] = None

    def __init_subclass__(cls) -> None:
        """Make the class known by its name, which must therefore be unique."""
        if cls.__name__ in BY_NAME:
            raise TypeError(f"Two error classes are called {cls.__name__}.")
        BY_NAME[cls.__name__] = cls

    def __init__(self, text: str | None = None, **details: object) -> None:
        super().__init__(text if text is not None else self.message.format(**details))


# 400: the request itself is wrong, and repeating it will not help.


class Invalid(Error):
    """A value, body or argument that is not allowed; the text says which and what is allowed."""

    status = 400
    message = "{reason}"


class InvalidIdent(Invalid):
    """An identifier in a path that can be neither a UUID nor a name."""

    message = "Expected a logical name or UUID but received {ident!r}."


class InvalidPatch(Invalid):
    """A JSON patch that does not apply (RFC 6902)."""

    message = "Couldn't apply patch {op} {path!r}: {reason}."


class UnknownDriver(Invalid):
    """A hardware type that no conductor serves."""

    message = "Driver {driver!r} is not served by any conductor; served are: {served}."


class InvalidDriverInfo(Invalid):
    """driver_info that a driver cannot work with; the text lists every problem at once."""

    message = "Node {node} has unusable driver_info: {problems}."


class InvalidState(Invalid):
    """A provision verb that the node's state does not accept."""

    message = 'The requested action "{verb}" can not be performed on node {node} while it is in state "{state}".'


class NotThereYet(Invalid):
    """A part of Ironic's API that this version does not carry out yet."""

    message = "{what} is not supported yet; supported are: {supported}."


class UnsupportedByDriver(Invalid):
    """Something the node's interface cannot do."""

    message = "The {interface} interface of node {node} does not support {what}; supported are: {supported}."


class NodeInMaintenance(Invalid):
    """An action that maintenance mode forbids."""

    message = "The {what} operation can't be performed on node {node} because it's in maintenance mode."


class Unauthorized(Error):
    """Missing or wrong credentials."""

    status = 401
    message = "Valid credentials are required."


class Forbidden(Error):
    """Something the caller may never do to this object."""

    status = 403
    message = "{reason}"


class NotFound(Error):
    """A path, or an object in a path, that does not exist."""

    status = 404
    message = "{what} could not be found."


class NodeNotFound(NotFound):
    """No node of that name or UUID."""

    message = "Node {node} could not be found."


class PortNotFound(NotFound):
    """No port of that name or UUID."""

    message = "Port {port} could not be found."


class AllocationNotFound(NotFound):
    """No allocation of that name or UUID."""

    message = "Allocation {allocation} could not be found."


class TraitNotFound(NotFound):
    """A trait that the node does not have."""

    message = "Node {node} does not have a trait {trait!r}."


class DriverNotFound(NotFound):
    """No live conductor serves a driver of that name."""

    message = "The driver '{driver}' is unknown."


class ConductorNotFound(NotFound):
    """No conductor is registered under that host name."""

    message = "Conductor {conductor} could not be found."


class MethodNotAllowed(Error):
    """An HTTP method that a path does not answer."""

    status = 405
    message = "Method {method} is not allowed here; allowed are: {allowed}."


class NotAcceptable(Error):
    """Something newer than the API version that the request asked for, or a version out of range."""

    status = 406
    message = "{reason}"


# 409: the object is busy or taken; the same request may pass later.


class Conflict(Error):
    """The request clashes with what is there."""

    status = 409
    message = "{reason}"


class ChangedMeanwhile(Conflict):
    """An object that somebody else changed between our reading and our writing: read it again, and try once more."""

    message = "{what} was changed by somebody else at the same time, please retry."
    retry_after_s = 1


class NodeLocked(Conflict):
    """Another operation holds the node."""

    message = "Node {node} is locked by host {host} ({purpose}), please retry after the current operation is completed."
    retry_after_s = 1


class NodeAssociated(Conflict):
    """A node that belongs to an instance."""

    message = "Node {node} is associated with instance {instance}."


class AlreadyExists(Conflict):
    """A unique value that another object holds."""

    message = "{what} already exists."


class LockLost(Conflict):
    """The lock was broken or taken over while the work ran: its result must not be written (the fence)."""

    message = "The lock on node {node} was lost while {purpose} was under way; nothing more was written."


class BodyTooLarge(Error):
    """A request body over its limit."""

    status = 413
    message = "The request body is over the limit of {limit_kib} KiB."


# 502, 504: the machine's BMC, not this service, failed.


class BMCError(Error):
    """The BMC answered, and its answer is an error or makes no sense."""

    status = 502
    message = "The BMC of node {node} at {address} failed: {reason}."


class BMCAccessDenied(BMCError):
    """The BMC refused the credentials."""

    message = "The BMC of node {node} at {address} refused the user name or password of driver_info."


class BMCCertificateUntrusted(BMCError):
    """The BMC's TLS certificate does not verify."""

    message = "The TLS certificate of the BMC of node {node} at {address} is not trusted: {reason}."


class BMCUnreachable(BMCError):
    """No answer from the BMC within the time allowed."""

    status = 504
    message = "The BMC of node {node} at {address} could not be reached: {reason}."


class BMCEngaged(BMCUnreachable):
    """The BMC was not even asked: requests of ours took all the time allowed."""

    message = "The BMC of node {node} at {address} could not be reached: another request to it was still under way."


class PowerStateUnsettled(BMCError):
    """The machine took the command and did not reach the state in time."""

    status = 504
    message = 'Node {node} did not reach "{target}" within {timeout_s} s; its BMC last said "{actual}".'


class SettingUnsettled(BMCError):
    """The BMC took a setting, and does not show it in time."""

    status = 504
    message = "Node {node} does not show {setting} {timeout_s} s after it was set, although it was restarted."


class InventoryIncomplete(BMCError):
    """An inspection that did not find what every node needs."""

    message = "The inspection of node {node} did not find {missing}."


# 503: this service cannot do it now; Retry-After says when to ask again.


class Unavailable(Error):
    """A part of the service that is missing at the moment."""

    status = 503
    message = "{reason}"
    retry_after_s = 2


class NoFreeWorker(Unavailable):
    """The conductor has no worker to give; says which pool and kind, and how full they are."""

    message = (
        "Requested action cannot be performed due to lack of free conductor workers: for {kind!r} pool {pool!r} has "
        "{busy} of {limit} busy since {since_s:.0f} s, and {waiting} of {queue} waiting."
    )


class BMCBusy(Unavailable):
    """A BMC that has not answered yet."""

    message = "The BMC of node {node} has not answered within {timeout_s} s; the question is still under way."


class BMCLeftAlone(Unavailable):
    """A BMC that failed so often that nobody waits for it; it is being asked whether it answers again."""

    message = (
        "The BMC of node {node} at {address} failed {failures} times in a row ({problem}) and is being asked now "
        "whether it answers again."
    )
    retry_after_s = 15


class TooManyAtOnce(Unavailable):
    """As many nodes as may be on that way in the whole cluster are."""

    message = "Node {node} must wait: {count} nodes are {what} already, and [conductor]{option} allows {limit}."
    retry_after_s = 10


class AgendaFull(Unavailable):
    """Something that was to be done later, and cannot be remembered: too much is already."""

    message = "{name} cannot be put on agenda {agenda!r}, which holds {limit} entries already."


class NoConductor(Unavailable):
    """No live conductor serves this driver in this group."""

    message = "No live conductor serves driver {driver!r} in conductor group {group!r}."


class NoLiveConductor(Unavailable):
    """No conductor is alive at all."""

    message = "No conductor is alive."


class ConductorUnreachable(Unavailable):
    """The conductor that owns the node did not answer."""

    message = "Conductor {host} did not answer: {reason}."


class Stopping(Unavailable):
    """The process is shutting down and takes no new work."""

    message = "{what} is shutting down and takes no new work."


class DatabaseUnavailable(Unavailable):
    """The database did not answer in time or refused."""

    message = "The database is not available: {reason}."


class ConfigurationError(Error):
    """Options that the service cannot start with; the text names the option and what is allowed."""

    message = "{reason}"


class Interrupted(Error):
    """Work that ended because this process stops; the node's last_error says so."""

    message = "{what} was interrupted because the conductor is shutting down."


class StepFailed(Error):
    """A step that could not be done; the node's last_error says so."""

    message = "Step {step} failed: {reason}."


class Aborted(Error):
    """Work that ended because somebody asked for it."""

    message = "It was aborted by request after step {step}, which could not be interrupted."


class WouldDeadlock(Error):
    """Work that waits for work that waits for it."""

    message = "{waiter} would wait for itself for ever: it waits for {chain}."


# Child programs: what a driver turns into its own words for the machine it spoke with.


class ProgramError(Error):
    """A program that did not do what it was started for."""

    message = "Program {program} could not be started: {reason}."


class ProgramNotFound(ProgramError):
    """A program that is not installed."""

    message = "Program {program} was not found in {path}; it must be installed there, or be named by its whole path."


class ProgramFailed(ProgramError):
    """A program that ended by itself, and not with success. `how`: "code 1" or "signal SIGSEGV"."""

    message = "Program {program} ended with {how}; it last said: {tail!r}."


class ProgramTimedOut(ProgramError):
    """A program that was ended at its deadline, with everything that it had started."""

    status = 504
    message = "Program {program} was ended because it was not done within {timeout_s:g} s; it last said: {tail!r}."
