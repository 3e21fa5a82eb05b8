"""The certificates of a cluster, and a kubeconfig for each of its users.

    folder/{ca,front-proxy-ca,NAME}.{crt,key}    folder/sa.{key,pub}    folder/NAME.kubeconfig

Source: https://kubernetes.io/docs/setup/best-practices/certificates/
"""

from __future__ import annotations

import ipaddress
import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Pki:
    """Of one cluster: all of it is in the folder, so that several processes may issue."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Pki:
        folder.mkdir(parents=True)
        pki = cls(folder)
        pki._found("ca", "kubernetes-ca")
        pki._found("front-proxy-ca", "front-proxy-ca")
        pki._issue("front-proxy", "front-proxy-client", by="front-proxy-ca")
        account = rsa.generate_private_key(65537, 2048)
        (folder / "sa.key").write_bytes(_private(account))
        public = account.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "sa.pub").write_bytes(public)
        return pki

    @property
    def root(self) -> Path:
        return self.folder / "ca.crt"

    def server(self, name: str, common: str, names: Iterable[str], organisation: str = "") -> None:
        """For whoever is asked at these DNS names and addresses."""
        self._issue(name, common, organisation, tuple(names))

    def client(self, name: str, common: str, organisation: str = "") -> None:
        self._issue(name, common, organisation)

    def user(self, name: str, server: str, common: str, organisation: str = "") -> Path:
        """The kubeconfig, which holds all that it takes, of a user of the API server at this URL."""
        self.client(name, common, organisation)
        held = {part: b64encode((self.folder / part).read_bytes()).decode() for part in (f"{name}.crt", f"{name}.key")}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": b64encode(self.root.read_bytes()).decode(),
                    },
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        "client-certificate-data": held[f"{name}.crt"],
                        "client-key-data": held[f"{name}.key"],
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(document, indent=2))  # JSON is YAML
        return path

    def _found(self, name: str, common: str) -> None:
        """An authority of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        draft = _draft(_subject(common), _subject(common), key)
        certificate = draft.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
        self._write(name, certificate, key)

    def _issue(
        self, name: str, common: str, organisation: str = "", names: tuple[str, ...] = (), by: str = "ca"
    ) -> None:
        issuer = x509.load_pem_x509_certificate((self.folder / f"{by}.crt").read_bytes())
        issuing = load_pem_private_key((self.folder / f"{by}.key").read_bytes(), None)
        assert isinstance(issuing, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        draft = _draft(_subject(common, organisation), issuer.subject, key)
        draft = draft.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if names:
            draft = draft.add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), False)
        self._write(name, draft.sign(issuing, hashes.SHA256()), key)

    def _write(self, name: str, certificate: x509.Certificate, key: _Key) -> None:
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(_private(key))


def _draft(subject: x509.Name, issuer: x509.Name, key: _Key) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
    )


def _subject(common: str, organisation: str = "") -> x509.Name:
    group = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: _Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
