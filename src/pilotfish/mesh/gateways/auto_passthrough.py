"""Connections whose server name says the service that they are for: `outbound_.8080_.v1_.reviews.vm.svc.cluster.local`.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings-TLSmode
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.bindings import covers
from pilotfish.mesh.gateways.merging import merged
from pilotfish.mesh.gateways.selection import Front
from pilotfish.mesh.hosts import server_name
from pilotfish.mesh.policy.policies import policy, rules_for, treated
from pilotfish.mesh.registry.visibility import hosts, seen_service, visible
from pilotfish.mesh.scope import Scope
from pilotfish.model import Protocol
from pilotfish.model.connection_route import ConnectionMatch, ConnectionRoute
from pilotfish.model.route import Backend, WeightedBackend


def passed_hosts(db: Reads, front: Front) -> tuple[str, ...]:
    """Of the servers that are routed by the server name alone: those that they have, also with wildcards."""
    servers = (server for found in merged(db, front).listeners.values() for server in found if server.passes_all)
    return tuple(dict.fromkeys(host.name for server in servers for host in server.hosts))


def covers_any(wanted: Iterable[str], host: str) -> bool:
    return any(covers(each, host) for each in wanted)


def service_routes(db: Reads, client: Scope, wanted: Iterable[str]) -> Iterator[ConnectionRoute]:
    """One for each port, and each subset, of the services that hosts of a server cover."""
    named = tuple(wanted)
    for host in hosts(db, visible(db, client)):
        if covers_any(named, host):
            yield from _routes_of(db, client, host)


@query
def _routes_of(db: Reads, client: Scope, host: str) -> tuple[ConnectionRoute, ...]:
    found = seen_service(db, client, host)
    ports = [p.number for p in found.ports if p.protocol is not Protocol.UDP] if found is not None else []
    subsets = ("", *(each.name for each in policy(db, rules_for(db, client, host)).subsets))
    return tuple(
        ConnectionRoute(
            ConnectionMatch(server_names=(server_name(port, subset, host),)),
            (WeightedBackend(treated(db, client, Backend(host, port, subset, passed_on=True))),),
        )
        for port in ports
        for subset in subsets
    )
