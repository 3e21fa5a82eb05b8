"""One connection route → the filter chain that serves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.envoy.authorization import build_connection_filters
from pilotfish.envoy.filters import build_tcp, build_weighted_tcp
from pilotfish.envoy.http_route import cluster_of
from pilotfish.envoy.message import config_path, duration, istio_metadata
from pilotfish.envoy.name_lookup import build_server_name_lookup
from pilotfish.envoy.naming import BLACK_HOLE
from pilotfish.model.authorization import NOTHING, Authorization
from pilotfish.model.connection_route import ConnectionMatch, ConnectionRoute
from pilotfish.model.route import WeightedBackend
from pilotfish.model.settings import AccessLog, MeshSettings
from pilotfish.model.traffic_policy import Passing


def build_chain(route: ConnectionRoute, mesh: MeshSettings, authorization: Authorization = NOTHING) -> FilterChain:
    named = next((w.backend for w in route.backends if w.weight > 0 and w.backend.looked_up), None)
    lookup = [build_server_name_lookup(named.port, mesh.dns_refresh)] if named is not None else []
    guards = build_connection_filters(authorization)
    chain = FilterChain(filters=[*guards, *lookup, _build_proxy(route, mesh.access_log)])
    if not route.match.matches_everything:
        chain.filter_chain_match.CopyFrom(_build_match(route.match))
    metadata = istio_metadata(config=config_path(route.ref.object)) if route.ref is not None else None
    if metadata is not None:
        chain.metadata.CopyFrom(metadata)
    return chain


def connection_clusters_of(route: ConnectionRoute) -> Iterator[str]:
    """All that it names, those that get nothing as well."""
    yield from (cluster_of(weighted.backend) for weighted in route.backends)


def _build_proxy(route: ConnectionRoute, access_log: AccessLog | None) -> Filter:
    backends = [weighted for weighted in route.backends if weighted.weight > 0]
    treatment = _treatment(backends)
    if not backends:
        return build_tcp(access_log, BLACK_HOLE, treatment)
    if len(backends) == 1:
        return build_tcp(access_log, cluster_of(backends[0].backend), treatment, backends[0].backend.stat_name)
    clusters = ((cluster_of(w.backend), w.weight) for w in backends)
    prefix = f"{route.ref.object.name}.{route.ref.object.namespace}" if route.ref is not None else ""
    return build_weighted_tcp(access_log, prefix, clusters, treatment)


def build_passing(passing: Passing) -> TcpProxy:
    """How connections are passed on."""
    proxy = TcpProxy()
    if passing.idle_timeout is not None:
        proxy.idle_timeout.CopyFrom(duration(passing.idle_timeout))
    if passing.max_duration is not None:
        proxy.max_downstream_connection_duration.CopyFrom(duration(passing.max_duration))
    if passing.tunnel is not None:
        proxy.tunneling_config.hostname = passing.tunnel.target
        proxy.tunneling_config.use_post = passing.tunnel.post
    return proxy


def _treatment(backends: Iterable[WeightedBackend]) -> TcpProxy:
    """What is said of one backend holds for all that the connections may go to; the first has it."""
    proxy = build_passing(next((w.backend.passing for w in backends if w.backend.passing is not None), Passing()))
    if any(w.backend.hash_key is not None and w.backend.hash_key.source_ip for w in backends):
        proxy.hash_policy.add().source_ip.SetInParent()
    return proxy


def _build_match(match: ConnectionMatch) -> FilterChainMatch:
    return FilterChainMatch(prefix_ranges=map(_cidr, match.destinations), server_names=match.server_names)


def _cidr(block: str) -> CidrRange:
    prefix, _, length = block.partition("/")
    whole = 128 if ":" in prefix else 32
    return CidrRange(address_prefix=prefix, prefix_len=UInt32Value(value=int(length) if length else whole))
