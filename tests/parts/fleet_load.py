"""A client that polls a whole fleet at once, as cheaply as Python can: its CPU is not what is measured.

Every BMC is visited by a conversation of its own (a generator of bytes); all of them share one selector.
"""

from __future__ import annotations

import base64
import selectors
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ironic_lite.clock import Deadline, SystemClock
from ironic_lite.fleet.ipmi.wire import MalformedError
from ironic_lite.fleet.server import Bmc
from tests.parts import rmcp

_SYSTEM = "/redfish/v1/Systems/1"


@dataclass
class Result:
    """How a poll of the whole fleet ended, by address: the power state that was told, or the error."""

    power: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.power) + len(self.errors)


class RedfishLoad:
    """One kept connection to each Redfish BMC."""

    def __init__(self, username: str, password: str, context: ssl.SSLContext | None = None) -> None:
        self._basic = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._context = context
        self._sockets: dict[str, socket.socket] = {}

    def connect(self, bmcs: Iterable[Bmc], timeout_s: float = 10.0) -> dict[str, str]:
        """Connect to those to which there is no connection, one after the other: the errors, by address."""
        errors = {}
        for bmc in bmcs:
            if bmc.address not in self._sockets:
                try:
                    self._sockets[bmc.address] = self._connect(bmc, timeout_s)
                except OSError as exc:
                    errors[bmc.address] = type(exc).__name__
        return errors

    def poll(self, bmcs: Iterable[Bmc], timeout_s: float) -> Result:
        """Ask all that are connected at the same time for their power."""
        result, buffers = Result(), dict[str, bytes]()
        with selectors.DefaultSelector() as selector:
            for bmc in bmcs:
                if (sock := self._sockets.get(bmc.address)) is not None:
                    try:
                        sock.sendall(self.get(bmc))
                    except OSError as exc:
                        self._fail(bmc.address, exc, result)
                        continue
                    buffers[bmc.address] = b""
                    selector.register(sock, selectors.EVENT_READ, bmc.address)
            self._gather(selector, buffers, result, Deadline(SystemClock(), timeout_s))
        for address in buffers:
            self._fail(address, TimeoutError(), result)
        return result

    def get(self, bmc: Bmc) -> bytes:
        """The request."""
        return (
            f"GET {_SYSTEM} HTTP/1.1\r\nHost: {bmc.address}:{bmc.port}\r\nAccept: application/json\r\n"
            f"OData-Version: 4.0\r\nAuthorization: Basic {self._basic}\r\n\r\n"
        ).encode()

    def close(self) -> None:
        """End all connections."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _connect(self, bmc: Bmc, timeout_s: float) -> socket.socket:
        sock = socket.create_connection((bmc.address, bmc.port), timeout=timeout_s)
        if self._context is None:
            return sock
        try:
            return self._context.wrap_socket(sock, server_hostname=bmc.address)
        except OSError:
            sock.close()
            raise

    def _gather(
        self, selector: selectors.BaseSelector, buffers: dict[str, bytes], result: Result, deadline: Deadline
    ) -> None:
        while buffers and not deadline.passed():
            for key, _ in selector.select(deadline.left_s()):
                address, sock = key.data, self._sockets[key.data]
                try:
                    data = sock.recv(65536)
                    buffers[address] += data
                    power = _power(buffers[address]) if data else None
                    if not data:
                        raise ConnectionResetError
                except (OSError, ValueError) as exc:
                    selector.unregister(sock)
                    del buffers[address]
                    self._fail(address, exc, result)
                    continue
                if power is not None:
                    selector.unregister(sock)
                    del buffers[address]
                    result.power[address] = power

    def _fail(self, address: str, exc: Exception, result: Result) -> None:
        result.errors[address] = type(exc).__name__ if not isinstance(exc, ValueError) else str(exc)
        self._sockets.pop(address).close()


def _power(answer: bytes) -> str | None:
    """The power state that an answer tells; None while it is not whole. Raises `ValueError` for any other answer."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return None
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    if len(body) < length:
        return None
    status = head[9:12].decode()
    _, found, rest = body.partition(b'"PowerState": "')
    if status != "200" or not found:
        raise ValueError(status if status != "200" else "garbage")
    return rest.partition(b'"')[0].decode()


class IpmiLoad:
    """One UDP socket, and a session for each poll of each BMC. What gets lost is sent again after a silence."""

    AGAIN_S = 5.0

    def __init__(self, username: str, password: str) -> None:
        self._username, self._password = username, password

    def poll(self, bmcs: Iterable[Bmc], timeout_s: float, command: rmcp.Command = rmcp.CHASSIS_STATUS) -> Result:
        """Open a session on each at the same time, give the command, close it; the power is told by chassis status."""
        result = Result()
        talks = {(bmc.address, bmc.port): rmcp.visit(self._username, self._password, command) for bmc in bmcs}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE, for who may
            last = {}
            for place, talk in talks.items():
                last[place] = next(talk)
                sock.sendto(last[place], place)
            self._talk(sock, talks, last, result, Deadline(SystemClock(), timeout_s))
        for address, _ in last:
            result.errors[address] = "TimeoutError"
        return result

    def _talk(
        self,
        sock: socket.socket,
        talks: dict[tuple[str, int], rmcp.Conversation],
        last: dict[tuple[str, int], bytes],
        result: Result,
        deadline: Deadline,
    ) -> None:
        while last and not deadline.passed():
            sock.settimeout(min(self.AGAIN_S, deadline.left_s() + 0.001))
            try:
                answer, place = sock.recvfrom(2048)
            except TimeoutError:
                for place, datagram in last.items():
                    sock.sendto(datagram, place)
                continue
            if place in last:
                self._go_on(place, answer, talks, last, result, sock.sendto)

    def _go_on(
        self,
        place: tuple[str, int],
        answer: bytes,
        talks: dict[tuple[str, int], rmcp.Conversation],
        last: dict[tuple[str, int], bytes],
        result: Result,
        send: Callable[[bytes, tuple[str, int]], int],
    ) -> None:
        try:
            last[place] = talks[place].send(answer)
        except StopIteration as end:
            del last[place]
            [told] = end.value
            if told[0]:
                result.errors[place[0]] = f"{told[0]:#x}"
            else:
                result.power[place[0]] = "On" if told[1:2] and told[1] & 1 else "Off"
        except (rmcp.LoginError, MalformedError, IndexError, struct.error) as exc:
            del last[place]
            result.errors[place[0]] = type(exc).__name__
        else:
            send(last[place], place)
