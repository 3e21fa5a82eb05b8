"""TLS that a proxy ends."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.quic.v3.quic_transport_pb2 import QuicDownstreamTransport
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext

from pilotfish.envoy.client_tls import alt_name
from pilotfish.envoy.message import pack
from pilotfish.envoy.mutual_tls import build_server, tls_socket
from pilotfish.envoy.secrets import file_config, pair_config, trust_config
from pilotfish.model.credential import PairFiles, TrustFiles
from pilotfish.model.gateway import ClientCertificate, ServerTLS
from pilotfish.model.settings import MutualSettings


def build_server_tls(tls: ServerTLS, mutual: MutualSettings) -> TransportSocket:
    if tls.of_mesh:
        return tls_socket(_build_mesh_context(tls, mutual))
    context = _build_context(tls)
    context.common_tls_context.alpn_protocols.extend(tls.alpn)
    return tls_socket(context)


def build_quic_tls(tls: ServerTLS) -> TransportSocket:
    """The same over QUIC, whose TLS is 1.3."""
    context = _build_context(tls)
    context.common_tls_context.ClearField("tls_params")
    context.common_tls_context.alpn_protocols.append("h3")
    quic = QuicDownstreamTransport(downstream_tls_context=context)
    return TransportSocket(name="envoy.transport_sockets.quic", typed_config=pack(quic))


def _build_mesh_context(tls: ServerTLS, mutual: MutualSettings) -> DownstreamTlsContext:
    """With what the server says otherwise than the mesh."""
    context = build_server(mutual)
    common = context.common_tls_context
    _set_parameters(common.tls_params, tls)
    if tls.alpn:
        common.ClearField("alpn_protocols")
        common.alpn_protocols.extend(tls.alpn)
    if tls.subject_alt_names:
        accepted = common.combined_validation_context.default_validation_context
        accepted.ClearField("match_typed_subject_alt_names")
        names = (matcher for name in tls.subject_alt_names for matcher in alt_name(name))
        accepted.match_typed_subject_alt_names.extend(names)
    return context


def _build_context(tls: ServerTLS) -> DownstreamTlsContext:
    context = DownstreamTlsContext()
    common = context.common_tls_context
    _set_parameters(common.tls_params, tls)
    files = (PairFiles(chain, key) for chain, key in tls.certificates)
    common.tls_certificate_sds_secret_configs.extend(map(file_config, files))
    common.tls_certificate_sds_secret_configs.extend(map(pair_config, tls.credentials))
    context.require_client_certificate.value = tls.client is ClientCertificate.REQUIRED
    if tls.client is not ClientCertificate.IGNORED:
        _set_trust(common, tls)
    return context


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
    if tls.ca_credential or tls.ca_certificates:
        files = TrustFiles(tls.ca_certificates, tls.crl)
        combined = common.combined_validation_context
        combined.validation_context_sds_secret_config.CopyFrom(
            trust_config(tls.ca_credential) if tls.ca_credential else file_config(files)
        )
        trust = combined.default_validation_context
        trust.SetInParent()
    trust.verify_certificate_spki.extend(tls.spki_pins)
    trust.verify_certificate_hash.extend(tls.certificate_pins)
    trust.match_typed_subject_alt_names.extend(matcher for name in tls.subject_alt_names for matcher in alt_name(name))
    if tls.accepts_untrusted:
        trust.trust_chain_verification = CertificateValidationContext.ACCEPT_UNTRUSTED
