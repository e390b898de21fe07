"""One client's connection to one simulated BMC: requests one after the other, faults, latency, idle time.

Guarantees. Everything runs on the fleet's one event loop. One request is under way at a time; what comes meanwhile
waits in a bounded buffer, and is counted. A request that was taken is carried out even if its client goes away before
the answer, as a real BMC does; one that meets `hang`, `503`, `500`, `401` or `garbage` is not carried out.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ironic_lite.fleet import control, documents, refusals
from ironic_lite.fleet.channel import Channel
from ironic_lite.fleet.device import Reach
from ironic_lite.fleet.faults import Fault, Kind
from ironic_lite.fleet.http import BODY_KIB, HEAD_KIB, BrokenRequestError, Request, Response, take_request
from ironic_lite.fleet.quirks import Quirk
from ironic_lite.fleet.redfish import Redfish

if TYPE_CHECKING:
    from ironic_lite.fleet.server import Fleet

IDLE_S: Final = 300.0
CONNECTIONS_MAX: Final = 64  # at one BMC
_BUFFER: Final = (HEAD_KIB + BODY_KIB) * 1024
_MET_BY_REQUESTS: Final = tuple(
    kind for kind in Kind if kind not in {Kind.REFUSE, Kind.BLACKHOLE, Kind.WRONG_STATE, Kind.CRASH}
)


class Connection:
    """A connection, made by the fleet for each client that it accepts. `idle_since_s` is None while it is busy."""

    __slots__ = ("_buffer", "_busy", "_channel", "_fleet", "_loop", "bmc", "idle_since_s")

    def __init__(self, fleet: Fleet, bmc: Redfish, sock: socket.socket) -> None:
        self.bmc = bmc
        self.idle_since_s: float | None = None
        self._fleet = fleet
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._busy = False
        self._channel = Channel(self, sock, fleet.context(bmc.address))

    def open(self) -> None:
        """Take requests from now on."""
        self.idle_since_s = self._loop.time()
        self.bmc.tally.connect()
        if self.bmc.reach is not Reach.DEAF:
            self._channel.resume()

    def secured(self) -> None:
        self.bmc.tally.handshakes += 1

    def closed(self) -> None:
        self.bmc.tally.connected -= 1
        if self._busy:
            self._busy = False
            self.bmc.tally.end()
        self._fleet.forget(self)

    def received(self, data: bytes) -> None:
        self._buffer += data
        if self._busy:
            self.bmc.tally.pipelined += 1
            if len(self._buffer) > _BUFFER:
                self._channel.pause()
            return
        self._take()

    def abort(self) -> None:
        """End the connection at once."""
        self._channel.abort()

    def close(self) -> None:
        """End the connection when what was sent has gone out."""
        self._channel.close()

    def stop_hearing(self) -> None:
        """Leave what comes unread."""
        self._channel.pause()

    def hear(self) -> None:
        """Read on."""
        self._channel.resume()

    def abandoned(self) -> bool:
        """Whether the client has gone unheard."""
        return self._channel.abandoned()

    def _take(self) -> None:
        """Begin the next request, if it is there and nothing is under way."""
        if self._busy or self._channel.ended:
            return
        try:
            request = take_request(self._buffer)
        except BrokenRequestError as exc:
            document = documents.error("GeneralError", str(exc))
            self._channel.send(Response(exc.status, document).encode(head_only=False, keep_alive=False))
            self._channel.close()
            return
        if request is not None:
            self.idle_since_s = None
            self._begin(request)

    def _begin(self, request: Request) -> None:
        if request.path.startswith(control.PREFIX):
            response = self._fleet.control.answer(self.bmc.address, request, spare=self)
            self._send(request, response, 0.0 if self.bmc.reach is not Reach.OPEN else IDLE_S)
            return
        self._busy = True
        self.bmc.tally.begin(self.bmc.kind_of(request))
        if (gone_s := self.bmc.crashes_s()) is not None:
            self._fleet.crash(self.bmc, gone_s)
            return
        fault = self.bmc.faults.meet(*_MET_BY_REQUESTS)
        if fault is not None and fault.fault is Kind.HANG:
            return  # busy for ever: the client's patience decides
        delay_s = self.bmc.delay_s() + self.bmc.slowness_s(request)
        if fault is not None and fault.fault is Kind.SLOW:
            delay_s += fault.seconds
        if delay_s:
            self._loop.call_later(delay_s, self._answer, request, fault)
        else:
            self._answer(request, fault)

    def _answer(self, request: Request, fault: Fault | None) -> None:
        kind = fault.fault if fault is not None else None
        instead = _INSTEAD.get(kind) if kind is not None else None
        if kind is Kind.UNAUTHORIZED:
            self.bmc.slots.forget()
        response = self.bmc.answer(request) if instead is None else instead()
        if fault is not None and kind in {Kind.DRIP, Kind.TRUNCATED}:
            self._spoil(fault, self._encode(request, response))
        else:
            self._send(request, response, IDLE_S if fault is None or kind is not Kind.CLOSES_IDLE else fault.seconds)

    def _encode(self, request: Request, response: Response) -> bytes:
        return response.encode(
            head_only=request.method == "HEAD",
            keep_alive=request.keeps_alive and Quirk.CLOSES not in self.bmc.quirks,
            chunked=Quirk.CHUNKED in self.bmc.quirks and request.version == "HTTP/1.1",
        )

    def _send(self, request: Request, response: Response, idle_s: float = IDLE_S) -> None:
        if self._channel.ended:
            return
        self._channel.send(self._encode(request, response))
        if not request.keeps_alive or idle_s <= 0 or Quirk.CLOSES in self.bmc.quirks:
            self._channel.close()
            return
        if idle_s < IDLE_S:
            self._loop.call_later(idle_s, self._close_if_idle, self._loop.time())
        self._end_request()

    def _end_request(self) -> None:
        if self._busy:
            self._busy = False
            self.bmc.tally.end()
        self.idle_since_s = self._loop.time()
        if self._buffer:  # not from here: a thousand requests in one segment would be a thousand frames deep
            self._loop.call_soon(self._take)
        if self.bmc.reach is not Reach.DEAF:
            self._channel.resume()

    def _close_if_idle(self, since_s: float) -> None:
        if self.idle_since_s is not None and self.idle_since_s <= since_s + 0.001 and not self._buffer:
            self._channel.close()

    def _spoil(self, fault: Fault, wire: bytes) -> None:
        """Send the answer as the fault leaves it."""
        if fault.fault is Kind.TRUNCATED:
            self._channel.send(wire[: len(wire) - max(1, len(wire.partition(b"\r\n\r\n")[2]) // 2)])
            self._channel.close()
        else:
            self._drip(wire, 0, fault.seconds)

    def _drip(self, wire: bytes, start: int, apart_s: float) -> None:
        if self._channel.ended:
            return
        if start == len(wire):
            self._end_request()
            return
        self._channel.send(wire[start : start + 1])
        self._loop.call_later(apart_s, self._drip, wire, start + 1, apart_s)


def _broken() -> Response:
    text = "The request failed due to an internal service error."
    return Response(HTTPStatus.INTERNAL_SERVER_ERROR, documents.error("InternalError", text))


def _garbage() -> Response:
    return Response(HTTPStatus.OK, raw=b"<html><body>\xff\xfe{not json")


_INSTEAD: Final[dict[Kind, Callable[[], Response]]] = {
    Kind.BUSY: lambda: refusals.busy().response,
    Kind.ERROR: _broken,
    Kind.GARBAGE: _garbage,
    Kind.UNAUTHORIZED: lambda: refusals.no_access().response,
}
