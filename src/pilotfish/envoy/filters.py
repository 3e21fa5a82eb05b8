"""Network filters: the HTTP connection manager and the TCP proxy, and the listener filters that sniff."""

from __future__ import annotations

from typing import Final

from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.listener.v3.listener_components_pb2 import Filter, ListenerFilter, ListenerFilterChainMatchPredicate
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.original_src.v3.original_src_pb2 import OriginalSrc
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
    RequestIDExtension,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from envoy.type.v3.range_pb2 import Int32Range
from google.protobuf.wrappers_pb2 import BoolValue

from pilotfish.config.mesh import MeshConfig
from pilotfish.envoy.access_log import build_access_logs
from pilotfish.envoy.message import pack, seconds
from pilotfish.model.wellknown import TPROXY_MARK

SNIFFED_HTTP: Final = ("http/1.1", "h2c")
"""What the HTTP inspector finds for HTTP in the clear."""

ORIGINAL_DST: Final = ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=pack(OriginalDst()))
TLS_INSPECTOR: Final = ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=pack(TlsInspector()))
HTTP_INSPECTOR: Final = ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=pack(HttpInspector()))

ORIGINAL_SRC: Final = ListenerFilter(
    name="envoy.filters.listener.original_src", typed_config=pack(OriginalSrc(mark=TPROXY_MARK))
)
"""Connections to the app then come from where the client's did, with the mark by which TPROXY's rules know them."""

_HTTP_FILTERS: Final = (
    HttpFilter(name="envoy.filters.http.fault", typed_config=pack(HTTPFault())),
    HttpFilter(name="envoy.filters.http.cors", typed_config=pack(Cors())),
    HttpFilter(name="envoy.filters.http.router", typed_config=pack(Router())),
)
"""In Istio's order. Istio's grpc_stats is left out: what it hands on, only Istio's own stats filter reads."""

_REQUEST_ID: Final = RequestIDExtension(
    typed_config=pack(UuidRequestIdConfig(use_request_id_for_trace_sampling=BoolValue(value=True)))
)


def ads() -> ConfigSource:
    """Over the same stream as everything else; wait for it however long it takes."""
    return ConfigSource(
        ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3, initial_fetch_timeout=seconds(0)
    )


def build_outbound_http(config: MeshConfig, stat_prefix: str, route: str) -> Filter:
    """An HTTP connection manager that asks for its RouteConfiguration."""
    manager = _manager(config, stat_prefix)
    manager.rds.CopyFrom(Rds(config_source=ads(), route_config_name=route))
    return _http_filter(manager)


def build_inbound_http(config: MeshConfig, stat_prefix: str, route: RouteConfiguration) -> Filter:
    """An HTTP connection manager with its route inline: it has one, which changes with its listener."""
    manager = _manager(config, stat_prefix)
    manager.server_name = "istio-envoy"
    manager.forward_client_cert_details = HttpConnectionManager.ForwardClientCertDetails.APPEND_FORWARD
    details = manager.set_current_client_cert_details
    details.subject.value = details.dns = details.uri = True
    manager.route_config.CopyFrom(route)
    return _http_filter(manager)


def build_tcp(config: MeshConfig, cluster: str, stat_prefix: str = "") -> Filter:
    proxy = TcpProxy(stat_prefix=stat_prefix or cluster, cluster=cluster, access_log=build_access_logs(config))
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy))


def http_inspector_except(ports: tuple[int, ...]) -> ListenerFilter:
    """The HTTP inspector for all but some ports: those whose protocol is known, where sniffing would only wait."""
    found = ListenerFilter()
    found.CopyFrom(HTTP_INSPECTOR)
    ranges = [
        ListenerFilterChainMatchPredicate(destination_port_range=Int32Range(start=port, end=port + 1)) for port in ports
    ]
    if len(ranges) == 1:
        found.filter_disabled.CopyFrom(ranges[0])
    else:
        found.filter_disabled.or_match.rules.extend(ranges)
    return found


def _manager(config: MeshConfig, stat_prefix: str) -> HttpConnectionManager:
    return HttpConnectionManager(
        # Statistics end a name at ";", because names hold dots.
        stat_prefix=f"{stat_prefix};",
        http_filters=_HTTP_FILTERS,
        use_remote_address=BoolValue(value=False),
        normalize_path=BoolValue(value=True),
        proxy_100_continue=True,
        stream_idle_timeout=seconds(0),
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        request_id_extension=_REQUEST_ID,
        path_with_escaped_slashes_action=HttpConnectionManager.PathWithEscapedSlashesAction.KEEP_UNCHANGED,
        access_log=build_access_logs(config),
    )


def _http_filter(manager: HttpConnectionManager) -> Filter:
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=pack(manager))
