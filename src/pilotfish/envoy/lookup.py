"""One resource of a proxy by its name, without the others: for who needs a few of what `resources` has.

Equal to those of `resource_set`; those of a gateway, which are few, are taken from there.
"""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.derive import Graph, Reads, query
from pilotfish.envoy.clusters import common_clusters, inbound_port_cluster
from pilotfish.envoy.endpoints import local_assignment
from pilotfish.envoy.layers import host_clusters, host_endpoints, inbound_listeners, listener_scope, route_named
from pilotfish.envoy.listeners import outbound_listener, virtual_outbound
from pilotfish.envoy.machine.lookup import MachineLookup
from pilotfish.envoy.naming import LOCAL_CLUSTER, VIRTUAL_OUTBOUND
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.unclaimed import unclaimed
from pilotfish.envoy.values import Layer, Resource
from pilotfish.mesh.listeners.inbound import fellows_of, inbound_of, inbound_ports
from pilotfish.mesh.policy.policies import policed, scope_of, widest
from pilotfish.mesh.routes.connections import connection_scope
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.guards import guard_of
from pilotfish.mesh.settings import settings
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType


class Lookup:
    def __init__(self, graph: Graph, proxy: Proxy) -> None:
        self._graph = graph
        self._proxy = proxy
        self._scope = graph.get(widest, scope_of(graph, proxy))
        self._machine = MachineLookup(graph, proxy) if proxy.type is ProxyType.NODE else None

    def find(self, type_url: str, name: str) -> Resource | None:
        if self._machine is not None:
            return self._machine.find(type_url, name)
        if self._proxy.type is not ProxyType.SIDECAR:
            return resource_set(self._graph, self._proxy).get(type_url, name)
        if type_url == LISTENER and name in self._inbound:
            return self._inbound[name]
        if name == LOCAL_CLUSTER and type_url == ENDPOINT:
            fellows = fellows_of(self._graph, self._proxy)
            return self._graph.get(local_assignment, fellows) if fellows is not None else None
        if name.startswith("inbound|"):
            ports = self._graph.get(inbound_ports, self._proxy)
            found = (self._graph.get(inbound_port_cluster, port) for port in ports)
            return next((resource for resource in found if resource.name == name), None)
        resource: Resource | None = self._graph.get(_outbound, self._scope, self._proxy.certified, type_url, name)
        return resource

    def listeners_at(self, address: str, port: int) -> Iterator[Resource]:
        """Those that may have this place; no other has it."""
        if self._machine is not None:
            yield from self._machine.listeners_at(address, port)
            return
        if self._proxy.type is not ProxyType.SIDECAR:
            yield from resource_set(self._graph, self._proxy).resources(LISTENER)
            return
        names = (f"{address}_{port}", f"0.0.0.0_{port}", VIRTUAL_OUTBOUND)
        found = (self.find(LISTENER, name) for name in names)
        yield from (resource for resource in found if resource is not None)
        yield from self._inbound.values()

    @property
    def _inbound(self) -> Layer:
        found: Layer = self._graph.get(
            inbound_listeners,
            inbound_of(self._graph, self._proxy),
            guard_of(self._graph, self._proxy, scope_of(self._graph, self._proxy)),
        )
        return found


@query
def _outbound(db: Reads, scope: Scope, certified: bool, type_url: str, name: str) -> Resource | None:
    rules = policed(db, scope)
    if type_url == LISTENER:
        told = listener_scope(db, scope, rules)
        if name == VIRTUAL_OUTBOUND:
            return virtual_outbound(db, unclaimed(db, told))
        return outbound_listener(db, connection_scope(db, told, name), name)
    if type_url == ROUTE:
        return route_named(db, scope, name)
    return next((each for each in _of_host(db, rules, certified, type_url, name) if each.name == name), None)


def _of_host(db: Reads, rules: Scope, certified: bool, type_url: str, name: str) -> tuple[Resource, ...]:
    """The clusters or load assignments of the service whose this one is."""
    host = name.rpartition("|")[2]
    buffer = settings(db).at_sidecars.cluster_buffer
    if not name.startswith("outbound|"):
        return common_clusters(db, buffer) if type_url == CLUSTER else ()
    if type_url == ENDPOINT:
        return host_endpoints(db, rules, host)
    return host_clusters(db, rules, host, certified, buffer)
