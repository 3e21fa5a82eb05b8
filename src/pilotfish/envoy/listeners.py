"""Outbound listeners: `virtualOutbound`, where all captured traffic arrives, and those that it hands connections to.

`virtualOutbound` is bound and looks up the address that the client meant (`use_original_dst`); the listener of that
address, else the wildcard one of that port, takes over. Those are not bound. Wildcard listeners stand for IPv6 as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from pilotfish.derive import Reads, query
from pilotfish.envoy.access_log import build_listener_logs
from pilotfish.envoy.connection_route import build_chain, connection_clusters_of
from pilotfish.envoy.connection_settings import limit_listener
from pilotfish.envoy.filters import (
    HTTP_INSPECTOR,
    ORIGINAL_DST,
    SNIFFED_HTTP,
    TLS_INSPECTOR,
    build_tcp,
)
from pilotfish.envoy.http_manager import NEVER, Direction, HttpManager, build_http_manager
from pilotfish.envoy.message import duration, pipe, serialise, socket_address
from pilotfish.envoy.mutual_tls import SPEAKS_TCP
from pilotfish.envoy.naming import BLACK_HOLE, VIRTUAL_OUTBOUND
from pilotfish.envoy.types import CLUSTER, LISTENER, ROUTE
from pilotfish.envoy.unclaimed import looks_up, unclaimed, unknown_destination, unknown_host
from pilotfish.envoy.values import Resource
from pilotfish.envoy.virtual_hosts import build_fallback
from pilotfish.mesh.listeners.outbound import WILDCARD, Binding, binding
from pilotfish.mesh.registry.visibility import visible
from pilotfish.mesh.routes.connections import connections
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.settings import settings
from pilotfish.model.connection_route import ConnectionRoute
from pilotfish.model.egress import Unclaimed
from pilotfish.model.settings import MeshSettings
from pilotfish.model.wellknown import OUTBOUND_PORT

_REQUESTS: Final = FilterChainMatch(transport_protocol="raw_buffer", application_protocols=SNIFFED_HTTP)
_PATIENCE: Final = timedelta(milliseconds=100)


@query
def virtual_outbound(db: Reads, unclaimed: Unclaimed) -> Resource:
    """0.0.0.0:15001. What no other listener takes is let pass, or goes nowhere under REGISTRY_ONLY."""
    mesh, unknown = settings(db), unknown_destination(unclaimed)
    # A client that calls 15001 itself would make Envoy call itself without end.
    loop = FilterChain(
        name=f"{VIRTUAL_OUTBOUND}-blackhole",
        filter_chain_match=FilterChainMatch(destination_port=UInt32Value(value=OUTBOUND_PORT)),
        filters=[build_tcp(mesh.access_log, BLACK_HOLE)],
    )
    rest = FilterChain(name=f"{VIRTUAL_OUTBOUND}-catchall-tcp", filters=[build_tcp(mesh.access_log, unknown)])
    listener = Listener(
        name=VIRTUAL_OUTBOUND,
        address=socket_address(WILDCARD, OUTBOUND_PORT),
        additional_addresses=also_ipv6(OUTBOUND_PORT),
        filter_chains=[loop, rest],
        # `use_original_dst` looks the address up too; the filter is there for people to see.
        listener_filters=[ORIGINAL_DST],
        use_original_dst=BoolValue(value=True),
        traffic_direction=TrafficDirection.OUTBOUND,
        max_connections_to_accept_per_socket_event=UInt32Value(value=1),
        access_log=build_listener_logs(mesh.access_log),
    )
    limit_listener(listener, mesh.at_sidecars)
    if unclaimed.looked_up:
        _take_requests(listener, mesh, unclaimed)
    references = ((CLUSTER, BLACK_HOLE), (CLUSTER, unknown), (CLUSTER, unknown_host(unclaimed)))
    return Resource.make(LISTENER, listener.name, serialise(listener), references, db.origin)


def _take_requests(listener: Listener, mesh: MeshSettings, unknown: Unclaimed) -> None:
    """Those that no other listener takes go where their hosts lead.

    Envoy looks at connections to all listeners here before it leads them on: a server that speaks first is not to be
    waited for long. A client who is late with his request has it passed on to where it was going.
    """
    routes = RouteConfiguration(name=VIRTUAL_OUTBOUND, virtual_hosts=[build_fallback(unknown, mesh.headers)])
    manager = HttpManager(
        Direction.OUTBOUND,
        VIRTUAL_OUTBOUND,
        routes,
        mesh.access_log,
        headers=mesh.headers,
        lookup=mesh.dns_refresh,
        paths=mesh.paths,
        bears=mesh.at_sidecars,
    )
    chain = FilterChain(
        name=f"{VIRTUAL_OUTBOUND}-catchall-http",
        filters=[build_http_manager(manager)],
        filter_chain_match=_REQUESTS,
    )
    # Envoy does not go back to a chain that says less: what it takes is the rest.
    listener.default_filter_chain.CopyFrom(listener.filter_chains.pop())
    listener.filter_chains.append(chain)
    listener.listener_filters.append(HTTP_INSPECTOR)
    listener.listener_filters_timeout.FromTimedelta(_PATIENCE)
    listener.continue_on_listener_filters_timeout = True


@query
def outbound_listener(db: Reads, scope: Scope, name: str) -> Resource | None:
    """The listener of a binding; None if there is no such binding. `scope`: as `connection_scope` says."""
    bound = binding(db, visible(db, scope), name)
    if bound is None:
        return None
    mesh, routes, unknown = settings(db), connections(db, scope, name).routes, unknown_destination(unclaimed(db, scope))
    listener = Listener(
        name=name,
        address=listener_address(bound.address, bound.port),
        bind_to_port=None if bound.place.is_bound else BoolValue(value=False),
        traffic_direction=TrafficDirection.OUTBOUND,
        filter_chains=_chains(mesh, bound, routes, looks_up(db, unclaimed(db, scope))),
        listener_filters_timeout=duration(mesh.detection_timeout),
        continue_on_listener_filters_timeout=True,
    )
    limit_listener(listener, mesh.at_sidecars)
    if bound.address == WILDCARD:
        listener.additional_addresses.extend(also_ipv6(bound.port))
    _set_rest(listener, mesh, bound, routes, unknown)
    _set_inspectors(listener, bound, routes)
    return Resource.make(LISTENER, name, serialise(listener), _references(bound, routes, unknown), db.origin)


def listener_address(address: str, port: int) -> Address:
    """A socket's path (`unix:///PATH`), where there is no port."""
    return socket_address(address, port) if port else pipe(address)


def also_ipv6(port: int) -> list[AdditionalAddress]:
    """Pods are dual stack, and ip6tables redirects to the same ports."""
    return [AdditionalAddress(address=socket_address("::", port))]


def _chains(
    mesh: MeshSettings, bound: Binding, routes: tuple[ConnectionRoute, ...], looks_up: bool
) -> Iterator[FilterChain]:
    """All but what takes the rest. Envoy decides by destination range, then server name, then what was sniffed."""
    yield from (build_chain(route, mesh) for route in routes if not route.match.matches_everything)
    if bound.route:
        prefix = f"outbound_{bound.name}"
        manager = HttpManager(
            Direction.OUTBOUND,
            prefix,
            bound.route,
            mesh.access_log,
            headers=mesh.headers,
            lookup=mesh.dns_refresh if looks_up else NEVER,
            paths=mesh.paths,
            bears=mesh.at_sidecars,
        )
        yield FilterChain(filters=[build_http_manager(manager)], filter_chain_match=_REQUESTS)


def _set_rest(
    listener: Listener, mesh: MeshSettings, bound: Binding, routes: tuple[ConnectionRoute, ...], unknown: str
) -> None:
    """What the other chains don't match: a TCP service's, or as if there were no listener. A service that has the
    listener for itself and routes by server name alone takes no other connections."""
    rest = next((route for route in routes if route.match.matches_everything), None)
    if rest is not None and listener.filter_chains:
        listener.default_filter_chain.CopyFrom(_rest_chain(rest, mesh, bound))
    elif rest is not None:
        listener.filter_chains.append(_rest_chain(rest, mesh, bound))
    elif not bound.tcp:
        # An address to which nobody was led on is the listener's own: passing it on would call it again.
        passed = build_tcp(mesh.access_log, BLACK_HOLE if bound.place.is_bound else unknown)
        listener.default_filter_chain.CopyFrom(FilterChain(name="PassthroughFilterChain", filters=[passed]))


def _rest_chain(rest: ConnectionRoute, mesh: MeshSettings, bound: Binding) -> FilterChain:
    chain = build_chain(rest, mesh)
    if bound.undeclared:
        chain.filters.insert(0, SPEAKS_TCP)
    return chain


def _set_inspectors(listener: Listener, bound: Binding, routes: tuple[ConnectionRoute, ...]) -> None:
    """A service of its own address has those that it needs. What several share has both, or none where all is TCP: a
    listener whose filters change is drained whole, and a new Service must not cut its neighbours' connections.

    HTTP is looked for first. Behind the TLS inspector's 16 KB buffer the HTTP inspector waits for ever for the rest of
    a request line that is longer, though it has come: it asks for no more than what it takes itself to have.
    """
    shared = bound.is_shared and bool(bound.route or bound.server_names)
    if shared or bound.route:
        listener.listener_filters.append(HTTP_INSPECTOR)
    is_named = any(route.match.server_names for route in routes)
    if shared or is_named or (bound.undeclared and not bound.is_shared):
        # On a service's own address for the server name's place in the access log.
        listener.listener_filters.append(TLS_INSPECTOR)


def _references(bound: Binding, routes: tuple[ConnectionRoute, ...], unknown: str) -> Iterator[tuple[str, str]]:
    yield from ((CLUSTER, name) for route in routes for name in connection_clusters_of(route))
    if bound.route:
        yield (ROUTE, bound.route)
    if not bound.tcp:
        yield (CLUSTER, BLACK_HOLE if bound.place.is_bound else unknown)
