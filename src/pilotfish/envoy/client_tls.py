"""TLS from a client's proxy to a service.

Certificates come by SDS, from discovery or from the agent, so that a new one needs no new cluster. But whom the machine
trusts is a file that Envoy reads itself, and once: it is there, is large, and is hardly ever another.
"""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from pilotfish.envoy.message import pack
from pilotfish.envoy.secrets import file_config, pair_config, pair_reference, trust_config, trust_reference
from pilotfish.envoy.values import Reference
from pilotfish.model.credential import PairFiles, TrustFiles
from pilotfish.model.traffic_policy import ClientCredential, ClientTLS
from pilotfish.model.wellknown import SYSTEM_CA_CERTIFICATES


def speak_tls(cluster: Cluster, options: HttpProtocolOptions, tls: ClientTLS) -> None:
    context = UpstreamTlsContext(sni=tls.server_name)
    common = context.common_tls_context
    common.tls_params.tls_minimum_protocol_version = TlsParameters.TLSv1_2
    common.tls_params.tls_maximum_protocol_version = TlsParameters.TLSv1_3
    common.tls_params.cipher_suites.extend(tls.cipher_suites)
    common.tls_params.ecdh_curves.extend(tls.curves)
    if options.explicit_http_config.HasField("http2_protocol_options"):
        common.alpn_protocols.append("h2")
    if tls.certificate:
        shown = PairFiles(tls.certificate, tls.private_key)
        common.tls_certificate_sds_secret_configs.append(file_config(shown))
    if tls.credential is not None:
        _take_credential(common, tls.credential, tls.subject_alt_names)
    elif tls.ca_certificates is not None:
        _match_names(_trust_files(common, TrustFiles(tls.ca_certificates, tls.crl)), tls.subject_alt_names)
    cluster.transport_socket.name = "envoy.transport_sockets.tls"
    cluster.transport_socket.typed_config.CopyFrom(pack(context))
    _follow_host(options, tls)


def tls_references(tls: ClientTLS) -> tuple[Reference, ...]:
    """The secrets that a cluster with this TLS refers to."""
    named = tls.credential
    if named is None:
        return ()
    shown = (pair_reference(named.name),) if named.shows else ()
    return (*shown, trust_reference(named.trusted)) if named.trusts else shown


def _take_credential(common: CommonTlsContext, named: ClientCredential, names: tuple[str, ...]) -> None:
    if named.shows:
        common.tls_certificate_sds_secret_configs.append(pair_config(named.name))
    if named.trusts:
        trusted = common.combined_validation_context
        trusted.validation_context_sds_secret_config.CopyFrom(trust_config(named.trusted))
        trusted.default_validation_context.SetInParent()
        _match_names(trusted.default_validation_context, names)


def _trust_files(common: CommonTlsContext, files: TrustFiles) -> CertificateValidationContext:
    """What else is to be asked of a certificate is for the caller to add."""
    if files == TrustFiles(SYSTEM_CA_CERTIFICATES):
        common.validation_context.trusted_ca.filename = SYSTEM_CA_CERTIFICATES
        return common.validation_context
    trusted = common.combined_validation_context
    trusted.validation_context_sds_secret_config.CopyFrom(file_config(files))
    trusted.default_validation_context.SetInParent()
    return trusted.default_validation_context


def _match_names(trust: CertificateValidationContext, names: tuple[str, ...]) -> None:
    trust.match_typed_subject_alt_names.extend(matcher for name in names for matcher in alt_name(name))


def _follow_host(options: HttpProtocolOptions, tls: ClientTLS) -> None:
    """What is not said is taken from the request's host. Source: Istio's setAutoSniAndAutoSanValidation,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/cluster_tls.go"""
    if not tls.server_name:
        upstream = options.upstream_http_protocol_options
        upstream.auto_sni = True
        upstream.auto_san_validation = not tls.subject_alt_names and tls.verifies


def alt_name(name: str) -> list[SubjectAltNameMatcher]:
    """The name may be of any type."""
    types = (SubjectAltNameMatcher.URI, SubjectAltNameMatcher.DNS, SubjectAltNameMatcher.EMAIL)
    kinds = (*types, SubjectAltNameMatcher.IP_ADDRESS)
    found = [SubjectAltNameMatcher(san_type=kind) for kind in kinds]
    for matcher in found:
        matcher.matcher.exact = name
    return found
