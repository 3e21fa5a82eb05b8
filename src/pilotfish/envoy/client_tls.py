"""TLS from a client's proxy to a service.

Files are named in the cluster, not in secrets that come by SDS: of several secrets in one response Envoy takes none
after one whose file is not there, while of clusters it refuses that one alone, and names it. They are read when the
cluster is made.
"""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import SubjectAltNameMatcher, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from pilotfish.envoy.message import pack
from pilotfish.model.traffic_policy import ClientTLS


def speak_tls(cluster: Cluster, options: HttpProtocolOptions, tls: ClientTLS) -> None:
    context = UpstreamTlsContext(sni=tls.server_name)
    common = context.common_tls_context
    common.tls_params.tls_minimum_protocol_version = TlsParameters.TLSv1_2
    common.tls_params.tls_maximum_protocol_version = TlsParameters.TLSv1_3
    if options.explicit_http_config.HasField("http2_protocol_options"):
        common.alpn_protocols.append("h2")
    if tls.certificate:
        common.tls_certificates.add(certificate_chain=_file(tls.certificate), private_key=_file(tls.private_key))
    if tls.ca_certificates is not None:
        trust = common.validation_context
        trust.trusted_ca.CopyFrom(_file(tls.ca_certificates))
        if tls.crl:
            trust.crl.CopyFrom(_file(tls.crl))
        trust.match_typed_subject_alt_names.extend(
            matcher for name in tls.subject_alt_names for matcher in _alt_name(name)
        )
    cluster.transport_socket.name = "envoy.transport_sockets.tls"
    cluster.transport_socket.typed_config.CopyFrom(pack(context))
    _follow_host(options, tls)


def _follow_host(options: HttpProtocolOptions, tls: ClientTLS) -> None:
    """What is not said is taken from the request's host. Source: Istio's setAutoSniAndAutoSanValidation,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/cluster_tls.go"""
    if not tls.server_name:
        upstream = options.upstream_http_protocol_options
        upstream.auto_sni = True
        upstream.auto_san_validation = not tls.subject_alt_names and tls.ca_certificates is not None


def _alt_name(name: str) -> list[SubjectAltNameMatcher]:
    """The name may be of any type."""
    types = (SubjectAltNameMatcher.URI, SubjectAltNameMatcher.DNS, SubjectAltNameMatcher.EMAIL)
    kinds = (*types, SubjectAltNameMatcher.IP_ADDRESS)
    found = [SubjectAltNameMatcher(san_type=kind) for kind in kinds]
    for matcher in found:
        matcher.matcher.exact = name
    return found


def _file(path: str) -> DataSource:
    return DataSource(filename=path)
