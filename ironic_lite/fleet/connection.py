"""One client's connection to one simulated BMC: requests one after the other, faults, latency, idle time.

Guarantees. Everything runs on the fleet's one event loop. One request is under way at a time; what comes meanwhile
waits in a bounded buffer. A request that was taken is carried out even if its client goes away before the answer,
as a real BMC does; one that meets `hang`, `503` or `garbage` is not carried out.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from ironic_lite.fleet import control, documents
from ironic_lite.fleet.faults import Fault, Kind
from ironic_lite.fleet.http import BODY_KIB, HEAD_KIB, BrokenRequestError, Request, Response, take_request

if TYPE_CHECKING:
    from ironic_lite.fleet.server import Fleet

IDLE_S: Final = 300.0
CONNECTIONS_MAX: Final = 64  # at one BMC
_BUFFER: Final = (HEAD_KIB + BODY_KIB) * 1024
_MET_BY_REQUESTS: Final = (Kind.HANG, Kind.SLOW, Kind.BUSY, Kind.GARBAGE, Kind.CLOSES_IDLE)
_GARBAGE: Final = b"<html><body>\xff\xfe{not json"


class Connection(asyncio.Protocol):
    """A connection, made by the fleet for each client that it accepts."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._buffer = bytearray()
        self._busy = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.address: str = transport.get_extra_info("sockname")[0]
        bmc = self._fleet.services.get(self.address)
        if bmc is None or bmc.faults.refusing or len(self._fleet.connections[self.address]) >= CONNECTIONS_MAX:
            self._transport.abort()
            return
        self._fleet.connections[self.address].add(self)
        self._bmc = bmc
        bmc.connections += 1
        self._wait(IDLE_S)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._fleet.connections.get(self.address, set()).discard(self)
        self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _BUFFER:
            self._transport.pause_reading()
        self._take()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _take(self) -> None:
        """Begin the next request, if it is there and nothing is under way."""
        if self._busy or self._transport.is_closing():
            return
        try:
            request = take_request(self._buffer)
        except BrokenRequestError as exc:
            document = documents.error("GeneralError", str(exc))
            self._transport.write(Response(exc.status, document).encode(head_only=False, keep_alive=False))
            self._transport.close()
            return
        if request is not None:
            self._stop_waiting()
            self._busy = True
            self._begin(request)

    def _begin(self, request: Request) -> None:
        if request.path.startswith(control.PREFIX):
            response = self._fleet.control.answer(self.address, request)
            self._fleet.follow_faults(spare=self)  # first: what the answer says must be true when it arrives
            self._send(request, response, 0.0 if self._bmc.faults.refusing else IDLE_S)
            return
        self._bmc.count(request)
        fault = self._bmc.faults.meet(*_MET_BY_REQUESTS)
        if fault is not None and fault.fault is Kind.HANG:
            return  # busy for ever: the client's patience decides
        delay_s = self._fleet.latency_s + (fault.seconds if fault is not None and fault.fault is Kind.SLOW else 0.0)
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._answer, request, fault)
        else:
            self._answer(request, fault)

    def _answer(self, request: Request, fault: Fault | None) -> None:
        kind = fault.fault if fault is not None else None
        if kind is Kind.BUSY:
            document = documents.error("ServiceTemporarilyUnavailable", "The service is temporarily unavailable.", "5")
            response = Response(HTTPStatus.SERVICE_UNAVAILABLE, document, {"Retry-After": "5"})
        elif kind is Kind.GARBAGE:
            response = Response(HTTPStatus.OK, raw=_GARBAGE)
        else:
            response = self._bmc.answer(request)
        self._send(request, response, IDLE_S if fault is None or kind is not Kind.CLOSES_IDLE else fault.seconds)

    def _send(self, request: Request, response: Response, idle_s: float = IDLE_S) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(response.encode(head_only=request.method == "HEAD", keep_alive=request.keeps_alive))
        if not request.keeps_alive or idle_s <= 0:
            self._transport.close()
            return
        self._busy = False
        self._wait(idle_s)
        if len(self._buffer) <= _BUFFER:
            self._transport.resume_reading()
        if self._buffer:  # not from here: a thousand requests in one segment would be a thousand frames deep
            asyncio.get_running_loop().call_soon(self._take)

    def _wait(self, idle_s: float) -> None:
        self._idle = asyncio.get_running_loop().call_later(idle_s, self._transport.close)

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
