"""Which routes a service's connections take: those of VirtualServices, or the plain one.

Of TLS no more is seen than the server name, so a port that declares TLS has `tls` routes, any other `tcp` routes. All
VirtualServices that name the host are tried, the oldest first.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.gateway_names import MESH, gateway_name
from pilotfish.mesh.hosts import wildcards
from pilotfish.mesh.inputs import refs, resource
from pilotfish.mesh.policy.policies import treated
from pilotfish.mesh.registry.visibility import seen_service
from pilotfish.mesh.routes.backends import Resolve, weigh
from pilotfish.mesh.routes.destinations import resolve_destination
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.mesh.routing import Reader, all_seen, reader, subject
from pilotfish.mesh.scope import Scope
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.addresses import normal_range
from pilotfish.model.connection_route import EVERYTHING, ConnectionMatch, ConnectionRoute, Connections
from pilotfish.model.kinds import VIRTUAL_SERVICE
from pilotfish.model.route import Backend, WeightedBackend


@query
def connection_routes(db: Reads, client: Scope, host: str, port: int) -> Connections:
    """The routes of one port of a service, in the order in which they are tried.

    `client` is the widest scope to which the same DestinationRules apply, and that these routes do not tell apart.
    """
    found = seen_service(db, client, host)
    declared = found.port(port) if found is not None else None
    is_tls = declared is not None and declared.protocol.is_tls
    routes: dict[ConnectionMatch, ConnectionRoute] = {}
    lost: list[ConnectionRoute] = []
    for ref in connection_routers(db, reader(db, client, port), host):
        source = resource(db, ref, istio.VirtualService)
        for route in _lowered(db, client, ref, source.spec, port, is_tls) if source is not None else ():
            if route.match in routes or EVERYTHING in routes:
                lost.append(route)
            else:
                routes[route.match] = route
    if not routes or not (is_tls or EVERYTHING in routes):
        plain = treated(db, replace(client, labels=()), Backend(host, port))
        routes[EVERYTHING] = ConnectionRoute(EVERYTHING, (WeightedBackend(plain),))
    return Connections(tuple(routes.values()), tuple(route.ref for route in lost if route.ref is not None))


def _lowered(
    db: Reads, client: Scope, ref: ObjectRef, spec: istio.VirtualServiceSpec, port: int, is_tls: bool
) -> Iterator[ConnectionRoute]:
    rules = replace(client, labels=())

    def resolve_for(destination: istio.Destination) -> Backend:
        return resolve_destination(db, rules, ref.namespace, destination, port)

    lower = lower_tls if is_tls else lower_tcp
    return lower(ref, spec, Entrance(port), client, resolve_for)


def lower_tls(
    ref: ObjectRef, spec: istio.VirtualServiceSpec, entrance: Entrance, source: Scope, resolve: Resolve
) -> Iterator[ConnectionRoute]:
    """One for each alternative of a rule's matches."""
    for index, rule in enumerate(spec.tls):
        for number, match in enumerate(rule.match):
            if _is_open(entrance, source, match, ref):
                names = tuple(dict.fromkeys(name.lower() for name in match.sni_hosts))
                field = FieldRef(ref, f"spec.tls[{index}].match[{number}]")
                meant = ConnectionMatch(_ranges(match.destination_subnets), names)
                yield ConnectionRoute(meant, weigh(rule.route, resolve), field)


def lower_tcp(
    ref: ObjectRef, spec: istio.VirtualServiceSpec, entrance: Entrance, source: Scope, resolve: Resolve
) -> Iterator[ConnectionRoute]:
    """One for each rule."""
    for index, rule in enumerate(spec.tcp):
        here = [match.destination_subnets for match in rule.match if _is_open(entrance, source, match, ref)]
        if rule.match and not here:
            continue
        subnets = _ranges(subnet for subnets in here for subnet in subnets) if all(here) else ()
        field = FieldRef(ref, f"spec.tcp[{index}]")
        yield ConnectionRoute(ConnectionMatch(subnets), weigh(rule.route, resolve), field)


def _is_open(
    entrance: Entrance, source: Scope, match: istio.TLSMatchAttributes | istio.L4MatchAttributes, ref: ObjectRef
) -> bool:
    """A gateway is nobody's source: there Istio takes no notice of what a match says of labels and namespace."""
    if not entrance.is_open_to(match.port, (gateway_name(name, ref.namespace) for name in match.gateways)):
        return False
    return entrance.gateway != MESH or source.is_source(match.source_namespace, match.source_labels)


def _ranges(subnets: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(normal_range, subnets))))


@query(index=True)
def connection_routers(db: Reads, reader: Reader, host: str) -> tuple[ObjectRef, ...]:
    """The VirtualServices with TLS or TCP routes that name a host, or a wildcard that matches it, the oldest first."""
    by_host = _routers(db)
    if not by_host:
        return ()
    found = {aged for name in (host, *wildcards(host)) for aged in by_host.get(name, ())}
    return all_seen(db, reader, (ref for _, ref in sorted(found)))


@query(index=True)
def routes_connections(db: Reads) -> bool:
    """Whether there is any such VirtualService."""
    return bool(_routers(db))


@query(index=True)
def _routers(db: Reads) -> Mapping[str, tuple[tuple[str, ObjectRef], ...]]:
    """By host: when each was made, and which it is."""
    found: dict[str, list[tuple[str, ObjectRef]]] = {}
    for ref in refs(db, VIRTUAL_SERVICE):
        each = subject(db, ref)
        for host in each.hosts if each.routes_connections and each.is_in_mesh else ():
            found.setdefault(host, []).append((each.created, ref))
    return {host: tuple(aged) for host, aged in found.items()}
