"""Keys and certificate signing requests: made by an agent, read by the authority.

A private key never leaves the process that made it; what goes over the wire is the request.
Source: RFC 2986 (PKCS #10), https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pilotfish.mesh.certificates import UnusableError, check_key
from pilotfish.model.private import PrivateBytes, reveal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

LARGEST: Final = 16 << 10
"""Bytes of a request in PEM: one with an RSA key of 8,192 bits has 3,000."""


class BadRequestError(ValueError):
    """No certificate can be made from what was sent; `str` says why."""


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What is to be signed."""

    public_key: CertificatePublicKeyTypes
    uris: tuple[str, ...]
    """Who it asks to be; () leaves that to the authority."""
    names: tuple[str, ...]
    """Whatever else it asks to be called, for people."""


def new_key() -> PrivateBytes:
    """ECDSA P-256, PKCS #8, PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return PrivateBytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def build_request(private_key: bytes, uri: str = "") -> bytes:
    """PEM. `uri`: who to ask for; "" takes what the authority gives."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uri:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), True)
    # Nothing else than `new_key` makes such a key.
    key = load_pem_private_key(reveal(private_key), password=None)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def parse_request(pem: bytes) -> SigningRequest:
    """Raises BadRequestError, also for a request that is not signed by its own key, or whose key is weak."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    if len(pem) > LARGEST:
        raise BadRequestError(f"a certificate signing request of {len(pem)} bytes; {LARGEST} is the most")
    try:
        request = x509.load_pem_x509_csr(pem)
        valid, key, extensions = request.is_signature_valid, request.public_key(), request.extensions
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise BadRequestError(f"this is no certificate signing request in PEM: {error}") from error
    if not valid:
        raise BadRequestError("the request is not signed by the key that it holds")
    try:
        check_key(key, "the request")
    except UnusableError as error:
        raise BadRequestError(str(error)) from error
    try:
        asked = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return SigningRequest(key, (), ())
    uris = tuple(asked.get_values_for_type(x509.UniformResourceIdentifier))
    others = tuple(str(each.value) for each in asked if not isinstance(each, x509.UniformResourceIdentifier))
    return SigningRequest(key, uris, others)
