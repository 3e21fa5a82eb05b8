"""The listeners of a gateway: which connections they take, and what is done with those.

Source: Istio's buildGatewayListeners, https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/gateway.go
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.auto_passthrough import service_routes
from pilotfish.mesh.gateways.bindings import routed_by
from pilotfish.mesh.gateways.merging import merged
from pilotfish.mesh.gateways.selection import Front
from pilotfish.mesh.gateways.servers import Server, lacking_secrets, servers
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.listeners.outbound import WILDCARD
from pilotfish.mesh.policy.policies import policed
from pilotfish.mesh.routes.connection_routes import lower_tcp, lower_tls
from pilotfish.mesh.routes.destinations import resolve_destination
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.mesh.routing import reader, subject
from pilotfish.mesh.scope import Scope
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.connection_route import EVERYTHING, ConnectionMatch, ConnectionRoute
from pilotfish.model.gateway import GatewayChain, GatewayListener
from pilotfish.model.route import Backend


@query(index=True)
def listener_places(db: Reads, front: Front) -> tuple[tuple[str, int], ...]:
    """(address, port) of all, sorted."""
    return tuple(sorted(merged(db, front).listeners))


@query
def gateway_listener(db: Reads, front: Front, client: Scope, address: str, port: int) -> GatewayListener | None:
    """None where nothing is routed: connections are then refused. Requests always have a listener, and a 404."""
    found = _chosen(db, front, client, address, port)
    return found if found.chains else None


@query
def lost_connections(db: Reads, front: Front, client: Scope, address: str, port: int) -> tuple[FieldRef, ...]:
    """The routes of connections that take nothing there."""
    return _chosen(db, front, client, address, port).lost


def _chosen(db: Reads, front: Front, client: Scope, address: str, port: int) -> GatewayListener:
    """Of several chains for one server name the first has it."""
    taken: set[str] = set()
    chains: list[GatewayChain] = []
    lost: list[FieldRef] = []
    for server in _servers_at(db, front, address, port):
        servers(db, server.ref.object)  # it is theirs
        for chain in _open_or_shut(db, front, client, server, port):
            names = chain.server_names or ("",)
            free = tuple(name for name in names if name not in taken)
            if free:
                taken.update(free)
                chains.append(replace(chain, server_names=() if "" in free else free))
            elif chain.connections is not None and chain.connections.ref is not None:
                lost.append(chain.connections.ref)
    return GatewayListener(f"{address or WILDCARD}_{port}", address, port, tuple(chains), tuple(lost))


@query(index=True)
def _servers_at(db: Reads, front: Front, address: str, port: int) -> tuple[Server, ...]:
    return merged(db, front).listeners.get((address, port), ())


def _open_or_shut(db: Reads, front: Front, client: Scope, server: Server, port: int) -> Iterator[GatewayChain]:
    """One that can't end TLS keeps its server names: clients must not come to a wider server that asks less of them."""
    tls = server.tls
    lacking = tls is not None and tls.names_secrets and not _has_secrets(db, front, server)
    if lacking or (tls is not None and tls.of_mesh and not front.certified):
        yield GatewayChain(server.server_names)
    else:
        yield from _chains(db, front, client, server, port)


def _has_secrets(db: Reads, front: Front, server: Server) -> bool:
    return bool(front.secrets_of) and not any(lacking_secrets(db, front.secrets_of, server))


def _chains(db: Reads, front: Front, client: Scope, server: Server, port: int) -> Iterator[GatewayChain]:
    if server.has_requests:
        names, routes, http3 = (
            server.server_names if server.is_tls else (),
            server.route_name(port),
            front.http3(server),
        )
        yield GatewayChain(names, server.tls, requests=routes, stat_prefix=server.name, http3=http3)
    elif server.is_passed_through:
        for route in _routed(db, client, server):
            names = route.match.server_names or server.server_names
            yield GatewayChain(names, connections=replace(route, match=EVERYTHING))
    else:
        # The first takes all: nothing tells connections apart but what the chain matches.
        for route in _routed(db, client, server):
            names = server.server_names if server.is_tls else ()
            yield GatewayChain(names, server.tls, connections=replace(route, match=EVERYTHING))


def _routed(db: Reads, client: Scope, server: Server) -> Iterator[ConnectionRoute]:
    if server.passes_all:
        yield from service_routes(db, policed(db, client), (host.name for host in server.hosts))
        return
    for ref, _ in routed_by(db, reader(db, client, 0), server):
        if subject(db, ref).routes_connections:
            yield from connection_routes_at(db, ref, policed(db, client), server.entrance, server.is_passed_through)


@query
def connection_routes_at(
    db: Reads, ref: ObjectRef, client: Scope, entrance: Entrance, is_named: bool
) -> tuple[ConnectionRoute, ...]:
    """Those of one VirtualService at one gateway. All connections are to the gateway's own address, so destination
    subnets tell nothing apart, and are not looked at; nor does `*` tell server names apart."""
    found = resource(db, ref, istio.VirtualService)
    if found is None:
        return ()

    def resolve(destination: istio.Destination) -> Backend:
        return resolve_destination(db, client, ref.namespace, destination, entrance.port)

    lower = lower_tls if is_named else lower_tcp
    return tuple(
        replace(route, match=ConnectionMatch(server_names=() if "*" in (n := route.match.server_names) else n))
        for route in lower(ref, found.spec, entrance, client, resolve)
    )
