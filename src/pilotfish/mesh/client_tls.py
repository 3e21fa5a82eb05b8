"""How proxies speak TLS to those whom they call, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings
"""

from __future__ import annotations

from pilotfish.config import istio
from pilotfish.model.traffic_policy import ClientCredential, ClientTLS
from pilotfish.model.wellknown import SYSTEM_CA_CERTIFICATES


def lower_credential(source: istio.ClientTLSSettings) -> ClientCredential:
    """Of settings that name one, or another that says whom to trust."""
    name, authority = source.credential_name, source.ca_cert_credential_name
    shows, trusts = source.mode == "MUTUAL" and bool(name), not source.insecure_skip_verify
    return ClientCredential(name or authority, shows, trusts, authority if name else "")


def lower_client_tls(source: istio.ClientTLSSettings, verifies: bool = True) -> ClientTLS | None:
    """`verifies`: a server's certificate is looked at where nobody says whom to trust."""
    if source.mode not in ("SIMPLE", "MUTUAL"):
        return None
    is_mutual = source.mode == "MUTUAL"
    if source.credential_name or source.ca_cert_credential_name:
        return ClientTLS(
            certificate="" if source.credential_name or not is_mutual else source.client_certificate,
            private_key="" if source.credential_name or not is_mutual else source.private_key,
            server_name=source.sni,
            subject_alt_names=source.subject_alt_names,
            credential=lower_credential(source),
        )
    trusted = source.ca_certificates if source.ca_certificates not in ("", "system") else SYSTEM_CA_CERTIFICATES
    is_trusting = source.insecure_skip_verify or not (verifies or source.ca_certificates)
    return ClientTLS(
        ca_certificates=None if is_trusting else trusted,
        crl="" if source.insecure_skip_verify else source.ca_crl,
        certificate=source.client_certificate if is_mutual else "",
        private_key=source.private_key if is_mutual else "",
        server_name=source.sni,
        subject_alt_names=source.subject_alt_names,
    )
