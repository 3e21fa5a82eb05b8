"""The filters of listeners, which look at a connection before it has a filter chain, and the TCP proxy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.listener.v3.listener_components_pb2 import Filter, ListenerFilter, ListenerFilterChainMatchPredicate
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.original_src.v3.original_src_pb2 import OriginalSrc
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.type.v3.range_pb2 import Int32Range

from pilotfish.envoy.access_log import build_access_logs
from pilotfish.envoy.message import pack
from pilotfish.model.settings import AccessLog
from pilotfish.model.wellknown import TPROXY_MARK

SNIFFED_HTTP: Final = ("http/1.0", "http/1.1", "h2c")
"""What the HTTP inspector finds for HTTP in the clear. A request line that says no version counts as 1.0."""

ORIGINAL_DST: Final = ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=pack(OriginalDst()))
TLS_INSPECTOR: Final = ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=pack(TlsInspector()))
HTTP_INSPECTOR: Final = ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=pack(HttpInspector()))

PROXY_PROTOCOL: Final = ListenerFilter(name="envoy.filters.listener.proxy_protocol", typed_config=pack(ProxyProtocol()))

ORIGINAL_SRC: Final = ListenerFilter(
    name="envoy.filters.listener.original_src", typed_config=pack(OriginalSrc(mark=TPROXY_MARK))
)
"""Connections to the app then come from where the client's did, with the mark by which TPROXY's rules know them."""


_AS_EVER: Final = TcpProxy()


def build_tcp(
    access_log: AccessLog | None, cluster: str, treatment: TcpProxy = _AS_EVER, stat_prefix: str = ""
) -> Filter:
    """`treatment` has what is not at its default; a `stat_prefix` of "" is the cluster's name."""
    proxy = TcpProxy(stat_prefix=stat_prefix or cluster, cluster=cluster, access_log=build_access_logs(access_log))
    proxy.MergeFrom(treatment)
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy))


def build_weighted_tcp(
    access_log: AccessLog | None, stat_prefix: str, clusters: Iterable[tuple[str, int]], treatment: TcpProxy = _AS_EVER
) -> Filter:
    """Each connection goes to one of the clusters, by weight."""
    proxy = TcpProxy(stat_prefix=stat_prefix, access_log=build_access_logs(access_log))
    proxy.MergeFrom(treatment)
    for name, weight in clusters:
        proxy.weighted_clusters.clusters.add(name=name, weight=weight)
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy))


def inspector_except(inspector: ListenerFilter, ports: Iterable[int]) -> ListenerFilter:
    """For all but some ports, where it might wait for ever."""
    found = ListenerFilter()
    found.CopyFrom(inspector)
    found.filter_disabled.CopyFrom(_is_one_of(ports))
    return found


def inspector_on(inspector: ListenerFilter, ports: Iterable[int]) -> ListenerFilter:
    """For some ports alone."""
    found = ListenerFilter()
    found.CopyFrom(inspector)
    found.filter_disabled.not_match.CopyFrom(_is_one_of(ports))
    return found


def _is_one_of(ports: Iterable[int]) -> ListenerFilterChainMatchPredicate:
    ranges = [
        ListenerFilterChainMatchPredicate(destination_port_range=Int32Range(start=port, end=port + 1)) for port in ports
    ]
    if len(ranges) == 1:
        return ranges[0]
    either = ListenerFilterChainMatchPredicate.MatchSet(rules=ranges)
    return ListenerFilterChainMatchPredicate(or_match=either)
