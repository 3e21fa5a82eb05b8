"""How a gateway ends TLS, in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from __future__ import annotations

from typing import Final

from pilotfish.config import istio
from pilotfish.config.cipher_suites import usable
from pilotfish.model import Protocol
from pilotfish.model.gateway import ClientCertificate, ServerTLS

_CLIENTS: Final = {
    "SIMPLE": ClientCertificate.IGNORED,
    "MUTUAL": ClientCertificate.REQUIRED,
    "OPTIONAL_MUTUAL": ClientCertificate.OPTIONAL,
    "ISTIO_MUTUAL": ClientCertificate.REQUIRED,
}
_VERSIONS: Final = {"TLSV1_0": "TLSv1_0", "TLSV1_1": "TLSv1_1", "TLSV1_2": "TLSv1_2", "TLSV1_3": "TLSv1_3"}
_LOWEST: Final = "TLSv1_2"
"""Where none is asked for: Istio's default."""
_MOST: Final = 2
"""Certificates: Envoy chooses by the kind of the key."""
_REQUESTS: Final = ("h2", "http/1.1")


def lower_server_tls(source: istio.ServerTLSSettings, protocol: Protocol) -> ServerTLS:
    credentials = (source.credential_names or (source.credential_name,)) if _has_credential(source) else ()
    client = _CLIENTS[source.mode]
    looks = client is not ClientCertificate.IGNORED
    return ServerTLS(
        of_mesh=source.mode == "ISTIO_MUTUAL",
        certificates=() if credentials or source.mode == "ISTIO_MUTUAL" else _certificates(source),
        credentials=credentials[:_MOST],
        client=client,
        ca_certificates=source.ca_certificates if looks and not credentials and not _ca_credential(source) else "",
        ca_credential=_ca_credential(source) if looks else "",
        crl=source.ca_crl if looks and not credentials else "",
        subject_alt_names=source.subject_alt_names if looks else (),
        spki_pins=source.verify_certificate_spki if looks else (),
        certificate_pins=source.verify_certificate_hash if looks else (),
        accepts_untrusted=source.insecure_skip_verify and looks,
        lowest_version=_VERSIONS.get(source.min_protocol_version, _lowest_below(source.max_protocol_version)),
        highest_version=_VERSIONS.get(source.max_protocol_version, ""),
        cipher_suites=usable(source.cipher_suites),
        curves=source.ecdh_curves,
        alpn=source.alpn_protocols or (_REQUESTS if protocol is Protocol.HTTPS else ()),
    )


def _has_credential(source: istio.ServerTLSSettings) -> bool:
    return bool(source.credential_name or source.credential_names)


def _ca_credential(source: istio.ServerTLSSettings) -> str:
    return source.ca_cert_credential_name or source.credential_name or next(iter(source.credential_names), "")


def _certificates(source: istio.ServerTLSSettings) -> tuple[tuple[str, str], ...]:
    listed = tuple((each.server_certificate, each.private_key) for each in source.tls_certificates)
    return (listed or ((source.server_certificate, source.private_key),))[:_MOST]


def _lowest_below(highest: str) -> str:
    """The default, unless the highest that is asked for is below it."""
    return min(_VERSIONS.get(highest, _LOWEST), _LOWEST)
