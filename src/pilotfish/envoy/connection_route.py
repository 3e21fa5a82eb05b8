"""One connection route → the filter chain that serves it."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.envoy.filters import build_tcp, build_weighted_tcp
from pilotfish.envoy.http_route import cluster_of
from pilotfish.envoy.message import config_path, istio_metadata
from pilotfish.envoy.naming import BLACK_HOLE
from pilotfish.model.connection_route import ConnectionMatch, ConnectionRoute
from pilotfish.model.settings import AccessLog


def build_chain(route: ConnectionRoute, access_log: AccessLog | None) -> FilterChain:
    chain = FilterChain(filters=[_build_proxy(route, access_log)])
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
    if len(backends) <= 1:
        return build_tcp(access_log, cluster_of(backends[0].backend) if backends else BLACK_HOLE)
    prefix = f"{route.ref.object.name}.{route.ref.object.namespace}" if route.ref is not None else ""
    return build_weighted_tcp(access_log, prefix, ((cluster_of(w.backend), w.weight) for w in backends))


def _build_match(match: ConnectionMatch) -> FilterChainMatch:
    return FilterChainMatch(prefix_ranges=map(_cidr, match.destinations), server_names=match.server_names)


def _cidr(block: str) -> CidrRange:
    prefix, _, length = block.partition("/")
    whole = 128 if ":" in prefix else 32
    return CidrRange(address_prefix=prefix, prefix_len=UInt32Value(value=int(length) if length else whole))
