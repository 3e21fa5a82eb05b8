"""One proxy's ResourceSet: the layer of its scope, shared by all who see the same, and the layer of its workload."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.derive import Reads, query
from pilotfish.envoy.clusters import common_clusters, inbound_clusters, service_clusters
from pilotfish.envoy.endpoints import service_load_assignments
from pilotfish.envoy.inbound import virtual_inbound
from pilotfish.envoy.listeners import outbound_listener, virtual_outbound
from pilotfish.envoy.routes import port_routes, service_routes
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import DanglingReferenceError, Layer, Reference, Resource, ResourceSet
from pilotfish.mesh.inbound import InboundPort, inbound_ports
from pilotfish.mesh.outbound import WILDCARD, binding, binding_names, http_ports
from pilotfish.mesh.policies import rules_for
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.services import hosts
from pilotfish.model import Proxy

__all__ = ["DanglingReferenceError", "Layer", "Reference", "Resource", "ResourceSet", "resource_set"]


@query
def resource_set(db: Reads, proxy: Proxy) -> ResourceSet:
    """Everything that a proxy is to have. Equal for replicas; the outbound layers are the same for all of a scope."""
    ports = inbound_ports(db, proxy)
    return _workload_set(db, Scope.of(proxy), ports, proxy.transparent)


@query
def _workload_set(db: Reads, scope: Scope, ports: tuple[InboundPort, ...], transparent: bool) -> ResourceSet:
    inbound = (_inbound_clusters(db, ports), _inbound_listeners(db, ports, transparent))
    return ResourceSet(inbound, outbound(db, scope))


@query
def outbound(db: Reads, scope: Scope) -> ResourceSet:
    """What every proxy of a scope shares. Complete in itself."""
    return ResourceSet((_clusters(db, scope), _endpoints(db, scope), _listeners(db), _routes(db, scope)))


@query
def _clusters(db: Reads, scope: Scope) -> Layer:
    return Layer(CLUSTER, (*common_clusters(db), *_cluster_resources(db, scope)))


def _cluster_resources(db: Reads, scope: Scope) -> Iterator[Resource]:
    for host in hosts(db):
        yield from service_clusters(db, host, rules_for(db, scope.namespace, host))


@query
def _endpoints(db: Reads, scope: Scope) -> Layer:
    found = (service_load_assignments(db, host, rules_for(db, scope.namespace, host)) for host in hosts(db))
    return Layer(ENDPOINT, (resource for many in found for resource in many))


@query
def _listeners(db: Reads) -> Layer:
    found = (outbound_listener(db, name) for name in binding_names(db))
    return Layer(LISTENER, (virtual_outbound(db), *(r for r in found if r is not None)))


@query
def _routes(db: Reads, scope: Scope) -> Layer:
    shared = (port_routes(db, scope.namespace, port) for port in http_ports(db))
    return Layer(ROUTE, (*shared, *_own_routes(db, scope)))


def _own_routes(db: Reads, scope: Scope) -> Iterator[Resource]:
    """The routes of listeners that one service has for itself; several addresses share one."""
    found = (binding(db, name) for name in binding_names(db))
    own = {(b.opened_by, b.port) for b in found if b is not None and b.route and b.address != WILDCARD}
    yield from (service_routes(db, scope.namespace, host, port) for host, port in sorted(own))


@query
def _inbound_clusters(db: Reads, ports: tuple[InboundPort, ...]) -> Layer:
    return Layer(CLUSTER, inbound_clusters(db, ports))


@query
def _inbound_listeners(db: Reads, ports: tuple[InboundPort, ...], transparent: bool) -> Layer:
    return Layer(LISTENER, (virtual_inbound(db, ports, transparent),))
