"""A client's connection under TLS. It never waits in its handshake: each step goes as far as what has arrived allows.

Nothing is made for a client before it has said something, so that one that stays silent costs a socket and no more.
"""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any, Final

from ironic_lite.web.protocol import Connection, Protocol, plain_answer
from ironic_lite.web.streams import Incoming, Reader, Writer
from ironic_lite.web.tls import TLS, TLSSocket

LOG = logging.getLogger(__name__)

_HANDSHAKE: Final = b"\x16"  # the type of a TLS connection's first record (RFC 8446, 5.1)


class SecureReader(Reader):
    """What cheroot reads requests from; knows what TLS has decrypted and nobody read."""

    def __init__(self, incoming: Incoming, sock: TLSSocket) -> None:
        super().__init__(incoming)
        self._socket = sock

    def has_data(self) -> bool:
        """Whether a next request has begun to arrive, in a place where the kernel no longer sees it."""
        return super().has_data() or self._socket.pending() > 0


class SecureConnection(Connection):
    """Speaks HTTP once TLS stands."""

    def __init__(self, identity: TLS, owner: Protocol, sock: socket.socket, address: tuple[Any, ...]) -> None:
        super().__init__(owner, sock, address)
        self.ready = False
        self._identity = identity
        self._tls: TLSSocket | None = None

    def shake(self) -> bool:
        """Take the handshake one step on. True when it waits for the client to read, not to send.

        With a client that speaks something else, or nothing that we accept, it ends with `lingers`. Raises `OSError`
        when the client has gone.
        """
        self.socket.setblocking(False)
        tls = self._tls or self._begin()
        if tls is None:
            self._answer_plainly()
            return False
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            return True
        except ssl.SSLError as exc:
            LOG.debug("There is no TLS with %s: %s.", self.remote_addr, exc)
            self.lingers = True  # OpenSSL has told the client why
            return False
        self.rfile = SecureReader(Incoming(tls, self.server.clock), tls)
        self.wfile = Writer(tls, self.server.limits.answer_timeout_s)
        self.ready = True
        return False

    def _begin(self) -> TLSSocket | None:
        """The socket under TLS; None when the client's first byte is none of TLS."""
        if self.socket.recv(1, socket.MSG_PEEK) not in (_HANDSHAKE, b""):
            return None
        try:
            self.socket = self._tls = self._identity.wrap(self.socket)
        except OSError:
            self.watched = False  # the client has gone, and the failure has closed its socket
            raise
        return self._tls

    def _answer_plainly(self) -> None:
        self.lingers = True
        self.socket.send(plain_answer("400 Bad Request", "This port speaks HTTPS, and was sent something else."))

    def refuse(self) -> None:
        """Answer 503 now, if a word of ours can be understood already."""
        if self.ready:
            super().refuse()
        self.lingers = True

    def end_sending(self) -> None:
        self._say_goodbye()
        super().end_sending()

    def close(self) -> None:
        self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        if self._tls is not None:
            self._tls.say_goodbye()
