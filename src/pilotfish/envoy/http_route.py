"""One HTTP route → Envoy's, which are two where one can't say it all.

A backend that does not exist is BlackHoleCluster, which answers 503 as Istio's route to a cluster that is not there
does (with the response flag UH in place of NC); the route's other backends go on working.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, WeightedCluster
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.envoy.matches import build_match
from pilotfish.envoy.message import config_path, istio_metadata
from pilotfish.envoy.naming import BLACK_HOLE, outbound_cluster
from pilotfish.envoy.retries import build_retry_policy
from pilotfish.envoy.timeouts import set_timeout, split_by_deadline
from pilotfish.model.route import Backend, Forward, HTTPRoute, MatchType, PathMatch, WeightedBackend


def build_routes(source: HTTPRoute, port: int) -> Iterator[Route]:
    """`port` is the one that the requests come for."""
    route = Route(name=source.name, match=build_match(source.match))
    _forward(route.route, source.action)
    if source.ref is not None:
        metadata = istio_metadata(config=config_path(source.ref.object))
        if metadata is not None:
            route.metadata.CopyFrom(metadata)
    route.decorator.operation = _subject(source, port) + _described(source.match.path)
    yield from split_by_deadline(route)


def clusters_of(route: HTTPRoute) -> Iterator[str]:
    """All that it names, those that get nothing as well."""
    yield from (cluster_of(weighted.backend) for weighted in route.action.backends)


def _forward(action: RouteAction, source: Forward) -> None:
    _set_clusters(action, [weighted for weighted in source.backends if weighted.weight > 0])
    set_timeout(action, source.timeouts.request)
    policy = build_retry_policy(source.retries, source.timeouts)
    if policy is not None:
        action.retry_policy.CopyFrom(policy)


def _set_clusters(action: RouteAction, backends: list[WeightedBackend]) -> None:
    if len(backends) > 1:
        action.weighted_clusters.clusters.extend(_weighted(backends))
    else:
        action.cluster = cluster_of(backends[0].backend) if backends else BLACK_HOLE


def _weighted(backends: Iterable[WeightedBackend]) -> Iterator[WeightedCluster.ClusterWeight]:
    for weighted in backends:
        weight = UInt32Value(value=weighted.weight)
        yield WeightedCluster.ClusterWeight(name=cluster_of(weighted.backend), weight=weight)


def cluster_of(backend: Backend) -> str:
    """The cluster of a backend, also for connections."""
    return BLACK_HOLE if backend.invalid is not None else outbound_cluster(backend.port, backend.subset, backend.host)


def _subject(route: HTTPRoute, port: int) -> str:
    """Of a trace's operation: the one service that it leads to, else whoever wrote it."""
    backends = [weighted.backend for weighted in route.action.backends]
    if len(backends) == 1 and backends[0].invalid is None:
        return f"{backends[0].host}:{backends[0].port}"
    return f"{route.ref.object.name if route.ref is not None else ''}:{port}"


def _described(path: PathMatch) -> str:
    return f"{path.value}*" if path.type is MatchType.PREFIX else path.value
