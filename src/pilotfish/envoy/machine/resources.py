"""A machine's whole set: what all of its pods share, and what each has for itself.

    homes ─seat─▶ Seats ─▶ shared: clusters, endpoints, the listeners that are handed over to, routes
      └───────────────────▶ each pod's own listeners; the clusters of its ports

One more pod that sees what its namespace does is two listeners more, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from pilotfish.derive import Graph, Reads, query
from pilotfish.envoy.clusters import common_clusters, inbound_port_cluster
from pilotfish.envoy.layers import host_endpoints, routes
from pilotfish.envoy.machine.listeners import pod_listeners, unbound_listener, unbound_names
from pilotfish.envoy.machine.places import open_for_pods
from pilotfish.envoy.machine.seats import Home, Seats, label, seat
from pilotfish.envoy.machine.variants import (
    Names,
    clusters_of,
    credentials_in,
    marked,
    of_use,
    references_as,
    rename,
    renamed,
    variant,
)
from pilotfish.envoy.message import serialise
from pilotfish.envoy.secrets import secret, secret_names
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from pilotfish.envoy.values import Layer, Resource, ResourceSet
from pilotfish.mesh.listeners.inbound import InboundPort, inbound_of
from pilotfish.mesh.policy.policies import policed, scope_of, widest
from pilotfish.mesh.registry.visibility import hosts, visible
from pilotfish.mesh.registry.workloads import Resident, residents
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.guards import guard_of
from pilotfish.mesh.settings import settings
from pilotfish.model import Proxy
from pilotfish.model.credential import is_config_map
from pilotfish.model.private import reveal


def homes_of(graph: Graph, machine: Proxy) -> tuple[Home, ...]:
    """The pods that a machine's proxy serves, in order. No query, as there would be one for each of its pods."""
    return tuple(_home(graph, machine, each) for each in graph.get(residents, machine.name))


def pods_of(graph: Graph, machine: Proxy) -> tuple[Proxy, ...]:
    """The same pods, each as if it had a proxy of its own."""
    return tuple(_pod(machine, each) for each in graph.get(residents, machine.name))


def _pod(machine: Proxy, resident: Resident) -> Proxy:
    ref = resident.ref
    made = Proxy.of_pod(ref.name, ref.namespace, resident.addresses, labels=dict(resident.labels))
    return replace(made, vouched=machine.vouched, certified=machine.certified)


def _home(graph: Graph, machine: Proxy, resident: Resident) -> Home:
    pod = _pod(machine, resident)
    own = scope_of(graph, pod)
    return Home(
        str(pod),
        pod.namespace,
        machine.netns_of(pod.name, pod.namespace),
        graph.get(widest, own),
        inbound_of(graph, pod),
        guard_of(graph, pod, own),
        resident.draining,
    )


@query
def machine_set(db: Reads, homes: tuple[Home, ...], prefix: str, certified: bool) -> ResourceSet:
    """`prefix`: as `Proxy.netns_prefix`."""
    shared = _shared(db, seat(homes, prefix), certified)
    ports = [inbound_cluster(db, at.pod, port) for at in homes for port in at.inbound.ports]
    own = [each for at in homes for each in own_listeners(db, at)]
    layers = (Layer(CLUSTER, ports), Layer(LISTENER, own))
    return ResourceSet((*layers, *_secrets(db, layers)), shared)


def own_listeners(db: Reads, at: Home) -> tuple[Resource, ...]:
    """Those of a pod alone."""
    found = ((inbound_port_cluster(db, port).name, inbound_cluster(db, at.pod, port).name) for port in at.inbound.ports)
    return pod_listeners(db, at, tuple(found))


def _secrets(db: Reads, layers: Iterable[Layer]) -> Iterator[Layer]:
    """Those that these name."""
    if named := secret_names(reference for layer in layers for reference in layer.references):
        yield Layer(SECRET, _credentials(db, named))


@query
def inbound_cluster(db: Reads, pod: str, port: InboundPort) -> Resource:
    """Called after its pod, whatever is asked of it: a connection that was there before a change is led by the name
    that was known then, for as long as it lasts."""
    return _place_cluster(db, inbound_port_cluster(db, port), pod, "")


@query
def _shared(db: Reads, seats: Seats, certified: bool) -> ResourceSet:
    rules = tuple(dict.fromkeys(policed(db, scope) for scope in seats.scopes))
    clusters = _clusters(db, rules, certified)
    listeners = (unbound_listener(db, seats, certified, name) for name in unbound_names(db, seats))
    told = Layer(ROUTE, (each for scope in seats.scopes for each in _routes(db, scope, certified).values()))
    layers = (clusters, _endpoints(db, rules), Layer(LISTENER, listeners), told)
    return ResourceSet((*layers, *_secrets(db, layers)))


@query
def _clusters(db: Reads, rules: tuple[Scope, ...], certified: bool) -> Layer:
    """`rules`: as `policed` says, of all scopes."""
    common = common_clusters(db, settings(db).at_sidecars.cluster_buffer)
    placed = [placed_cluster(db, each, "", "") for each in common]
    for scope in rules:
        for host in hosts(db, visible(db, scope)):
            placed += placed_clusters(db, scope, host, certified)
    return Layer(CLUSTER, placed)


def placed_clusters(db: Reads, scope: Scope, host: str, certified: bool) -> Iterator[Resource]:
    """Those of one service, as a scope of rules sees it."""
    mark = variant(db, scope, host)
    for each in clusters_of(db, scope, host, certified):
        yield placed_cluster(db, each, mark, scope.namespace)


@query
def placed_cluster(db: Reads, resource: Resource, mark: str, namespace: str) -> Resource:
    return _place_cluster(db, resource, mark, namespace)


def _place_cluster(db: Reads, resource: Resource, mark: str, namespace: str) -> Resource:
    """Its connections are opened for the pod for which they are. What it comes from is what the usual one does."""
    cluster = Cluster.FromString(resource.body)
    names = dict(credentials_in(namespace, resource.references))
    rename(cluster, names)
    names[resource.name] = cluster.name = marked(cluster.name, mark)
    if listed := cluster.eds_cluster_config.service_name:
        names[listed] = cluster.eds_cluster_config.service_name = marked(listed, mark)
    open_for_pods(cluster)
    references = references_as(resource.references, names)
    return Resource.make(CLUSTER, cluster.name, serialise(cluster), references, resource.origin, vacant=resource.vacant)


@query
def _endpoints(db: Reads, rules: tuple[Scope, ...]) -> Layer:
    listed: list[Resource] = []
    for scope in rules:
        for host in hosts(db, visible(db, scope)):
            listed += placed_endpoints(db, scope, host)
    return Layer(ENDPOINT, listed)


def placed_endpoints(db: Reads, scope: Scope, host: str) -> Iterator[Resource]:
    """Those of one service, as a scope of rules sees it."""
    mark = variant(db, scope, host)
    for each in host_endpoints(db, scope, host):
        yield _marked_endpoints(db, each, mark) if mark else each


@query
def _marked_endpoints(db: Reads, resource: Resource, mark: str) -> Resource:
    found = ClusterLoadAssignment.FromString(resource.body)
    found.cluster_name = marked(resource.name, mark)
    return Resource.make(ENDPOINT, found.cluster_name, serialise(found), (), resource.origin, vacant=resource.vacant)


@query
def _routes(db: Reads, scope: Scope, certified: bool) -> Layer:
    return Layer(ROUTE, (placed_route(db, scope, certified, each) for each in routes(db, scope).values()))


def placed_route(db: Reads, scope: Scope, certified: bool, resource: Resource) -> Resource:
    names = of_use(renamed(db, scope, certified), resource.references)
    return _marked_route(db, resource, label(scope), tuple(names.items()))


@query
def _marked_route(db: Reads, resource: Resource, scope: str, names: Names) -> Resource:
    found = RouteConfiguration.FromString(resource.body)
    found.name = marked(resource.name, scope)
    rename(found, dict(names))
    references = references_as(resource.references, dict(names))
    return Resource.make(ROUTE, found.name, serialise(found), references, resource.origin)


def _credentials(db: Reads, named: Iterable[str]) -> Iterator[Resource]:
    """By the names that they have here."""
    for name in sorted(named):
        usual, _, namespace = (name, "", "") if is_config_map(name) else name.rpartition("~")
        found = secret(db, namespace, usual)
        if found is not None:
            message = Secret.FromString(reveal(found.body))
            message.name = name
            yield Resource.make(SECRET, name, serialise(message), (), found.origin)
