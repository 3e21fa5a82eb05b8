"""Certificates of any kind, made as they are needed: PEM, with ECDSA keys, which take a millisecond."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    certificate: x509.Certificate
    private_key: _Key

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key(self) -> str:
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def issue(
    name: str,
    by: Issued | None = None,
    *names: str,
    days: float = 9,
    key: _Key | None = None,
    is_ca: bool = False,
) -> Issued:
    """A certificate for `name`, with these DNS names or URIs. One without `by` signs itself; `days` below 0: it has
    expired."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 20 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(is_ca or by is None, None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alt_name(each) for each in names]), False)
    return Issued(builder.sign(by.private_key if by else own, hashes.SHA256()), own)


def _alt_name(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name)


def revoke(by: Issued, *revoked: Issued) -> str:
    """The list of what `by` signed and is no longer to be trusted."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject)
    builder = builder.last_update(now - DAY).next_update(now + 9 * DAY)
    for each in revoked:
        serial = each.certificate.serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(by.private_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def key_pin(issued: Issued) -> str:
    """As `verifyCertificateSpki` has it."""
    public = issued.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(sha256(public).digest()).decode()


def secret(name: str, namespace: str = "vm", **keys: str) -> str:
    """A Secret's YAML; `tls_crt` is the key `tls.crt`."""
    data = {key.replace("_", "."): b64encode(value.encode()).decode() for key, value in keys.items()}
    metadata = {"name": name, "namespace": namespace}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}) + "\n---\n"
