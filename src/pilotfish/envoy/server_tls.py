"""TLS that a gateway ends.

Files are named in the listener, as in clusters (`client_tls`): Envoy refuses that one alone where one is not there.
"""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import DataSource, TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext

from pilotfish.envoy.client_tls import alt_name
from pilotfish.envoy.mutual_tls import build_server, tls_socket
from pilotfish.envoy.secrets import pair_config, trust_config
from pilotfish.model.gateway import ClientCertificate, ServerTLS
from pilotfish.model.settings import MutualSettings


def build_server_tls(tls: ServerTLS, mutual: MutualSettings) -> TransportSocket:
    context = build_server(mutual) if tls.of_mesh else DownstreamTlsContext()
    common = context.common_tls_context
    _set_parameters(common.tls_params, tls)
    if tls.alpn or not tls.of_mesh:
        common.ClearField("alpn_protocols")
        common.alpn_protocols.extend(tls.alpn)
    if tls.of_mesh:
        _accept_only(common.combined_validation_context.default_validation_context, tls.subject_alt_names)
        return tls_socket(context)
    for chain, key in tls.certificates:
        common.tls_certificates.add(certificate_chain=_file(chain), private_key=_file(key))
    common.tls_certificate_sds_secret_configs.extend(map(pair_config, tls.credentials))
    context.require_client_certificate.value = tls.client is ClientCertificate.REQUIRED
    if tls.client is not ClientCertificate.IGNORED:
        _set_trust(common, tls)
    return tls_socket(context)


def _accept_only(trusted: CertificateValidationContext, names: tuple[str, ...]) -> None:
    """These, of all that are of the mesh; all, where none is named."""
    if names:
        trusted.ClearField("match_typed_subject_alt_names")
        trusted.match_typed_subject_alt_names.extend(matcher for name in names for matcher in alt_name(name))


def _set_parameters(parameters: TlsParameters, tls: ServerTLS) -> None:
    if tls.lowest_version:
        parameters.tls_minimum_protocol_version = TlsParameters.TlsProtocol.Value(tls.lowest_version)
    if tls.highest_version:
        parameters.tls_maximum_protocol_version = TlsParameters.TlsProtocol.Value(tls.highest_version)
    if tls.cipher_suites:
        parameters.ClearField("cipher_suites")
        parameters.cipher_suites.extend(tls.cipher_suites)
    if tls.curves:
        parameters.ClearField("ecdh_curves")
        parameters.ecdh_curves.extend(tls.curves)


def _set_trust(common: CommonTlsContext, tls: ServerTLS) -> None:
    trust = common.validation_context
    if tls.ca_credential:
        combined = common.combined_validation_context
        combined.validation_context_sds_secret_config.CopyFrom(trust_config(tls.ca_credential))
        trust = combined.default_validation_context
    trust.verify_certificate_spki.extend(tls.spki_pins)
    trust.verify_certificate_hash.extend(tls.certificate_pins)
    trust.match_typed_subject_alt_names.extend(matcher for name in tls.subject_alt_names for matcher in alt_name(name))
    if tls.accepts_untrusted:
        trust.trust_chain_verification = CertificateValidationContext.ACCEPT_UNTRUSTED
    if tls.ca_certificates:
        trust.trusted_ca.CopyFrom(_file(tls.ca_certificates))
        if tls.crl:
            trust.crl.CopyFrom(_file(tls.crl))


def _file(path: str) -> DataSource:
    return DataSource(filename=path)
