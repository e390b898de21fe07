"""exec, the other way to start a child: a fresh interpreter, and how what it needs gets there.

*Guarantees.* (1) The child inherits its listeners, its ends of the status and lifeline pipes, and one more pipe with
the handover; nothing else that the launcher has open. (2) The secret is in that pipe alone: not in the arguments, not
in the environment. (3) What the child inherited, it does not pass on to programs that it runs.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from ironic_lite import errors
from ironic_lite.launcher.service import Limits

_LIMIT_KIB: Final = 16  # a pipe takes 64 at once without a reader


class Program(msgspec.Struct, frozen=True):
    """What a child becomes: `command` gives the arguments for the number of the handover's pipe; `secret` is text."""

    command: Callable[[int], list[str]]
    secret: str

    def __repr__(self) -> str:
        return "Program()"


class Handover(msgspec.Struct, frozen=True):
    """What the child is told; the numbers are file descriptors that it inherits."""

    name: str
    limits: Limits
    status: int
    lifeline: int
    listeners: list[int]
    secret: str

    def __repr__(self) -> str:
        return f"Handover({self.name!r})"

    def sockets(self) -> list[socket.socket]:
        """The listeners. Call it once."""
        made = [socket.socket(fileno=number) for number in self.listeners]
        for each in made:
            each.setblocking(False)
        return made

    def inherited(self) -> list[int]:
        """Every file descriptor that is handed over."""
        return [self.status, self.lifeline, *self.listeners]


def become(program: Program, handover: Handover) -> NoReturn:
    """Turn this forked child into the program. Raises `OSError` if it cannot be run."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.write(writing, msgspec.json.encode(handover))
    os.close(writing)
    for number in (reading, *handover.inherited()):
        os.set_inheritable(number, True)
    command = program.command(reading)
    os.execv(command[0], command)  # noqa: S606  # our own interpreter; no shell is wanted


def receive(number: str) -> Handover:
    """Read the handover in the new program. Raises `ConfigurationError` when no launcher handed anything over."""
    try:
        with open(int(number), "rb") as pipe:  # noqa: PTH123  # a file descriptor is no path
            handover = msgspec.json.decode(pipe.read(_LIMIT_KIB * 1024), type=Handover)
        for each in handover.inherited():
            os.set_inheritable(each, False)
    except (ValueError, OSError, msgspec.DecodeError) as exc:
        raise errors.ConfigurationError(
            reason="Only the launcher starts a child, and hands over what it needs."
        ) from exc
    return handover
