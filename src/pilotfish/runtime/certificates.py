"""Certificates in the words of views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotfish.runtime.control.views import CertificateView

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def describe(certificate: Certificate) -> CertificateView:
    """Its subject is, where it has one, the first URI among its names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    return CertificateView(
        subject=uris[0] if uris else certificate.subject.rfc4514_string(),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )
