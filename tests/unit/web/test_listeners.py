import socket

import pytest

from ironic_lite import errors
from ironic_lite.web.listeners import listen


def test_a_listener_accepts_without_ever_waiting() -> None:
    with listen("127.0.0.1", 0) as listener:
        with pytest.raises(BlockingIOError):
            listener.accept()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            accepted.close()


def test_ipv6_any_serves_ipv4_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("This machine has no IPv6.")
    try:
        listener = listen("::", 0)
    except errors.ConfigurationError as exc:
        pytest.skip(f"This machine has no IPv6: {exc}")
    with listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        pass


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(errors.ConfigurationError, match=rf"Cannot listen on 127.0.0.1:{port}: Address already"):
            listen("127.0.0.1", port)


def test_an_unknown_address_is_named() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"Cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0)
