"""What the mesh knows of the names that a way has: asked of the graph, by client or by proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from pilotfish.derive import Graph, Reads, query
from pilotfish.envoy.http_route import cluster_of
from pilotfish.mesh.gateways.bindings import bound, covers
from pilotfish.mesh.gateways.listeners import gateway_listener
from pilotfish.mesh.gateways.merging import merged
from pilotfish.mesh.gateways.selection import Front
from pilotfish.mesh.gateways.servers import Server, ServerHost
from pilotfish.mesh.listeners.inbound import inbound_ports
from pilotfish.mesh.listeners.outbound import WILDCARD, binding
from pilotfish.mesh.policy.policies import policed, rules_for
from pilotfish.mesh.registry.external_names import stands_for
from pilotfish.mesh.registry.services import service, service_at
from pilotfish.mesh.registry.visibility import seen_service, visible
from pilotfish.mesh.routes.connections import connection_scope, connections
from pilotfish.mesh.routing import reader, subject
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.sidecars import read_import
from pilotfish.model import FieldRef, ObjectRef, Proxy
from pilotfish.model.connection_route import ConnectionRoute
from pilotfish.model.service import Service
from pilotfish.offline.owners.fields import Document


@dataclass(frozen=True, slots=True)
class Claimed:
    """A port that somebody wrote."""

    ref: ObjectRef
    port: int


@dataclass(frozen=True, slots=True)
class Listened:
    port: int
    host: str
    """Whose listener it is; "" where several share it."""


@query
def service_seen(db: Reads, client: Scope, host: str) -> Service | None:
    """Also by another name of it."""
    return seen_service(db, client, host) or seen_service(db, client, stands_for(db, host) or host)


@query
def is_hidden(db: Reads, client: Scope, host: str) -> bool:
    """A service of the mesh has the host, and the client sees none of it."""
    return seen_service(db, client, host) is None and service(db, host) is not None


@query
def rules_of(db: Reads, client: Scope, host: str) -> tuple[ObjectRef, ...]:
    """The DestinationRules that the client applies to a host."""
    return rules_for(db, policed(db, client), host)


@query
def listener_service(db: Reads, client: Scope, name: str) -> Listened | None:
    bound = binding(db, visible(db, client), name)
    return None if bound is None else Listened(bound.port, "" if bound.is_shared else bound.tcp or bound.opened_by)


@query
def route_of_connections(db: Reads, client: Scope, listener: str, ref: ObjectRef, cluster: str) -> str:
    """Which destination of a VirtualService's sends connections of a listener to a cluster: `spec.tcp[0].route[1]`."""
    return _destination(connections(db, connection_scope(db, client, listener), listener).routes, ref, cluster)


@query
def route_at_gateway(db: Reads, front: Front, client: Scope, listener: str, ref: ObjectRef, cluster: str) -> str:
    """The same of a gateway's listener."""
    found = gateway_listener(db, front, client, *_place(listener))
    chains = found.chains if found is not None else ()
    return _destination((each.connections for each in chains if each.connections is not None), ref, cluster)


def _destination(routes: Iterable[ConnectionRoute], ref: ObjectRef, cluster: str) -> str:
    for route in routes:
        if route.ref is not None and route.ref.object == ref:
            for index, each in enumerate(route.backends):
                if each.weight and cluster_of(each.backend) == cluster:
                    return f"{route.ref.field.partition('.match[')[0]}.route[{index}]"
    return "spec"


def _place(listener: str) -> tuple[str, int]:
    """(address, port) of a gateway's listener, as it is asked for."""
    address, _, port = listener.rpartition("_")
    return "" if address == WILDCARD else address, int(port) if port.isdecimal() else 0


@query
def inbound_port(db: Reads, proxy: Proxy, number: int) -> Claimed | None:
    """Who leads to a port of a proxy's pod: a Sidecar, or a Service's port."""
    found = next((port for port in inbound_ports(db, proxy) if port.number == number), None)
    if found is None:
        return None
    if found.listener is not None:
        return Claimed(found.listener.ref, number)
    known = service_at(db, found.host, found.home)
    return Claimed(known.ref, found.service_port) if known is not None else None


def gateway_server(graph: Graph, front: Front, listener: str, host: str, below: str) -> Iterator[FieldRef]:
    """The servers of a listener that are for a host, the most exact first, or all where none is given; `hosts` with
    which of them."""
    servers = graph.get(merged, front).listeners.get(_place(listener), ())
    if not host:
        yield from (FieldRef(server.ref.object, f"{server.ref.field}.{below}") for server in servers)
        return
    fitting = ((server, number, each.name) for server in servers for number, each in _covering(server, host))
    for server, number, _ in sorted(fitting, key=lambda each: -len(each[2])):
        yield FieldRef(server.ref.object, f"{server.ref.field}.{below}{f'[{number}]' if below == 'hosts' else ''}")


@query
def nearest_host(db: Reads, client: Scope, gateways: tuple[ObjectRef, ...], host: str) -> FieldRef | None:
    """Of the VirtualServices that are bound to Gateways, the host that is most like the one that nobody routes."""
    found = {
        name: FieldRef(ref, f"spec.hosts[{number}]")
        for gateway in reversed(gateways)
        for ref in reversed(bound(db, reader(db, client, 0), gateway))
        for number, name in enumerate(subject(db, ref).hosts)
    }
    close = get_close_matches(host.partition(":")[0], found, n=1, cutoff=0.0)
    return found[close[0]] if close else None


def _covering(server: Server, host: str) -> Iterator[tuple[int, ServerHost]]:
    """The server's hosts that a host is among; or that are among it, if it is a wildcard."""
    found = enumerate(server.hosts)
    return ((number, each) for number, each in found if covers(each.name, host) or covers(host, each.name))


@dataclass(frozen=True, slots=True)
class Egressed:
    """What a Sidecar's egress is asked for."""

    port: int
    host: str = ""
    """"" for the listener of the port itself."""
    namespace: str = ""
    """Of the host's service."""


def egress_entry(document: Document, namespace: str, wanted: Egressed) -> str:
    """`spec.egress[0].hosts[1]`, which lets the host be seen; `spec.egress[0].port` of a listener; "" for none."""
    listed = (document.get("spec") or {}).get("egress") or ()
    of_port = [i for i, each in enumerate(listed) if (each.get("port") or {}).get("number") == wanted.port]
    for index in of_port or [i for i, each in enumerate(listed) if "port" not in each]:
        if not wanted.host:
            return f"spec.egress[{index}].port" if of_port else ""
        for number, written in enumerate(listed[index].get("hosts") or ()):
            found, is_out = read_import(str(written), namespace)
            if not is_out and found.covers(wanted.namespace, wanted.host):
                return f"spec.egress[{index}].hosts[{number}]"
    return ""
