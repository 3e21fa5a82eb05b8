"""One resource of a machine's proxy by its name, without the others; secrets alone come out of the whole set."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.derive import Graph, Reads, query
from pilotfish.envoy.clusters import common_clusters
from pilotfish.envoy.layers import route_named
from pilotfish.envoy.machine.listeners import unbound_listener, unbound_names
from pilotfish.envoy.machine.resources import (
    homes_of,
    inbound_cluster,
    machine_set,
    own_listeners,
    placed_cluster,
    placed_clusters,
    placed_endpoints,
    placed_route,
)
from pilotfish.envoy.machine.seats import Home, Seats, label, seat
from pilotfish.envoy.machine.variants import variant
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import Resource
from pilotfish.mesh.listeners.outbound import WILDCARD
from pilotfish.mesh.policy.policies import policed
from pilotfish.mesh.registry.visibility import hosts, visible
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
        get, certified = self._graph.get, self._machine.certified
        found: Resource | None
        if type_url == LISTENER:
            found = get(_listener, self._homes, self._seats, certified, name)
        elif type_url == ROUTE:
            found = get(_route, self._seats, certified, name)
        elif type_url in (CLUSTER, ENDPOINT):
            found = get(_of_host, self._homes, self._seats, certified, type_url, name)
        else:
            found = get(machine_set, self._homes, self._machine.netns_prefix, certified).get(type_url, name)
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
    return placed_route(db, scope, certified, found) if scope is not None and found is not None else None


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
        is_cluster = type_url == CLUSTER
        yield from placed_clusters(db, scope, host, certified) if is_cluster else placed_endpoints(db, scope, host)
