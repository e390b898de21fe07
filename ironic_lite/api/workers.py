"""The API processes behind one port: a scrape reaches one of them, which answers for all.

Guarantees: (1) a scrape asks the others at the same time, each on a port of loopback of its own that the launcher
holds, and ends within `DEADLINE_S` whatever they do; (2) who does not answer with everything by then is told to be
down, and has no other series: nothing is kept of earlier answers; (3) what is asked here never asks further.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Mapping
from typing import Final, cast

import msgspec

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.metrics import FAMILIES, Lines, Registry, exposition, gauge
from ironic_lite.web import scrape
from ironic_lite.web.server import Server

DEADLINE_S: Final = 2.0
ADDRESS: Final = "127.0.0.1"

_UP: Final = gauge("ironic_lite_worker_up", "Whether the API process answered the one that was scraped.")
_REQUEST: Final = f"GET {scrape.PATH} HTTP/1.0\r\n\r\n".encode()
_LINES: Final = msgspec.json.Decoder(Lines)
_OK: Final = b"HTTP/1.1 200 "


class Siblings(msgspec.Struct, frozen=True):
    """How one API process is asked by the others (`listener`), and where these are: port by name."""

    listener: socket.socket
    ports: dict[str, int]


class Workers:
    """Every API process of one launcher, as seen from this one."""

    def __init__(self, registry: Registry, siblings: Siblings | None = None) -> None:
        self.registry: Final = registry
        self._siblings = siblings
        ports = siblings.ports if siblings else {}
        self._others = {name: port for name, port in ports.items() if name != registry.worker}

    def scrape(self) -> str:
        """What all of them say now."""
        said = [_up(self.registry.worker, 1), self.registry.collect()]
        for name, answer in _ask(self._others, Deadline(SystemClock(), DEADLINE_S)).items():
            lines = _lines(answer)
            said += [_up(name, 0)] if lines is None else [_up(name, 1), lines]
        return exposition(said)

    def server(self) -> Server | None:
        """What answers the others; None without any."""
        if self._siblings is None:
            return None
        page = scrape.Page(lambda: msgspec.json.encode(self.registry.collect()), "application/json")
        return Server("siblings", self._siblings.listener, page, threads=0, limits=scrape.LIMITS)


def _up(worker: str, value: int) -> Lines:
    return {_UP.name: [_UP.at(value).line(worker)]}


def _lines(answer: bytes) -> Lines | None:
    """What an answer says; None if it is not whole."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(_OK):
        return None
    try:
        lines = _LINES.decode(body)
    except msgspec.DecodeError:
        return None
    # A process that was started again by exec may be of a later version than this one.
    return {name: lines[name] for name in lines if name in FAMILIES}


def _ask(ports: Mapping[str, int], deadline: Deadline) -> dict[str, bytes]:
    """What each has answered when all are done, or time is up."""
    answers = dict.fromkeys(ports, b"")
    with contextlib.ExitStack() as opened, selectors.DefaultSelector() as selector:
        for name, port in ports.items():
            sock = opened.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((ADDRESS, port))  # its outcome shows when the socket is writable
            selector.register(sock, selectors.EVENT_WRITE, name)
        while selector.get_map() and not deadline.passed():
            for key, mask in selector.select(deadline.left_s()):
                _go_on(selector, key, mask, answers)
    return answers


def _go_on(selector: selectors.BaseSelector, key: selectors.SelectorKey, mask: int, answers: dict[str, bytes]) -> None:
    """Send the request when connected, then read; an end, or a failure, takes the socket out."""
    sock = cast("socket.socket", key.fileobj)
    try:
        if mask & selectors.EVENT_WRITE:
            sock.send(_REQUEST)
            selector.modify(sock, selectors.EVENT_READ, key.data)
            return
        received = sock.recv(65536)
    except OSError:
        received = b""
    answers[key.data] += received
    if not received:
        selector.unregister(sock)
