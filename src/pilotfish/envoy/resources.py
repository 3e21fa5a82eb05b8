"""One proxy's ResourceSet: the layers of its scope, shared by all who see the same, and those of its workload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pilotfish.derive import Graph, Origin, Reads, query
from pilotfish.envoy.clusters import Client, common_clusters, inbound_port_cluster, service_clusters
from pilotfish.envoy.endpoints import local_assignment, service_load_assignments
from pilotfish.envoy.gateway_listeners import bound_listener, datagram_listener
from pilotfish.envoy.gateway_routes import gateway_route
from pilotfish.envoy.inbound import bound_inbound, virtual_inbound
from pilotfish.envoy.listeners import outbound_listener, virtual_outbound
from pilotfish.envoy.routes import port_routes, proxied_routes, service_routes
from pilotfish.envoy.secrets import secrets_named
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.unclaimed import unclaimed
from pilotfish.envoy.values import Layer, Resource, ResourceSet
from pilotfish.mesh.gateways.auto_passthrough import covers_any, passed_hosts
from pilotfish.mesh.gateways.hosts import route_names
from pilotfish.mesh.gateways.listeners import listener_places
from pilotfish.mesh.gateways.selection import Front, front_of
from pilotfish.mesh.listeners.inbound import (
    Fellows,
    Inbound,
    InboundPort,
    inbound_of,
    inbound_ports,
    workload_labels,
    workload_reads,
)
from pilotfish.mesh.listeners.outbound import binding, binding_names, shared_routes
from pilotfish.mesh.policy.credentials import keyring
from pilotfish.mesh.policy.policies import policed, rules_for, scope_of, widest
from pilotfish.mesh.registry.visibility import home, hosts, ports_seen, visible
from pilotfish.mesh.routes.connections import connection_scope
from pilotfish.mesh.routing import connection_sources, is_shown_some
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.guards import Guard, guard_of
from pilotfish.mesh.settings import settings
from pilotfish.model import Proxy
from pilotfish.model.egress import listeners_of
from pilotfish.model.proxy import ProxyType


def resource_set(graph: Graph, proxy: Proxy) -> ResourceSet:
    """Everything that a proxy is to have. Equal for replicas; the outbound layers are the same for all of a scope.

    No query, which a change would run once a proxy: what runs is kept by scope and by the ports of a workload.
    """
    query, args = _asked(graph, proxy)
    found: ResourceSet = graph.get(query, *args)
    return found


def roots(graph: Graph, proxy: Proxy) -> tuple[Origin, ...]:
    """What `resource_set` asks the graph for, and must not be forgotten (`Graph.collect`)."""
    own = (inbound_ports, workload_labels, workload_reads)
    return *((each, (proxy,)) for each in own), _asked(graph, proxy)


def _asked(graph: Graph, proxy: Proxy) -> Origin:
    own = scope_of(graph, proxy)
    scope, guard = graph.get(widest, own), guard_of(graph, proxy, own)
    if proxy.type is ProxyType.ROUTER:
        return _gateway_set, (scope, front_of(graph, proxy), guard)
    return _workload_set, (scope, inbound_of(graph, proxy), guard)


@query
def _gateway_set(db: Reads, scope: Scope, front: Front, guard: Guard) -> ResourceSet:
    """What gateways share that have the same front and the same policies."""
    rules = policed(db, scope)
    buffer = settings(db).at_gateways.cluster_buffer
    clusters = (_clusters(db, rules, front.certified, buffer), Layer(CLUSTER, _passed_on(db, rules, front, buffer)))
    endpoints = (_endpoints(db, rules), *_fellows(db, front.fellows))
    layers = (*clusters, *endpoints, *_at_the_front(db, scope, front, guard))
    secrets = secrets_named(db, front.secrets_of or scope.namespace, layers)
    return ResourceSet((*layers, secrets) if secrets else layers)


def _at_the_front(db: Reads, scope: Scope, front: Front, guard: Guard) -> Iterator[Layer]:
    places, makers = listener_places(db, front), (bound_listener, datagram_listener)
    listeners = (make(db, front, scope, guard, *place) for place in places for make in makers)
    yield Layer(LISTENER, (each for each in listeners if each is not None))
    yield Layer(ROUTE, (gateway_route(db, front, scope, name) for name in route_names(db, front)))


@query
def _workload_set(db: Reads, scope: Scope, inbound: Inbound, guard: Guard) -> ResourceSet:
    layers = (_inbound_clusters(db, inbound.ports), inbound_listeners(db, inbound, guard))
    return ResourceSet((*layers, *_fellows(db, inbound.fellows)), outbound(db, scope, inbound.certified))


def _fellows(db: Reads, fellows: Fellows | None) -> Iterator[Layer]:
    if fellows is not None:
        yield Layer(ENDPOINT, (local_assignment(db, fellows),))


@query
def outbound(db: Reads, scope: Scope, certified: bool) -> ResourceSet:
    """What every proxy of a scope shares, with certificates of the mesh or without. Complete in itself."""
    rules = policed(db, scope)
    listeners = _listeners(db, listener_scope(db, scope, rules))
    clusters = _clusters(db, rules, certified, settings(db).at_sidecars.cluster_buffer)
    layers = (clusters, _endpoints(db, rules), listeners, _routes(db, scope))
    secrets = secrets_named(db, scope.namespace, layers)
    return ResourceSet((*layers, secrets) if secrets else layers)


def listener_scope(db: Reads, scope: Scope, rules: Scope) -> Scope:
    """The widest scope whose listeners are the same. `rules`: as `policed` says."""
    by = connection_sources(db)
    is_named = scope.namespace in by.namespaces or is_shown_some(db, scope.namespace)
    told = Scope(scope.namespace, selected_by=scope.selected_by, egress=scope.egress) if is_named else rules
    return replace(told, labels=by.narrow(scope).labels) if by.labels else told


@query
def _clusters(db: Reads, scope: Scope, certified: bool, buffer: int | None) -> Layer:
    return Layer(CLUSTER, (*common_clusters(db, buffer), *_service_clusters(db, scope, certified, buffer)))


def _service_clusters(db: Reads, scope: Scope, certified: bool, buffer: int | None) -> Iterator[Resource]:
    for host in hosts(db, visible(db, scope)):
        rules = rules_for(db, scope, host)
        client = Client(keyring(db, scope, rules), scope.place, certified, buffer=buffer)
        yield from service_clusters(db, host, home(db, scope, host) or "", ports_seen(db, scope, host), rules, client)


def _passed_on(db: Reads, scope: Scope, front: Front, buffer: int | None) -> Iterator[Resource]:
    """The clusters that AUTO_PASSTHROUGH needs beside the others."""
    wanted, client = passed_hosts(db, front), Client(None, scope.place, False, passes_on=True, buffer=buffer)
    for host in hosts(db, visible(db, scope)) if wanted else ():
        if covers_any(wanted, host):
            at, ports, rules = home(db, scope, host) or "", ports_seen(db, scope, host), rules_for(db, scope, host)
            yield from service_clusters(db, host, at, ports, rules, client)


@query
def _endpoints(db: Reads, scope: Scope) -> Layer:
    seen = ((host, home(db, scope, host) or "") for host in hosts(db, visible(db, scope)))
    found = (
        service_load_assignments(db, host, at, ports_seen(db, scope, host), rules_for(db, scope, host), scope.place)
        for host, at in seen
    )
    return Layer(ENDPOINT, (resource for many in found for resource in many))


@query
def _listeners(db: Reads, scope: Scope) -> Layer:
    names = binding_names(db, visible(db, scope))
    found = (outbound_listener(db, connection_scope(db, scope, name), name) for name in names)
    return Layer(LISTENER, (virtual_outbound(db, unclaimed(db, scope)), *(r for r in found if r is not None)))


@query
def _routes(db: Reads, scope: Scope) -> Layer:
    proxied = {str(each.port or each.bind) for each in listeners_of(scope.egress) if each.has_every_port}
    names = shared_routes(db, visible(db, scope))
    shared = (proxied_routes(db, scope, n) if n in proxied else port_routes(db, scope, int(n)) for n in names)
    return Layer(ROUTE, (*shared, *_own_routes(db, scope)))


def _own_routes(db: Reads, scope: Scope) -> Iterator[Resource]:
    """The routes of listeners that one service has for itself; several addresses share one."""
    seen = visible(db, scope)
    found = (binding(db, seen, name) for name in binding_names(db, seen))
    own = {(b.opened_by, b.port) for b in found if b is not None and b.route and not b.is_shared}
    yield from (service_routes(db, scope, host, port) for host, port in sorted(own))


@query
def _inbound_clusters(db: Reads, ports: tuple[InboundPort, ...]) -> Layer:
    return Layer(CLUSTER, (inbound_port_cluster(db, port) for port in ports))


@query
def inbound_listeners(db: Reads, inbound: Inbound, guard: Guard) -> Layer:
    taken = ((port, inbound.modes.of(port.number)) for port in inbound.ports if port.is_bound)
    bound = (bound_inbound(db, port, mode, inbound.certified, guard) for port, mode in taken)
    return Layer(LISTENER, (virtual_inbound(db, inbound, guard), *bound))
