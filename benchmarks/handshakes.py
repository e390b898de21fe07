"""What a TLS handshake costs the server: CPU of the thread that takes its steps, by kind of key.

    python benchmarks/handshakes.py

Full handshakes of TLS 1.3 over a socket pair, with the context that the server uses; the client is another thread.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ironic_lite.web.tls import TLS, Identity, Trust
from tests.parts.certificates import Authority, Key

HANDSHAKES = 200
KEYS: dict[str, Callable[[], Key]] = {
    "ECDSA P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA 2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA 4096": lambda: rsa.generate_private_key(65537, 4096),
}


def shake(server: TLS, client: TLS) -> float:
    """One handshake; CPU milliseconds of its server's side."""
    near, far = socket.socketpair()

    def greet() -> None:
        with client.wrap(far, server_hostname="127.0.0.1") as tls:
            tls.do_handshake()
            tls.recv(1)

    thread = threading.Thread(target=greet)
    thread.start()
    began = time.thread_time()
    with server.wrap(near) as tls:
        tls.do_handshake()
        cost_s = time.thread_time() - began
    thread.join()
    return cost_s * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
        client = TLS(Trust("benchmark", str(authority.path)))
        for name, make in KEYS.items():
            pair = authority.issue("server", key=make())
            server = TLS(Identity("benchmark", str(pair.certificate), str(pair.key), "1.3", None))
            costs = [shake(server, client) for _ in range(HANDSHAKES)]
            print(f"{name}: median {statistics.median(costs):.2f} ms CPU a handshake, least {min(costs):.2f}")


if __name__ == "__main__":
    main()
