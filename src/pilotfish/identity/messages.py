"""The messages of the services by which agents get certificates, on the wire.

Source: https://github.com/istio/api/blob/master/security/v1alpha1/ca.proto (package istio.v1.auth). Following the roots
is a service of our own: Istio's agents learn of a new root with their next certificate, which is too late for a peer
that has one already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pilotfish.envoy.wire import field, read_fields, varint_field

CREATE: Final = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
ROOTS: Final = "/pilotfish.identity.v1.IdentityService/FollowRoots"
ROTATE: Final = "/pilotfish.identity.v1.IdentityService/Rotate"


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """IstioCertificateRequest."""

    csr: bytes
    """PEM."""
    seconds: int = 0
    """For how long it is to be valid; 0 leaves it to the authority."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Whom to trust, and what a certificate must be of that need not be renewed."""

    trusted: bytes
    """PEM."""
    issuer: str
    """The fingerprint of what signs now: SHA-256, in hexadecimal digits."""
    trust_domain: str


def encode_request(request: CertificateRequest) -> bytes:
    return field(1, request.csr) + (varint_field(3, request.seconds) if request.seconds else b"")


def decode_request(body: bytes) -> CertificateRequest:
    """Raises ValueError."""
    csr, seconds = b"", 0
    for number, value in read_fields(body):
        if number == 1 and isinstance(value, bytes):
            csr = value
        elif number == 3 and isinstance(value, int):
            seconds = value if value < 1 << 63 else value - (1 << 64)
    return CertificateRequest(csr, seconds)


def encode_chain(certificates: Sequence[bytes]) -> bytes:
    """IstioCertificateResponse: the certificate, those that lead to a root, and at last a root. PEM each."""
    return b"".join(field(1, each) for each in certificates)


def decode_chain(body: bytes) -> tuple[bytes, ...]:
    """Raises ValueError."""
    return tuple(value for number, value in read_fields(body) if number == 1 and isinstance(value, bytes))


def encode_roots(roots: Roots) -> bytes:
    return field(1, roots.trusted) + field(2, roots.issuer.encode()) + field(3, roots.trust_domain.encode())


def decode_roots(body: bytes) -> Roots:
    """Raises ValueError."""
    found = {number: value for number, value in read_fields(body) if isinstance(value, bytes)}
    return Roots(found.get(1, b""), found.get(2, b"").decode(), found.get(3, b"").decode())
