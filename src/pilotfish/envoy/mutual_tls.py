"""TLS between workloads of the mesh, with the certificates that each proxy has from its agent.

A client says in its ALPN that it is a proxy of the mesh, and what it speaks within: by that a server tells it from an
app that speaks TLS by itself. Source: Istio's names of these,
https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/listener_builder.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import SubjectAltNameMatcher, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)

from pilotfish.envoy.message import pack, seconds
from pilotfish.envoy.naming import MESH_ROOTS, SDS_CLUSTER, WORKLOAD_CERTIFICATE
from pilotfish.model.settings import MutualSettings

MESH_HTTP: Final = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
"""The client's proxy knows that it speaks HTTP."""
MESH_TCP: Final = ("istio-peer-exchange", "istio")
MESH: Final = (*MESH_TCP, *MESH_HTTP)

_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)
_TLS: Final = "envoy.transport_sockets.tls"


def build_server(mutual: MutualSettings) -> TransportSocket:
    """Clients must show a certificate of the mesh."""
    context = DownstreamTlsContext(common_tls_context=_common(mutual))
    context.require_client_certificate.value = True
    common = context.common_tls_context
    common.tls_params.cipher_suites.extend(mutual.cipher_suites or _SUITES)
    common.alpn_protocols.extend(("h2", "http/1.1"))
    trusted = common.combined_validation_context.default_validation_context.match_typed_subject_alt_names
    for domain in mutual.trust_domains:
        trusted.add(san_type=SubjectAltNameMatcher.URI).matcher.prefix = f"spiffe://{domain}/"
    return TransportSocket(name=_TLS, typed_config=pack(context))


def build_client(
    mutual: MutualSettings, server_name: str, identities: Iterable[str], protocols: Iterable[str]
) -> TransportSocket:
    """The server must be one of these identities, where any is given, and of the mesh in any case."""
    context = UpstreamTlsContext(common_tls_context=_common(mutual), sni=server_name)
    common = context.common_tls_context
    common.alpn_protocols.extend(protocols)
    accepted = common.combined_validation_context.default_validation_context.match_typed_subject_alt_names
    for identity in identities:
        accepted.add(san_type=SubjectAltNameMatcher.URI).matcher.exact = identity
    return TransportSocket(name=_TLS, typed_config=pack(context))


def _common(mutual: MutualSettings) -> CommonTlsContext:
    common = CommonTlsContext(tls_certificate_sds_secret_configs=[_of_agent(WORKLOAD_CERTIFICATE)])
    parameters = common.tls_params
    parameters.tls_minimum_protocol_version = TlsParameters.TlsProtocol.Value(mutual.lowest_version)
    parameters.tls_maximum_protocol_version = TlsParameters.TLSv1_3
    parameters.ecdh_curves.extend(mutual.curves)
    combined = common.combined_validation_context
    combined.default_validation_context.SetInParent()
    combined.validation_context_sds_secret_config.CopyFrom(_of_agent(MESH_ROOTS))
    return common


def _of_agent(name: str) -> SdsSecretConfig:
    """From the agent's socket; waited for however long it takes."""
    asked = ApiConfigSource(
        api_type=ApiConfigSource.GRPC,
        transport_api_version=ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=SDS_CLUSTER))],
    )
    source = ConfigSource(api_config_source=asked, initial_fetch_timeout=seconds(0), resource_api_version=ApiVersion.V3)
    return SdsSecretConfig(name=name, sds_config=source)
