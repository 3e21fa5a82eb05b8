"""TLS between workloads of the mesh, with the certificates that each proxy has from its agent.

A client says in its ALPN that it is a proxy of the mesh, and what it speaks within: by that a server tells it from an
app that speaks TLS by itself. Source: Istio's names of these,
https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/listener_builder.go
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import DataSource, TransportSocket
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import SubjectAltNameMatcher, TlsParameters
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from pilotfish.envoy.filter_state import PROTOCOLS
from pilotfish.envoy.message import pack, seconds
from pilotfish.envoy.naming import MESH_ROOTS, READ_GRPC, READ_HTTP, SDS_CLUSTER, WORKLOAD_CERTIFICATE
from pilotfish.model import Protocol
from pilotfish.model.service import MUTUAL
from pilotfish.model.settings import MutualSettings
from pilotfish.model.traffic_policy import MeshTLS

MESH_HTTP: Final = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
"""The client's proxy knows that it speaks HTTP."""
MESH_TCP: Final = ("istio-peer-exchange", "istio")
MESH: Final = (*MESH_TCP, *MESH_HTTP)

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_OLDEST: Final = 20
"""Seconds. An Envoy from which another takes over can't say that it ends on a connection that it passes on unread; it
cuts it a minute later (`agent.supervisor.LINGER`). By then the client has long since gone over to another."""
_IDLE: Final = 4
"""Seconds. Many servers end a connection that was idle for five (Node.js, Apache, uvicorn) or for more, and a request
that is just on its way to one is lost: so the client is the first to do it. Another connection costs a handshake."""

SPOKEN: Final = {
    Protocol.HTTP: ("istio-http/1.1", "istio", "http/1.1"),
    Protocol.HTTP2: ("istio-h2", "istio", "h2"),
    Protocol.AUTO: ("istio-http/1.1", "istio-h2", "istio"),
    Protocol.TCP: ("istio",),
}
"""What a client offers, by what it speaks within. AUTO: HTTP of either version, told apart by its first bytes; whatever
else goes to such a port says so itself (`SPEAKS_TCP`)."""

SPEAKS_TCP: Final = Filter(
    name="envoy.filters.network.set_filter_state",
    typed_config=pack(
        Config(
            on_new_connection=[
                FilterStateValue(
                    object_key=PROTOCOLS,
                    format_string=SubstitutionFormatString(text_format_source=DataSource(inline_string="istio")),
                    shared_with_upstream=FilterStateValue.ONCE,
                )
            ]
        )
    ),
)
"""Before the TCP proxy of a port whose protocol is sniffed: what it passes on is no HTTP."""

_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)
RAW: Final = TransportSocket(name="envoy.transport_sockets.raw_buffer", typed_config=pack(RawBuffer()))


def build_server(mutual: MutualSettings) -> DownstreamTlsContext:
    """Clients must show a certificate of the mesh."""
    context = DownstreamTlsContext(common_tls_context=_common(mutual))
    context.require_client_certificate.value = True
    common = context.common_tls_context
    common.tls_params.cipher_suites.extend(mutual.cipher_suites or _SUITES)
    common.alpn_protocols.extend(("h2", "http/1.1"))
    trusted = common.combined_validation_context.default_validation_context.match_typed_subject_alt_names
    for domain in mutual.trust_domains:
        trusted.add(san_type=SubjectAltNameMatcher.URI).matcher.prefix = f"spiffe://{domain}/"
    return context


def tls_socket(context: DownstreamTlsContext | UpstreamTlsContext) -> TransportSocket:
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


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
    return tls_socket(context)


@dataclass(frozen=True, slots=True)
class Peer:
    """A service's port, as a client sees it that can prove who it is."""

    mutual: MutualSettings
    protocol: Protocol
    server_name: str
    identities: tuple[str, ...]
    """Who its servers may be; none: any workload of the mesh."""
    is_expected: bool
    """A client speaks mutual TLS with those that can, though no policy says so."""
    is_capable: bool
    """All of its endpoints can: what counts where Envoy has no list of them."""
    needs_no_reading: bool = False
    """Its servers' proxies need not read what the client's proxy has read (`mesh.security.reading`)."""


def speak_mutual(cluster: Cluster, wanted: MeshTLS, peer: Peer, options: HttpProtocolOptions) -> None:
    """With those endpoints that can, or with all."""
    is_listed = cluster.type != Cluster.ORIGINAL_DST
    if not wanted.required and not (peer.is_expected and (is_listed or peer.is_capable)):
        return
    identities = wanted.subject_alt_names or peer.identities
    name = wanted.server_name or peer.server_name
    spoken = _spoken(peer, options)
    if spoken[0] in (READ_HTTP, READ_GRPC):
        _end_in_time(cluster, options, speaks_http1=spoken[0] == READ_HTTP)
    socket = build_client(peer.mutual, name, identities, spoken)
    if wanted.required or not is_listed:
        cluster.transport_socket.CopyFrom(socket)
        return
    capable = cluster.transport_socket_matches.add(name="tlsMode-istio", transport_socket=socket)
    capable.match.update({"tlsMode": MUTUAL})
    rest = cluster.transport_socket_matches.add(name="tlsMode-disabled", transport_socket=RAW)
    rest.match.SetInParent()


def _end_in_time(cluster: Cluster, options: HttpProtocolOptions, speaks_http1: bool) -> None:
    """A connection that the server's proxy passes on is one of the app's, which may end it when nobody asks."""
    options.common_http_protocol_options.max_connection_duration.seconds = _OLDEST
    if speaks_http1:
        options.common_http_protocol_options.idle_timeout.seconds = _IDLE
        options.explicit_http_config.http_protocol_options.SetInParent()
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))


def _spoken(peer: Peer, options: HttpProtocolOptions) -> tuple[str, ...]:
    """What a client offers over a cluster with these options."""
    protocol = peer.protocol
    if not (protocol.is_http or protocol.is_sniffed):
        return SPOKEN[Protocol.TCP]
    if options.explicit_http_config.HasField("http2_protocol_options"):
        is_read = peer.needs_no_reading and protocol is Protocol.GRPC
        return (READ_GRPC, *SPOKEN[Protocol.HTTP2]) if is_read else SPOKEN[Protocol.HTTP2]
    is_either = options.HasField("use_downstream_protocol_config")
    if is_either:
        return SPOKEN[Protocol.AUTO]
    return (READ_HTTP, *SPOKEN[Protocol.HTTP]) if peer.needs_no_reading else SPOKEN[Protocol.HTTP]


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
