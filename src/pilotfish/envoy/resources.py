"""One proxy's ResourceSet: the layers of its scope, shared by all who see the same, and those of its workload."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.derive import Graph, Origin, Reads, query
from pilotfish.envoy.clusters import Client, service_clusters
from pilotfish.envoy.endpoints import local_assignment
from pilotfish.envoy.gateway_listeners import bound_listener, datagram_listener
from pilotfish.envoy.gateway_routes import gateway_route
from pilotfish.envoy.layers import clusters, endpoints, inbound_clusters, inbound_listeners, outbound
from pilotfish.envoy.machine.resources import homes_of, machine_set, pods_of
from pilotfish.envoy.secrets import secrets_named
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import Layer, Resource, ResourceSet
from pilotfish.mesh.gateways.auto_passthrough import covers_any, passed_hosts
from pilotfish.mesh.gateways.hosts import route_names
from pilotfish.mesh.gateways.listeners import listener_places
from pilotfish.mesh.gateways.selection import Front, front_of
from pilotfish.mesh.listeners.inbound import (
    Fellows,
    Inbound,
    inbound_of,
    inbound_ports,
    workload_labels,
    workload_reads,
)
from pilotfish.mesh.policy.policies import policed, rules_for, scope_of, widest
from pilotfish.mesh.registry.visibility import home, hosts, ports_seen, visible
from pilotfish.mesh.registry.workloads import residents
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.guards import Guard, guard_of
from pilotfish.mesh.settings import settings
from pilotfish.model import Proxy
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
    pods = pods_of(graph, proxy) if proxy.type is ProxyType.NODE else (proxy,)
    machine = ((residents, (proxy.name,)),) if proxy.type is ProxyType.NODE else ()
    return *((each, (pod,)) for each in own for pod in pods), *machine, _asked(graph, proxy)


def _asked(graph: Graph, proxy: Proxy) -> Origin:
    if proxy.type is ProxyType.NODE:
        return machine_set, (homes_of(graph, proxy), proxy.netns_prefix, proxy.certified)
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
    called = (clusters(db, rules, front.certified, buffer), Layer(CLUSTER, _passed_on(db, rules, front, buffer)))
    listed = (endpoints(db, rules), *_fellows(db, front.fellows))
    layers = (*called, *listed, *_at_the_front(db, scope, front, guard))
    secrets = secrets_named(db, front.secrets_of or scope.namespace, layers)
    return ResourceSet((*layers, secrets) if secrets else layers)


def _at_the_front(db: Reads, scope: Scope, front: Front, guard: Guard) -> Iterator[Layer]:
    places, makers = listener_places(db, front), (bound_listener, datagram_listener)
    listeners = (make(db, front, scope, guard, *place) for place in places for make in makers)
    yield Layer(LISTENER, (each for each in listeners if each is not None))
    yield Layer(ROUTE, (gateway_route(db, front, scope, name) for name in route_names(db, front)))


@query
def _workload_set(db: Reads, scope: Scope, inbound: Inbound, guard: Guard) -> ResourceSet:
    layers = (inbound_clusters(db, inbound.ports), inbound_listeners(db, inbound, guard))
    return ResourceSet((*layers, *_fellows(db, inbound.fellows)), outbound(db, scope, inbound.certified))


def _fellows(db: Reads, fellows: Fellows | None) -> Iterator[Layer]:
    if fellows is not None:
        yield Layer(ENDPOINT, (local_assignment(db, fellows),))


def _passed_on(db: Reads, scope: Scope, front: Front, buffer: int | None) -> Iterator[Resource]:
    """The clusters that AUTO_PASSTHROUGH needs beside the others."""
    wanted, client = passed_hosts(db, front), Client(None, scope.place, False, passes_on=True, buffer=buffer)
    for host in hosts(db, visible(db, scope)) if wanted else ():
        if covers_any(wanted, host):
            at, ports, rules = home(db, scope, host) or "", ports_seen(db, scope, host), rules_for(db, scope, host)
            yield from service_clusters(db, host, at, ports, rules, client)
