"""The routes of connections that a listener takes, those of all services that share it put together.

Envoy chooses by the most specific match, not by order, and takes no two routes for the same: of several for the same
addresses and server name the first has it, and the others are without effect there (`problems` says so).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from pilotfish.derive import Reads, query
from pilotfish.mesh.listeners.outbound import Binding, binding
from pilotfish.mesh.policy.policies import Reach, reach
from pilotfish.mesh.registry.external_names import other_names
from pilotfish.mesh.registry.visibility import seen_service, visible
from pilotfish.mesh.routes.connection_routes import connection_routers, connection_routes, routes_connections
from pilotfish.mesh.routing import ANYBODY, reader
from pilotfish.mesh.scope import Scope
from pilotfish.model import FieldRef
from pilotfish.model.connection_route import ConnectionMatch, ConnectionRoute, Connections


@query
def connections(db: Reads, client: Scope, name: str) -> Connections:
    """`client`: as `connection_scope` says."""
    bound = binding(db, visible(db, client), name)
    if bound is None:
        return Connections()
    taken: set[tuple[str, str]] = set()
    routes: list[ConnectionRoute] = []
    asked = tuple(_asked(db, client, bound))
    lost = dict.fromkeys(ref for one in asked for ref in one.lost)
    clipped: dict[FieldRef, None] = {}
    for route in (route for one in asked for route in one.routes):
        free = _free(route.match, taken)
        if free is not None:
            taken.update(_pairs(free))
            routes.append(replace(route, match=free))
        if free != route.match and route.ref is not None:
            (lost if free is None else clipped)[route.ref] = None
    routes.sort(key=lambda route: route.match.matches_everything)
    return Connections(tuple(routes), tuple(lost), tuple(clipped))


def connection_scope(db: Reads, client: Scope, name: str) -> Scope:
    """The widest scope whose connections a listener routes in the same way."""
    seen = visible(db, client)
    if client == seen or Reach.CONNECTIONS in reach(db):
        return client
    if not routes_connections(db):
        return seen
    bound = binding(db, seen, name)
    by = reader(db, client, bound.port) if bound is not None else ANYBODY
    is_routed = bound is not None and any(connection_routers(db, by, host) for host in bound.hosts)
    return client if is_routed else seen


def _asked(db: Reads, client: Scope, bound: Binding) -> Iterator[Connections]:
    """What the services want of their listener. Where no address tells them apart, ranges and server names do."""
    for host, blocks in bound.ranges:
        yield _told_apart(db, client, host, bound.port, blocks)
    for host in bound.server_names:
        yield _told_apart(db, client, host, bound.port, ())
    if bound.tcp:
        yield connection_routes(db, client, bound.tcp, bound.tcp_port)


def _told_apart(db: Reads, client: Scope, host: str, port: int, blocks: tuple[str, ...]) -> Connections:
    found, asked = seen_service(db, client, host), connection_routes(db, client, host, port)
    declared = found.port(port) if found is not None else None
    is_named = declared is not None and declared.protocol.is_tls and host != "*"
    own_name = (host, *other_names(db, host)) if is_named else ()
    routes = (
        replace(route, match=ConnectionMatch(route.match.destinations or blocks, route.match.server_names or own_name))
        for route in asked.routes
    )
    return Connections(tuple(routes), asked.lost)


def _free(match: ConnectionMatch, taken: set[tuple[str, str]]) -> ConnectionMatch | None:
    """What is left of a match; None if nothing is. What is taken of one name is given up for the whole name."""
    if not taken.intersection(_pairs(match)):
        return match
    names = tuple(
        name for name in match.server_names if not taken.intersection(_pairs(replace(match, server_names=(name,))))
    )
    if names:
        return replace(match, server_names=names)
    blocks = tuple(
        block for block in match.destinations if not taken.intersection(_pairs(replace(match, destinations=(block,))))
    )
    return replace(match, destinations=blocks) if blocks else None


def _pairs(match: ConnectionMatch) -> Iterator[tuple[str, str]]:
    return product(match.destinations or ("",), match.server_names or ("",))
