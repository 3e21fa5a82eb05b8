"""One resource of a machine's proxy by its name, without the others; secrets alone come out of the whole set."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.derive import Graph, Reads, query
from pilotfish.envoy.clusters import common_clusters
from pilotfish.envoy.endpoints import service_load_assignments
from pilotfish.envoy.layers import route_named
from pilotfish.envoy.machine.listeners import unbound_listener, unbound_names
from pilotfish.envoy.machine.resources import (
    homes_of,
    inbound_cluster,
    machine_set,
    marked_endpoints,
    marked_route,
    own_listeners,
    placed_cluster,
)
from pilotfish.envoy.machine.seats import Home, Seats, label, seat
from pilotfish.envoy.machine.variants import clusters_of, of_use, renamed, variant
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import Resource
from pilotfish.mesh.listeners.outbound import WILDCARD
from pilotfish.mesh.policy.policies import policed, rules_for
from pilotfish.mesh.registry.visibility import home, hosts, ports_seen, visible
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.settings import settings
from pilotfish.model import Proxy


class MachineLookup:
    """As `envoy.lookup.Lookup`."""

    def __init__(self, graph: Graph, machine: Proxy) -> None:
        self._graph = graph
        self._machine = machine
        self._homes = homes_of(graph, machine)
        self._seats = seat(self._homes, machine.netns_prefix)

    def find(self, type_url: str, name: str) -> Resource | None:
        certified = self._machine.certified
        found: Resource | None
        match type_url:
            case str(each) if each == LISTENER:
                found = self._graph.get(_listener, self._homes, self._seats, certified, name)
            case str(each) if each == ROUTE:
                found = self._graph.get(_route, self._seats, certified, name)
            case str(each) if each in (CLUSTER, ENDPOINT):
                found = self._graph.get(_of_host, self._homes, self._seats, certified, type_url, name)
            case _:
                prefix = self._machine.netns_prefix
                found = self._graph.get(machine_set, self._homes, prefix, certified).get(type_url, name)
        return found

    def listeners_at(self, address: str, port: int) -> Iterator[Resource]:
        """Those that may have this place; no other has it."""
        names = (f"{each}_{port}" for each in dict.fromkeys((address, WILDCARD)))
        found = (self.find(LISTENER, name) for name in names)
        yield from (resource for resource in found if resource is not None)
        for at in self._homes:
            yield from self._graph.get(_own, at)


@query
def _own(db: Reads, at: Home) -> tuple[Resource, ...]:
    return own_listeners(db, at)


@query
def _listener(db: Reads, homes: tuple[Home, ...], seats: Seats, certified: bool, name: str) -> Resource | None:
    pod = name.partition("~")[2]
    if not pod:
        return unbound_listener(db, seats, certified, name) if name in unbound_names(db, seats) else None
    own = (each for at in homes if at.pod == pod for each in own_listeners(db, at))
    return next((each for each in own if each.name == name), None)


@query
def _route(db: Reads, seats: Seats, certified: bool, name: str) -> Resource | None:
    usual, _, mark = name.partition("~")
    scope = next((each for each in seats.scopes if label(each) == mark), None)
    found = route_named(db, scope, usual) if scope is not None else None
    if scope is None or found is None:
        return None
    return marked_route(db, found, mark, tuple(of_use(renamed(db, scope, certified), found.references).items()))


@query
def _of_host(
    db: Reads, homes: tuple[Home, ...], seats: Seats, certified: bool, type_url: str, name: str
) -> Resource | None:
    """A cluster or its endpoints."""
    if name.startswith("outbound|"):
        found = _outbound(db, seats, certified, type_url, name)
    elif type_url != CLUSTER:
        found = iter(())
    elif name.startswith("inbound|"):
        found = (inbound_cluster(db, at.pod, port) for at in homes for port in at.inbound.ports)
    else:
        common = common_clusters(db, settings(db).at_sidecars.cluster_buffer)
        found = (placed_cluster(db, each, "", "") for each in common)
    return next((each for each in found if each.name == name), None)


def _outbound(db: Reads, seats: Seats, certified: bool, type_url: str, name: str) -> Iterator[Resource]:
    """All of the host, as those see it to whom the mark belongs."""
    usual, _, mark = name.partition("~")
    host = usual.rpartition("|")[2]
    for scope in dict.fromkeys(policed(db, each) for each in seats.scopes):
        if host not in hosts(db, visible(db, scope)) or variant(db, scope, host) != mark:
            continue
        if type_url == CLUSTER:
            for each in clusters_of(db, scope, host, certified):
                yield placed_cluster(db, each, mark, scope.namespace)
        else:
            yield from _endpoints(db, scope, host, mark)


def _endpoints(db: Reads, scope: Scope, host: str, mark: str) -> Iterator[Resource]:
    at, ports = home(db, scope, host) or "", ports_seen(db, scope, host)
    found = service_load_assignments(db, host, at, ports, rules_for(db, scope, host), scope.place)
    yield from (marked_endpoints(db, each, mark) if mark else each for each in found)
