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
from pilotfish.envoy.naming import BLACK_HOLE, PASSTHROUGH
from pilotfish.envoy.retries import build_inbound_retry_policy
from pilotfish.envoy.timeouts import set_timeout
from pilotfish.envoy.types import CLUSTER, ROUTE
from pilotfish.envoy.values import Resource
from pilotfish.envoy.virtual_hosts import Fragment, build_fallback, view, virtual_host
from pilotfish.envoy.wire import field
from pilotfish.mesh.listeners.outbound import http_hosts
from pilotfish.mesh.registry.visibility import seen_service, visible
from pilotfish.mesh.routing import reader, routed_hosts
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.settings import settings

_VIRTUAL_HOSTS = RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number


@query
def port_routes(db: Reads, scope: Scope, port: int) -> Resource:
    """The RouteConfiguration `8888`: all HTTP services of that port, and what else VirtualServices route there."""
    fragments = tuple(_without_clashes(db, scope, port))
    allow_any = settings(db).allow_any
    fallback = serialise(build_fallback(allow_any))
    return assemble(db, str(port), fragments, fallback, PASSTHROUGH if allow_any else "")


@query
def service_routes(db: Reads, scope: Scope, host: str, port: int) -> Resource:
    """The RouteConfiguration `calculator.vm.svc.cluster.local:8888` of a listener that one service has for itself."""
    fragment = virtual_host(db, view(db, scope, host), host, port, (), True)
    return assemble(db, f"{host}:{port}", (fragment,), b"", "")


def build_inbound_route(name: str, port: int, cluster: str, subject: str) -> RouteConfiguration:
    """The inline route of an inbound filter chain: everything to the app. `subject` heads the trace operation."""
    route = Route(name="default", route=RouteAction(cluster=cluster))
    route.match.prefix = "/"
    set_timeout(route.route)
    route.route.retry_policy.CopyFrom(build_inbound_retry_policy())
    route.decorator.operation = f"{subject}/*"
    host = VirtualHost(name=f"inbound|http|{port}", domains=["*"], routes=[route])
    return RouteConfiguration(name=name, virtual_hosts=[host], validate_clusters=BoolValue(value=False))


def _without_clashes(db: Reads, scope: Scope, port: int) -> Iterator[Fragment]:
    """Every host's virtual host. Envoy refuses a domain that stands twice: the older service has it."""
    taken: set[str] = set()
    for host in _hosts_on(db, visible(db, scope), reader(db, scope.namespace), port):
        client = view(db, scope, host)
        fragment = virtual_host(db, client, host, port, (), False)
        clashes = tuple(d for d in fragment.domains if d in taken)
        if clashes:
            fragment = virtual_host(db, client, host, port, clashes, False)
        if fragment.domains:
            taken.update(fragment.domains)
            yield fragment


@query(index=True)
def _hosts_on(db: Reads, scope: Scope, reader: str, port: int) -> tuple[str, ...]:
    """The services of the port, and the hosts that only VirtualServices know, which are routed on every HTTP port."""
    known = http_hosts(db, scope, port)
    others = (host for host in routed_hosts(db, reader) if host != "*" and seen_service(db, scope, host) is None)
    return tuple(dict.fromkeys((*known, *others)))


def assemble(db: Reads, name: str, fragments: Iterable[Fragment], fallback: bytes, fallback_cluster: str) -> Resource:
    found = tuple(fragments)
    head = serialise(RouteConfiguration(name=name))
    tail = serialise(
        RouteConfiguration(
            validate_clusters=BoolValue(value=False),
            # The default, 4 kB, is less than a page that a VirtualService may answer with.
            max_direct_response_body_size_bytes=UInt32Value(value=1048576),
            ignore_port_in_host_matching=True,
        )
    )
    bodies = [field(_VIRTUAL_HOSTS, f.body) for f in found]
    bodies += [field(_VIRTUAL_HOSTS, fallback)] if fallback else []
    clusters = {c for f in found for c in f.clusters} | ({fallback_cluster} if fallback_cluster else set())
    references = ((CLUSTER, cluster) for cluster in clusters | {BLACK_HOLE})
    return Resource.make(ROUTE, name, b"".join((head, *bodies, tail)), references, db.origin)
