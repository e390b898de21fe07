"""The address at which the whole fleet is ruled, apart from every BMC: plain HTTP, one request after the other."""

from __future__ import annotations

import socket
from http import HTTPStatus
from typing import Final

from ironic_lite.fleet.channel import Channel
from ironic_lite.fleet.control import PREFIX, Control
from ironic_lite.fleet.device import Reach
from ironic_lite.fleet.http import BrokenRequestError, Request, Response, take_request
from ironic_lite.fleet.listeners import Gate

ADDRESS: Final = "127.0.0.1"
CLIENTS_MAX: Final = 64


class Desk:
    """Listens on `ADDRESS`; port 0 picks a free one. Beyond `CLIENTS_MAX` the oldest client has to go."""

    def __init__(self, control: Control, port: int) -> None:
        self._control = control
        self._gate = Gate(ADDRESS, port, self._accept)
        self._visits: dict[Visit, None] = {}

    @property
    def port(self) -> int:
        """The port, once it is open."""
        return self._gate.port

    def open(self) -> None:
        """Raises `OSError` when the port is taken."""
        self._gate.listen()
        self._gate.set(Reach.OPEN)

    def close(self) -> None:
        """End, with all clients."""
        self._gate.close()
        for visit in list(self._visits):
            visit.close()

    def forget(self, visit: Visit) -> None:
        """The client has gone."""
        self._visits.pop(visit, None)

    def _accept(self, sock: socket.socket) -> None:
        if len(self._visits) >= CLIENTS_MAX:
            next(iter(self._visits)).close()
        self._visits[Visit(self, self._control, sock)] = None


class Visit:
    """One client at the desk."""

    def __init__(self, desk: Desk, control: Control, sock: socket.socket) -> None:
        self._desk = desk
        self._control = control
        self._buffer = bytearray()
        self._channel = Channel(self, sock, None)
        self._channel.resume()

    def secured(self) -> None:
        """There is no TLS here."""

    def received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while not self._channel.ended and (request := take_request(self._buffer)) is not None:
                self._answer(request)
        except BrokenRequestError as exc:
            refusal = Response(exc.status, {"error": str(exc)})
            self._channel.send(refusal.encode(head_only=False, keep_alive=False))
            self._channel.close()

    def _answer(self, request: Request) -> None:
        if request.path.startswith(PREFIX):
            response = self._control.answer(None, request)
        else:
            response = Response(HTTPStatus.NOT_FOUND, {"error": f"Everything here is under {PREFIX}."})
        keep = request.keeps_alive
        self._channel.send(response.encode(head_only=request.method == "HEAD", keep_alive=keep))
        if not keep:
            self._channel.close()

    def closed(self) -> None:
        self._desk.forget(self)

    def close(self) -> None:
        """Send this client away."""
        self._channel.close()
