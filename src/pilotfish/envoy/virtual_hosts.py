"""Virtual hosts: the domains of one service on one port, and its routes.

A destination that does not exist leads to BlackHoleCluster, which answers 503 as Istio's route to a cluster that is not
there does (with the response flag UH in place of NC); the rest of the VirtualService goes on working.

Domains have no `:8888` forms, of which the seed shows one for each: `ignore_port_in_host_matching` makes every form
match with any port.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, VirtualHost, WeightedCluster
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.envoy.matches import build_match, matches_all
from pilotfish.envoy.message import config_path, istio_metadata, serialise
from pilotfish.envoy.naming import BLACK_HOLE, PASSTHROUGH, outbound_cluster
from pilotfish.envoy.retries import build_retry_policy
from pilotfish.envoy.timeouts import set_timeout, split_by_deadline
from pilotfish.mesh.destinations import Target, target_of
from pilotfish.mesh.policies import policed
from pilotfish.mesh.routing import router, virtual_service
from pilotfish.mesh.scope import Scope, visible
from pilotfish.mesh.services import service
from pilotfish.model import ObjectRef
from pilotfish.model.service import Service
from pilotfish.model.wellknown import SERVICE_DOMAIN


@dataclass(frozen=True, slots=True)
class Fragment:
    """One virtual host, serialised."""

    body: bytes = field(repr=False)
    domains: tuple[str, ...]
    clusters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """By what a client changes a virtual host. Clients with equal views share it."""

    rules: Scope
    """Whose DestinationRules apply to destinations."""
    own: bool
    """The service is of the client's namespace, which calls it by its short name."""


@query(index=True)
def view(db: Reads, scope: Scope, host: str) -> View:
    found = service(db, host)
    own = found is not None and found.namespace == scope.namespace
    return View(policed(db, scope) if router(db, host) is not None else visible(scope), own)


@query
def virtual_host(db: Reads, client: View, host: str, port: int, taken: tuple[str, ...], all_domains: bool) -> Fragment:
    """One host's virtual host on one port, as `view` says the client sees it.

    `taken` are domains that an older service has; with `all_domains` it is the only one of its RouteConfiguration.
    """
    found = service(db, host)
    routed = virtual_service(db, host)
    domains = ("*",) if all_domains else tuple(d for d in _domains(found, host, client.own) if d not in taken)
    routes, targets = _routes(db, client.rules, host, port, routed)
    message = VirtualHost(name=f"{host}:{port}", domains=domains, routes=routes, include_request_attempt_count=True)
    return Fragment(serialise(message), domains, tuple(_cluster(t) for t in targets))


def build_fallback(allow_any: bool) -> VirtualHost:
    """For every host that no service has: let it pass as it came, or answer 502."""
    if not allow_any:
        route = Route(name="block_all")
        route.match.prefix = "/"
        route.direct_response.status = 502
        return VirtualHost(name="block_all", domains=["*"], routes=[route], include_request_attempt_count=True)
    route = Route(name="allow_any", route=RouteAction(cluster=PASSTHROUGH))
    route.match.prefix = "/"
    set_timeout(route.route)
    return VirtualHost(name="allow_any", domains=["*"], routes=[route], include_request_attempt_count=True)


def _domains(found: Service | None, host: str, own: bool) -> Iterator[str]:
    if found is None or not found.host.endswith(f".{found.namespace}.{SERVICE_DOMAIN}"):
        names = [host] if host.startswith("*") else [host, f"{host}."]
    else:
        name = found.host.removesuffix(f".{found.namespace}.{SERVICE_DOMAIN}")
        below = f"{name}.{found.namespace}"
        names = [host, f"{host}.", *([name] if own else [])]
        names += [f"{below}.{SERVICE_DOMAIN.removesuffix('.local')}", f"{below}.svc", below]
    yield from names
    if found is not None and found.headless:
        # A pod of its own name: POD.SERVICE.NAMESPACE...
        yield from (f"*.{name}" for name in names)
    if found is not None:
        yield from (f"[{a}]" if ":" in a else a for a in found.addresses if "/" not in a)


def _routes(
    db: Reads, client: Scope, host: str, port: int, routed: tuple[ObjectRef, istio.VirtualServiceSpec] | None
) -> tuple[list[Route], tuple[Target, ...]]:
    routes: list[Route] = []
    reached: dict[Target, None] = {}
    for ref, rule, match in _rules_on(routed, port):
        found = [(_target(db, client, ref, d, port), d.weight) for d in rule.route]
        routes += split_by_deadline(_build_route(ref, rule, match, found, port))
        reached.update(dict.fromkeys(t for t, _ in found))
        if matches_all(routes[-1].match):
            break
    if routes or service(db, host) is None:
        return routes, tuple(reached)
    # No VirtualService, or none of its rules is for this port.
    plain = Target(host, port, "")
    return [_build_plain_route(plain)], (plain,)


def _rules_on(
    routed: tuple[ObjectRef, istio.VirtualServiceSpec] | None, port: int
) -> Iterator[tuple[ObjectRef, istio.HTTPRoute, istio.HTTPMatchRequest | None]]:
    """The rules that hold on a port, once for each alternative of their matches."""
    if routed is not None:
        ref, spec = routed
        yield from ((ref, rule, match) for rule in spec.http for match in _matches_on(rule, port))


def _target(db: Reads, client: Scope, ref: ObjectRef, destination: istio.HTTPRouteDestination, port: int) -> Target:
    return target_of(db, client, ref.namespace, destination.destination, port)


def _matches_on(rule: istio.HTTPRoute, port: int) -> Iterator[istio.HTTPMatchRequest | None]:
    """The rule's alternatives that hold on a port; None matches everything."""
    if not rule.match:
        yield None
    yield from (match for match in rule.match if match.port in (0, port))


def _build_plain_route(target: Target) -> Route:
    route = Route(name="default", route=RouteAction(cluster=_cluster(target)))
    route.match.CopyFrom(build_match(None))
    set_timeout(route.route)
    policy = build_retry_policy()
    if policy is not None:
        route.route.retry_policy.CopyFrom(policy)
    route.decorator.operation = f"{target.host}:{target.port}/*"
    return route


def _build_route(
    ref: ObjectRef,
    rule: istio.HTTPRoute,
    match: istio.HTTPMatchRequest | None,
    found: list[tuple[Target, int]],
    port: int,
) -> Route:
    names = (rule.name, match.name if match is not None else "")
    route = Route(name=".".join(n for n in names if n), match=build_match(match))
    _set_clusters(route.route, found)
    set_timeout(route.route, rule.timeout)
    policy = build_retry_policy(rule.retries)
    if policy is not None:
        route.route.retry_policy.CopyFrom(policy)
    metadata = istio_metadata(config=config_path(ref))
    if metadata is not None:
        route.metadata.CopyFrom(metadata)
    single = found[0][0] if len(found) == 1 and found[0][0].missing is None else None
    subject = f"{single.host}:{single.port}" if single is not None else f"{ref.name}:{port}"
    route.decorator.operation = subject + _described_path(route)
    return route


def _described_path(route: Route) -> str:
    if route.match.HasField("safe_regex"):
        return str(route.match.safe_regex.regex)
    return str(route.match.path or f"{route.match.prefix}*")


def _set_clusters(action: RouteAction, found: list[tuple[Target, int]]) -> None:
    """A lone destination takes everything, whatever its weight; among several, one of weight 0 takes nothing."""
    weighted = [(t, w) for t, w in found if w > 0] if len(found) > 1 else found
    if len(weighted) == 1:
        action.cluster = _cluster(weighted[0][0])
    elif not weighted:
        action.cluster = BLACK_HOLE
    else:
        for target, weight in weighted:
            action.weighted_clusters.clusters.append(
                WeightedCluster.ClusterWeight(name=_cluster(target), weight=UInt32Value(value=weight))
            )


def _cluster(target: Target) -> str:
    return BLACK_HOLE if target.missing is not None else outbound_cluster(target.port, target.subset, target.host)
