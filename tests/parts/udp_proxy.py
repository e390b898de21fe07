"""A UDP proxy that loses datagrams as told: the network between us and a BMC."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class UdpProxy:
    """Stands between one client and one server."""

    port: int
    # Called for each datagram; False loses it.
    passes_request: Callable[[bytes], bool] = field(default=lambda _datagram: True)
    passes_answer: Callable[[bytes], bool] = field(default=lambda _datagram: True)
    # What arrives in the place of an answer.
    becomes: Callable[[bytes], tuple[bytes, ...]] = field(default=lambda datagram: (datagram,))


@contextlib.contextmanager
def udp_proxy(
    server_port: int, server: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET
) -> Iterator[UdpProxy]:
    """Run one on the loopback address of that family for as long as the block runs."""
    stop = threading.Event()
    with (
        socket.socket(family, socket.SOCK_DGRAM) as front,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back,
    ):
        front.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        back.connect((server, server_port))
        proxy = UdpProxy(port=front.getsockname()[1])
        thread = threading.Thread(target=_carry, args=(proxy, front, back, stop))  # noqa: TID251  # the peer's own
        thread.start()
        try:
            yield proxy
        finally:
            stop.set()
            thread.join(10)


def _carry(proxy: UdpProxy, front: socket.socket, back: socket.socket, stop: threading.Event) -> None:
    client = None
    poll = select.poll()
    poll.register(front, select.POLLIN)
    poll.register(back, select.POLLIN)
    while not stop.is_set():
        for number, _ in poll.poll(20):
            if number == front.fileno():
                datagram, client = front.recvfrom(4096)
                if proxy.passes_request(datagram):
                    back.send(datagram)
            else:
                datagram = back.recv(4096)
                if client is not None and proxy.passes_answer(datagram):
                    for arriving in proxy.becomes(datagram):
                        front.sendto(arriving, client)
