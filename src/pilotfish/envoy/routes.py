"""RouteConfigurations: every host that may be asked for on one port.

One is put together from virtual hosts that are already serialised: a repeated field of a message is the concatenation
of its elements, so that one changed host costs no rebuilding of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from pilotfish.derive import Reads, query
from pilotfish.envoy.message import serialise
from pilotfish.envoy.naming import BLACK_HOLE
from pilotfish.envoy.retries import build_retry_policy
from pilotfish.envoy.timeouts import set_timeout
from pilotfish.envoy.types import CLUSTER, ROUTE
from pilotfish.envoy.unclaimed import unclaimed, unknown_host
from pilotfish.envoy.values import Resource
from pilotfish.envoy.virtual_hosts import Domains, Fragment, build_fallback, view, virtual_host
from pilotfish.envoy.wire import field
from pilotfish.mesh.listeners.outbound import http_hosts, http_targets
from pilotfish.mesh.registry.visibility import seen_service, visible
from pilotfish.mesh.routing import Reader, reader, reader_by, routed_hosts
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.settings import settings
from pilotfish.model.egress import listeners_of
from pilotfish.model.route import Retries, Timeouts

_VIRTUAL_HOSTS = RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number


@query
def port_routes(db: Reads, scope: Scope, port: int) -> Resource:
    """The RouteConfiguration `8888`: all HTTP services of that port, and what else VirtualServices route there."""
    by = reader(db, scope, port)
    hosts = ((host, port) for host in _hosts_on(db, visible(db, scope), by, port))
    return _assemble_shared(db, scope, str(port), _without_clashes(db, scope, by, hosts, Domains.NAMES))


@query
def proxied_routes(db: Reads, scope: Scope, name: str) -> Resource:
    """The RouteConfiguration of a Sidecar's listener to which calls of every port come."""
    found = listeners_of(scope.egress)
    listener = next(each for each in found if each.has_every_port and name in (str(each.port), each.bind))
    targets, by = http_targets(db, visible(db, scope), name), reader_by(db, scope, listener)
    fragments = _without_clashes(db, scope, by, targets, Domains.NAMES_AND_PORT)
    return _assemble_shared(db, scope, name, fragments, says_ports=True)


def _assemble_shared(
    db: Reads, scope: Scope, name: str, fragments: Iterable[Fragment], *, says_ports: bool = False
) -> Resource:
    unknown = unclaimed(db, scope)
    fallback = serialise(build_fallback(unknown, settings(db).headers))
    cluster = unknown_host(unknown) if unknown.allow_any else ""
    return assemble(db, name, fragments, fallback, cluster, says_ports=says_ports)


@query
def service_routes(db: Reads, scope: Scope, host: str, port: int) -> Resource:
    """The RouteConfiguration `calculator.vm.svc.cluster.local:8888` of a listener that one service has for itself."""
    fragment = virtual_host(db, view(db, scope, reader(db, scope, port), host), host, port, (), Domains.ALL)
    return assemble(db, f"{host}:{port}", (fragment,), b"", "")


def build_inbound_route(
    name: str, port: int, cluster: str, subject: str, retries: Retries | None, tries: Timeouts
) -> RouteConfiguration:
    """The inline route of an inbound filter chain: everything to the app. `subject` heads the trace operation."""
    route = Route(name="default", route=RouteAction(cluster=cluster))
    route.match.prefix = "/"
    set_timeout(route.route)
    if (policy := build_retry_policy(retries, tries)) is not None:
        route.route.retry_policy.CopyFrom(policy)
    route.decorator.operation = f"{subject}/*"
    host = VirtualHost(name=f"inbound|http|{port}", domains=["*"], routes=[route])
    return RouteConfiguration(name=name, virtual_hosts=[host], validate_clusters=BoolValue(value=False))


def _without_clashes(
    db: Reads, scope: Scope, by: Reader, targets: Iterable[tuple[str, int]], domains: Domains
) -> Iterator[Fragment]:
    """Every host's virtual host. Envoy refuses a domain that stands twice: the older service has it."""
    taken: set[str] = set()
    for host, port in targets:
        client = view(db, scope, by, host)
        fragment = virtual_host(db, client, host, port, (), domains)
        clashes = tuple(d for d in fragment.domains if d in taken)
        if clashes:
            fragment = virtual_host(db, client, host, port, clashes, domains)
        if fragment.domains:
            taken.update(fragment.domains)
            yield fragment


@query(index=True)
def _hosts_on(db: Reads, scope: Scope, reader: Reader, port: int) -> tuple[str, ...]:
    """The services of the port, and the hosts that only VirtualServices know, which are routed on every HTTP port."""
    known = http_hosts(db, scope, port)
    others = (host for host in routed_hosts(db, reader) if host != "*" and seen_service(db, scope, host) is None)
    return tuple(dict.fromkeys((*known, *others)))


def assemble(
    db: Reads,
    name: str,
    fragments: Iterable[Fragment],
    fallback: bytes,
    fallback_cluster: str,
    *,
    says_ports: bool = False,
) -> Resource:
    """`says_ports`: the port that a request's host says is part of its domain."""
    found = tuple(fragments)
    head = serialise(RouteConfiguration(name=name))
    tail = serialise(
        RouteConfiguration(
            validate_clusters=BoolValue(value=False),
            # The default, 4 kB, is less than a page that a VirtualService may answer with.
            max_direct_response_body_size_bytes=UInt32Value(value=1048576),
            ignore_port_in_host_matching=not says_ports,
        )
    )
    bodies = [field(_VIRTUAL_HOSTS, f.body) for f in found]
    bodies += [field(_VIRTUAL_HOSTS, fallback)] if fallback else []
    clusters = {c for f in found for c in f.clusters} | ({fallback_cluster} if fallback_cluster else set())
    references = ((CLUSTER, cluster) for cluster in clusters | {BLACK_HOLE})
    return Resource.make(ROUTE, name, b"".join((head, *bodies, tail)), references, db.origin)
