"""The layers that sets are made of: what all proxies of a scope share, and what comes to a workload's ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pilotfish.derive import Reads, query
from pilotfish.envoy.clusters import Client, common_clusters, inbound_port_cluster, service_clusters
from pilotfish.envoy.endpoints import service_load_assignments
from pilotfish.envoy.inbound import bound_inbound, virtual_inbound
from pilotfish.envoy.listeners import outbound_listener, virtual_outbound
from pilotfish.envoy.routes import port_routes, proxied_routes, service_routes
from pilotfish.envoy.secrets import secrets_named
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.unclaimed import unclaimed
from pilotfish.envoy.values import Layer, Resource, ResourceSet
from pilotfish.mesh.listeners.inbound import Inbound, InboundPort
from pilotfish.mesh.listeners.outbound import binding, binding_names, shared_routes
from pilotfish.mesh.policy.credentials import keyring
from pilotfish.mesh.policy.policies import policed, rules_for
from pilotfish.mesh.registry.visibility import home, hosts, ports_seen, seen_service, visible
from pilotfish.mesh.routes.connections import connection_scope
from pilotfish.mesh.routing import connection_sources, is_shown_some
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.guards import Guard
from pilotfish.mesh.settings import settings
from pilotfish.model.egress import listeners_of


@query
def outbound(db: Reads, scope: Scope, certified: bool) -> ResourceSet:
    """What every proxy of a scope shares, with certificates of the mesh or without. Complete in itself."""
    rules = policed(db, scope)
    listeners = _listeners(db, listener_scope(db, scope, rules))
    calls = clusters(db, rules, certified, settings(db).at_sidecars.cluster_buffer)
    layers = (calls, endpoints(db, rules), listeners, routes(db, scope))
    secrets = secrets_named(db, scope.namespace, layers)
    return ResourceSet((*layers, secrets) if secrets else layers)


def listener_scope(db: Reads, scope: Scope, rules: Scope) -> Scope:
    """The widest scope whose listeners are the same. `rules`: as `policed` says."""
    by = connection_sources(db)
    is_named = scope.namespace in by.namespaces or is_shown_some(db, scope.namespace)
    told = Scope(scope.namespace, selected_by=scope.selected_by, egress=scope.egress) if is_named else rules
    return replace(told, labels=by.narrow(scope).labels) if by.labels else told


@query
def clusters(db: Reads, scope: Scope, certified: bool, buffer: int | None) -> Layer:
    return Layer(CLUSTER, (*common_clusters(db, buffer), *_service_clusters(db, scope, certified, buffer)))


def _service_clusters(db: Reads, scope: Scope, certified: bool, buffer: int | None) -> Iterator[Resource]:
    for host in hosts(db, visible(db, scope)):
        yield from host_clusters(db, scope, host, certified, buffer)


def host_clusters(db: Reads, scope: Scope, host: str, certified: bool, buffer: int | None) -> tuple[Resource, ...]:
    """Those of one service. `scope`: as `policed` says."""
    rules = rules_for(db, scope, host)
    client = Client(keyring(db, scope, rules), scope.place, certified, buffer=buffer)
    return service_clusters(db, host, home(db, scope, host) or "", ports_seen(db, scope, host), rules, client)


@query
def endpoints(db: Reads, scope: Scope) -> Layer:
    return Layer(ENDPOINT, (each for host in hosts(db, visible(db, scope)) for each in host_endpoints(db, scope, host)))


def host_endpoints(db: Reads, scope: Scope, host: str) -> tuple[Resource, ...]:
    """Those of one service. `scope`: as `policed` says."""
    at, ports = home(db, scope, host) or "", ports_seen(db, scope, host)
    return service_load_assignments(db, host, at, ports, rules_for(db, scope, host), scope.place)


@query
def _listeners(db: Reads, scope: Scope) -> Layer:
    names = binding_names(db, visible(db, scope))
    found = (outbound_listener(db, connection_scope(db, scope, name), name) for name in names)
    return Layer(LISTENER, (virtual_outbound(db, unclaimed(db, scope)), *(r for r in found if r is not None)))


@query
def routes(db: Reads, scope: Scope) -> Layer:
    shared = (_shared_route(db, scope, name) for name in shared_routes(db, visible(db, scope)))
    return Layer(ROUTE, (*shared, *_own_routes(db, scope)))


def route_named(db: Reads, scope: Scope, name: str) -> Resource | None:
    """One of `routes`: `HOST:PORT` of a listener that one service has for itself; a port, or a place of a Sidecar's."""
    host, _, port = name.rpartition(":")
    if host and port.isdecimal() and seen_service(db, scope, host) is not None:
        return service_routes(db, scope, host, int(port))
    return _shared_route(db, scope, name) if name in shared_routes(db, visible(db, scope)) else None


def _shared_route(db: Reads, scope: Scope, name: str) -> Resource:
    proxied = {str(each.port or each.bind) for each in listeners_of(scope.egress) if each.has_every_port}
    return proxied_routes(db, scope, name) if name in proxied else port_routes(db, scope, int(name))


def _own_routes(db: Reads, scope: Scope) -> Iterator[Resource]:
    """The routes of listeners that one service has for itself; several addresses share one."""
    seen = visible(db, scope)
    found = (binding(db, seen, name) for name in binding_names(db, seen))
    own = {(b.opened_by, b.port) for b in found if b is not None and b.route and not b.is_shared}
    yield from (service_routes(db, scope, host, port) for host, port in sorted(own))


@query
def inbound_clusters(db: Reads, ports: tuple[InboundPort, ...]) -> Layer:
    return Layer(CLUSTER, (inbound_port_cluster(db, port) for port in ports))


@query
def inbound_listeners(db: Reads, inbound: Inbound, guard: Guard) -> Layer:
    taken = ((port, inbound.modes.of(port.number)) for port in inbound.ports if port.is_bound)
    bound = (bound_inbound(db, port, mode, inbound.certified, guard) for port, mode in taken)
    return Layer(LISTENER, (virtual_inbound(db, inbound, guard), *bound))
