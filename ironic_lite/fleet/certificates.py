"""The certificates of a fleet that speaks TLS: a CA of its own, and one certificate for each `BLOCK` addresses.

A certificate that named 10,000 addresses would be 60 KB in each handshake; one for each address would cost a context
for each. Elliptic curves: the fleet's CPU is not what is measured.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ironic_lite.clock import Clock

BLOCK: Final = 64
_VALID: Final = datetime.timedelta(days=30)
_EARLIER: Final = datetime.timedelta(hours=1)


class Certificates:
    """Contexts by address, made when they are first asked for. `ca_file` is where the CA's certificate is written."""

    def __init__(self, clock: Clock, ca_file: Path) -> None:
        """Raises `OSError` when the file cannot be written."""
        self._now = clock.now()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("ironic-lite-fleet CA")
        self._contexts: dict[int, ssl.SSLContext] = {}
        ca = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        ca = ca.add_extension(usage, True)
        ca_file.write_bytes(ca.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def context(self, address: str) -> ssl.SSLContext:
        """What the BMC of that address shows its clients."""
        block = int(ipaddress.IPv4Address(address)) // BLOCK
        if block not in self._contexts:
            self._contexts[block] = self._issue(block)
        return self._contexts[block]

    def _issue(self, block: int) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        first = ipaddress.IPv4Address(block * BLOCK)
        names = x509.SubjectAlternativeName([x509.IPAddress(first + index) for index in range(BLOCK)])
        builder = self._builder(_name(f"BMCs from {first} on"), key).add_extension(names, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        certificate = builder.sign(self._key, hashes.SHA256())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # what keeps its connection needs none
        with tempfile.NamedTemporaryFile() as file:  # a context loads from files alone
            file.write(certificate.public_bytes(serialization.Encoding.PEM))
            plain = serialization.NoEncryption()
            file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        public = key.public_key()
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(self._now - _EARLIER).not_valid_after(self._now + _VALID)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        subject_key = x509.SubjectKeyIdentifier.from_public_key(public)
        return builder.add_extension(issuer, False).add_extension(subject_key, False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
