"""An authority of a test's own, and the certificates that it signs, as RFC 5280 wants them: Python 3.13 insists."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_BEGINS, _ENDS = datetime.datetime(2020, 1, 1), datetime.datetime(2120, 1, 1)  # noqa: DTZ001  # cryptography takes UTC

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates into a directory; `path` is what its clients trust."""

    def __init__(self, directory: Path, name: str = "test authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._name = directory, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = (
            _builder(name, name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        self._certificate = own.sign(self._key, hashes.SHA256())
        self.path = directory / f"{name.replace(' ', '-')}.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, file: str, *hosts: str, chain: int = 0, passphrase: bytes | None = None, key: Key | None = None
    ) -> Pair:
        """A new certificate for the hosts (127.0.0.1 unless given), and its key.

        `chain` is how often the authority's own follows it in the file, which only makes a handshake longer.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_name(host) for host in hosts or ("127.0.0.1",)])
        builder = _builder(file, self._name, key).add_extension(names, critical=False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = builder.add_extension(signer, critical=False).sign(self._key, hashes.SHA256())
        pair = Pair(self._directory / f"{file}.crt", self._directory / f"{file}.key")
        pem = [made.public_bytes(serialization.Encoding.PEM), *[self.path.read_bytes()] * chain]
        pair.certificate.write_bytes(b"".join(pem))
        kept = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept))
        return pair


def _builder(subject: str, issuer: str, key: Key) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINS)
        .not_valid_after(_ENDS)
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
