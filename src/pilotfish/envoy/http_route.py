"""One HTTP route → Envoy's, which are two where one can't say it all.

A backend that does not exist is BlackHoleCluster, which answers 503 as Istio's route to a cluster that is not there
does (with the response flag UH in place of NC); the route's other backends go on working.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from envoy.config.core.v3.base_pb2 import Metadata, RuntimeFractionalPercent
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, WeightedCluster
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from pilotfish.envoy.hash_policy import build_hash_policy
from pilotfish.envoy.header_operations import add_header_operations
from pilotfish.envoy.matches import build_match
from pilotfish.envoy.message import config_path, istio_metadata, pack
from pilotfish.envoy.naming import BLACK_HOLE, outbound_cluster
from pilotfish.envoy.redirects import build_direct_response, build_redirect
from pilotfish.envoy.retries import build_retry_policy
from pilotfish.envoy.route_filters import filters_of, fraction
from pilotfish.envoy.timeouts import set_timeout, split_by_deadline
from pilotfish.mesh.hosts import server_name
from pilotfish.model.route import (
    Action,
    Backend,
    DirectResponse,
    Forward,
    HTTPRoute,
    MatchType,
    Mirror,
    PathMatch,
    PathModifier,
    PathModifierType,
    Redirect,
    Rewrite,
    WeightedBackend,
)


def build_routes(source: HTTPRoute, port: int) -> Iterator[Route]:
    """`port` is the one that the requests come for."""
    route = Route(name=source.name, match=build_match(source.match), stat_prefix=source.stat_prefix)
    add_header_operations(route, source.headers)
    _set_action(route, source.action)
    for name, config in filters_of(source):
        route.typed_per_filter_config[name].CopyFrom(pack(config))
    metadata = _written(source)
    if metadata is not None:
        route.metadata.CopyFrom(metadata)
    route.decorator.operation = _subject(source, port) + _described(source.match.path)
    yield from split_by_deadline(route)


def _written(source: HTTPRoute) -> Metadata | None:
    """The object and the field that say so, never a line: what nobody changed is sent to nobody. `destinations` are the
    indices of those that get requests, where others get none."""
    if source.ref is None:
        return None
    backends = source.action.backends if isinstance(source.action, Forward) else ()
    used = [number for number, each in enumerate(backends) if each.weight > 0]
    return istio_metadata(
        config=config_path(source.ref.object),
        field=source.ref.field,
        destinations=used if len(used) < len(backends) else [],
    )


def clusters_of(route: HTTPRoute) -> Iterator[str]:
    """All that it names, those that get nothing as well."""
    if isinstance(route.action, Forward):
        yield from (cluster_of(weighted.backend) for weighted in route.action.backends)
        yield from (cluster_of(mirror.backend) for mirror in route.action.mirrors)


def _set_action(route: Route, action: Action) -> None:
    match action:
        case Redirect():
            route.redirect.CopyFrom(build_redirect(action))
        case DirectResponse():
            route.direct_response.CopyFrom(build_direct_response(action))
        case Forward():
            _forward(route, action)


def _forward(route: Route, source: Forward) -> None:
    action = route.route
    _set_backends(route, [weighted for weighted in source.backends if weighted.weight > 0])
    keys = dict.fromkeys(w.backend.hash_key for w in source.backends if w.weight > 0)
    action.hash_policy.extend(build_hash_policy(key) for key in keys if key is not None)
    retries = source.retries
    if retries is not None and action.hash_policy:
        retries = replace(retries, elsewhere=False)  # what decides the endpoint decides it again
    set_timeout(action, source.timeouts.request)
    _rewrite(action, source.rewrite)
    action.request_mirror_policies.extend(map(_mirror, source.mirrors))
    policy = build_retry_policy(retries, source.timeouts)
    if policy is not None:
        action.retry_policy.CopyFrom(policy)


def _set_backends(route: Route, backends: list[WeightedBackend]) -> None:
    """A lone backend's operations stand behind the route's and prevail; of several, the route's do. As in Istio."""
    if len(backends) > 1:
        route.route.weighted_clusters.clusters.extend(map(_weighted, backends))
        return
    route.route.cluster = cluster_of(backends[0].backend) if backends else BLACK_HOLE
    for backend in backends:
        add_header_operations(route, backend.headers)
        if backend.host:
            route.route.host_rewrite_literal = backend.host


def _weighted(source: WeightedBackend) -> WeightedCluster.ClusterWeight:
    made = WeightedCluster.ClusterWeight(name=cluster_of(source.backend), weight=UInt32Value(value=source.weight))
    add_header_operations(made, source.headers)
    if source.host:
        made.host_rewrite_literal = source.host
    return made


def _rewrite(action: RouteAction, source: Rewrite) -> None:
    if source.host:
        action.host_rewrite_literal = source.host
    match source.path:
        case PathModifier(type=PathModifierType.REGEX, value=value, pattern=pattern):
            action.regex_rewrite.pattern.regex = pattern
            action.regex_rewrite.substitution = value
        case PathModifier(type=PathModifierType.FULL, value=value):
            action.path_rewrite = value
        case PathModifier(value=value):
            action.prefix_rewrite = value


def _mirror(source: Mirror) -> RouteAction.RequestMirrorPolicy:
    share = RuntimeFractionalPercent(default_value=fraction(source.share))
    return RouteAction.RequestMirrorPolicy(
        cluster=cluster_of(source.backend), runtime_fraction=share, trace_sampled=BoolValue(value=False)
    )


def cluster_of(backend: Backend) -> str:
    """The cluster of a backend, also for connections."""
    if backend.invalid is not None:
        return BLACK_HOLE
    named = server_name if backend.passed_on else outbound_cluster
    return named(backend.port, backend.subset, backend.host)


def _subject(route: HTTPRoute, port: int) -> str:
    """Of a trace's operation: the one service that it leads to, else whoever wrote it."""
    backends = [weighted.backend for weighted in route.action.backends] if isinstance(route.action, Forward) else []
    if len(backends) == 1 and backends[0].invalid is None:
        return f"{backends[0].host}:{backends[0].port}"
    return f"{route.ref.object.name if route.ref is not None else ''}:{port}"


def _described(path: PathMatch) -> str:
    return f"{path.value}*" if path.type is MatchType.PREFIX else path.value
