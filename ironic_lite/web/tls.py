"""TLS under HTTP, for both ends: what a server proves itself with, whom a client trusts, the socket between them."""

from __future__ import annotations

import contextlib
import errno
import logging
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


class Files(msgspec.Struct, frozen=True):
    """What the options of one server say; `section` is theirs. Without `key` it is in the certificate's file."""

    section: str
    certificate: str | None
    key: str | None
    minimum_version: str
    ciphers: str | None


class Identity:
    """What a server proves itself with. `context` may be another one after each `reload`; connections keep theirs."""

    def __init__(self, files: Files) -> None:
        """Read the files. Raises `ConfigurationError` when they cannot be used, naming option and reason."""
        self._files = files
        self.context = _server_context(files)

    def reload(self) -> None:
        """Read the files again, for connections from now on. Files that cannot be used change nothing."""
        try:
            self.context = _server_context(self._files)
        except errors.ConfigurationError as exc:
            LOG.error("The certificate that was read before stays in use: %s", exc)  # noqa: TRY400  # no trace needed
        else:
            LOG.info("The certificate of [%s]cert_file was read again.", self._files.section)


def client_context(section: str, cafile: str | None) -> ssl.SSLContext:
    """What a client demands of servers: a certificate of a trusted CA, for the host that it asked for.

    Without `cafile` the CAs of this host are trusted. Raises `ConfigurationError` when it cannot be used.
    """
    if cafile is not None:
        _demand_readable(f"[{section}]cafile", cafile)
    try:
        context = ssl.create_default_context(cafile=cafile)
    except ssl.SSLError as exc:
        reason = f"[{section}]cafile {cafile} holds no certificate in PEM format: {_reason(exc)}."
        raise errors.ConfigurationError(reason=reason) from exc
    context.sslsocket_class = TLSSocket
    return context


def _server_context(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.sslsocket_class = TLSSocket
    context.minimum_version = VERSIONS[files.minimum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files)
    if files.ciphers is not None:
        _choose_ciphers(context, files.section, files.ciphers)
    return context


def _load(context: ssl.SSLContext, files: Files) -> None:
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
