"""TLS under HTTP, for both ends: what a server proves itself with, whom a client trusts, the socket between them."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
from pathlib import Path
from typing import Any, Final

import msgspec

from ironic_lite import errors

LOG = logging.getLogger(__name__)

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TLSSocket(ssl.SSLSocket):
    """A connection under TLS, whose failures are those of a connection.

    OpenSSL's own carry numbers that look like an errno and are none.
    """

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything within the time-out. Raises `TimeoutError` and `ConnectionError`."""
        try:
            super().sendall(data, flags)
        except ssl.SSLError as exc:
            raise _lost(exc) from exc

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive within the time-out. Raises `TimeoutError` and `ConnectionError`."""
        try:
            return super().recv_into(buffer, nbytes, flags)
        except ssl.SSLError as exc:
            raise _lost(exc) from exc

    def say_goodbye(self) -> None:
        """Tell the peer that nothing follows (close_notify), if that can be done without waiting."""
        self.setblocking(False)
        with contextlib.suppress(OSError, ValueError):  # it hung up, never shook hands, or was told already
            self.unwrap()


class Identity(msgspec.Struct, frozen=True):
    """What a server proves itself with, as its options say; `section` is theirs.

    Without `key` the key is in the certificate's file.
    """

    section: str
    certificate: str | None
    key: str | None
    minimum_version: str
    ciphers: str | None

    def make(self) -> ssl.SSLContext:
        """The server's side of TLS. Raises `ConfigurationError`, naming option and reason."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = VERSIONS[self.minimum_version]
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        _load(context, self)
        if self.ciphers is not None:
            _choose_ciphers(context, self.section, self.ciphers)
        return context


class Trust(msgspec.Struct, frozen=True):
    """Whom a client trusts: who has a certificate of these CAs for the host that was asked for.

    Without `cafile` they are the CAs that this host trusts.
    """

    section: str
    cafile: str | None

    def make(self) -> ssl.SSLContext:
        """The client's side of TLS. Raises `ConfigurationError`, naming option and reason."""
        if self.cafile is not None:
            _demand_readable(f"[{self.section}]cafile", self.cafile)
        try:
            return ssl.create_default_context(cafile=self.cafile)
        except ssl.SSLError as exc:
            reason = f"[{self.section}]cafile {self.cafile} holds no certificate in PEM format: {_reason(exc)}."
            raise errors.ConfigurationError(reason=reason) from exc


class TLS:
    """One side of TLS, made from files that may be renewed in place."""

    def __init__(self, source: Identity | Trust) -> None:
        """Read the files. Raises `ConfigurationError` when they cannot be used."""
        self._source = source
        self._context = self._make()

    def wrap(self, sock: socket.socket, *, server_hostname: str | None = None) -> TLSSocket:
        """The socket under TLS, before its handshake, as a server's or as a client's of `server_hostname`."""
        tls = self._context.wrap_socket(
            sock,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
        )
        assert isinstance(tls, TLSSocket)  # noqa: S101  # the context makes no other
        return tls

    def reload(self) -> None:
        """Read the files again, for connections from now on. Files that cannot be used change nothing."""
        try:
            self._context = self._make()
        except errors.ConfigurationError as exc:
            LOG.error("What TLS was given before stays in use: %s", exc)  # noqa: TRY400  # no trace needed
        else:
            LOG.info("The certificates of [%s] were read again.", self._source.section)

    def _make(self) -> ssl.SSLContext:
        context = self._source.make()
        context.sslsocket_class = TLSSocket
        return context


def _load(context: ssl.SSLContext, files: Identity) -> None:
    if files.certificate is None:
        raise errors.ConfigurationError(reason=f"TLS needs a certificate: set [{files.section}]cert_file.")
    _demand_readable(f"[{files.section}]cert_file", files.certificate)
    named = f"[{files.section}]cert_file {files.certificate}"
    if files.key is not None:
        _demand_readable(f"[{files.section}]key_file", files.key)
        named += f" and key_file {files.key}"
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    except (ssl.SSLError, _Encrypted) as exc:
        reason = f"{named} are no certificate and its key in PEM format, without a passphrase: {_reason(exc)}."
        raise errors.ConfigurationError(reason=reason) from exc


class _Encrypted(Exception):
    """A key that asks for its passphrase. Without this OpenSSL would ask on the terminal, and wait."""


def _no_passphrase() -> str:
    raise _Encrypted("the key is encrypted")


def _choose_ciphers(context: ssl.SSLContext, section: str, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as exc:
        reason = f"[{section}]server_tls_ciphers {ciphers!r} names no cipher that OpenSSL has."
        raise errors.ConfigurationError(reason=reason) from exc


def _demand_readable(option: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as exc:
        raise errors.ConfigurationError(reason=f"{option} {path} cannot be read: {exc.strerror}.") from exc


def _lost(exc: ssl.SSLError) -> ConnectionAbortedError:
    return ConnectionAbortedError(errno.ECONNABORTED, f"TLS failed: {_reason(exc)}")


def _reason(exc: ssl.SSLError | _Encrypted) -> str:
    return str(getattr(exc, "reason", None) or exc).lower().replace("_", " ")
