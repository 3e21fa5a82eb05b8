"""The hosts that a gateway answers for on one port, and the routes of each.

VirtualServices of one host are put together: first what the oldest says, and what takes every request comes last.
Source: Istio's buildGatewayHTTPRouteConfig,
https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/gateway.go
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.bindings import routed_by
from pilotfish.mesh.gateways.merging import merged
from pilotfish.mesh.gateways.selection import Front
from pilotfish.mesh.gateways.servers import Server, servers
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.policy.policies import policed
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.mesh.routes.http_routes import written_routes
from pilotfish.mesh.routing import reader, source, subject
from pilotfish.mesh.scope import Scope
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.gateway import GatewayHost
from pilotfish.model.route import HTTPMatch, HTTPRoute


@query(index=True)
def route_names(db: Reads, front: Front) -> tuple[str, ...]:
    """Of all routes of requests, sorted."""
    return tuple(sorted(merged(db, front).routes()))


@query
def gateway_hosts(db: Reads, front: Front, client: Scope, name: str) -> tuple[GatewayHost, ...]:
    """What stands behind a name of routes, for gateways of a scope."""
    found: dict[str, _Host] = {}
    for server in _servers_of(db, front, name):
        servers(db, server.ref.object)  # it is theirs
        for ref, hosts in routed_by(db, reader(db, client, 0), server):
            if not subject(db, ref).routes_requests:
                continue
            routes = _routes(db, ref, policed(db, client), source(db, client, ref), server.entrance)
            for host in hosts:
                found.setdefault(host, _Host(server.port, http3=front.http3(server))).add(ref, routes, server.redirects)
        for named in server.hosts if server.redirects else ():
            found.setdefault(named.name, _Host(server.port)).needs_tls = True
    return tuple(each.lowered(host) for host, each in sorted(found.items()))


@query(index=True)
def _servers_of(db: Reads, front: Front, name: str) -> tuple[Server, ...]:
    return merged(db, front).routes().get(name, ())


@query(index=True)
def first_port(db: Reads, front: Front, name: str) -> int:
    """Which clients call, of the oldest server behind a name of routes."""
    return _servers_of(db, front, name)[0].port


@dataclass(slots=True)
class _Host:
    port: int
    needs_tls: bool = False
    http3: bool = False
    routes: dict[tuple[ObjectRef, tuple[HTTPRoute, ...]], None] = field(default_factory=dict)

    def add(self, ref: ObjectRef, routes: tuple[HTTPRoute, ...], needs_tls: bool) -> None:
        """One that is bound by several Gateways, or twice by one, adds its routes once."""
        self.routes[ref, routes] = None
        self.needs_tls |= needs_tls

    def lowered(self, host: str) -> GatewayHost:
        """Of several routes for the same requests the first has them; nobody gets past one that takes all."""
        kept: dict[HTTPMatch, HTTPRoute] = {}
        lost: list[FieldRef] = []
        routes = [route for _, each in self.routes for route in each]
        for route in sorted(routes, key=lambda route: route.match.matches_everything):
            last = next(reversed(kept), None)
            if route.match in kept or (last is not None and last.matches_everything):
                lost += [route.ref] if route.ref is not None else []
            else:
                kept[route.match] = route
        used = {route.ref for route in kept.values()}
        unused = tuple(ref for ref in dict.fromkeys(lost) if ref not in used)
        return GatewayHost(host, self.port, tuple(kept.values()), self.needs_tls, self.http3, unused)


@query
def _routes(db: Reads, ref: ObjectRef, client: Scope, source: Scope, entrance: Entrance) -> tuple[HTTPRoute, ...]:
    """Those of one VirtualService at one gateway."""
    found = resource(db, ref, istio.VirtualService)
    return written_routes(db, ref, found.spec, client, source, entrance) if found is not None else ()
