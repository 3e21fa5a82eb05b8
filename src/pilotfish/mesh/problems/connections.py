"""Problems of a VirtualService's TLS and TCP routes."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve, wildcards
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.listeners.outbound import port_uses
from pilotfish.mesh.problems.routing import dead_destination, warning
from pilotfish.mesh.registry.services import all_hosts, home_in
from pilotfish.mesh.registry.visibility import seen_service
from pilotfish.mesh.routes.connections import connections
from pilotfish.mesh.routing import subject
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.service import Service, ServicePort


@query
def connection_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.VirtualService)
    if found is None or not (found.spec.tls or found.spec.tcp):
        return ()
    in_mesh = (*_unused(db, ref, found.spec), *_lost(db, ref, found.spec)) if subject(db, ref).is_in_mesh else ()
    return (*in_mesh, *_dead(db, ref, found.spec))


def _unused(db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec) -> Iterator[Problem]:
    """Rules for which no port of a service of these hosts has connections."""
    found = routed_services(db, ref, spec)
    if not found:
        return
    ports = [port for each in found for port in each.ports]
    for index, tls in enumerate(spec.tls):
        numbers = [match.port for match in tls.match]
        if not any(port.protocol.is_tls and _is_meant(port, numbers) for port in ports):
            text = (
                "no port that these matches could mean declares TLS, so the rule has no effect; begin the name of the "
                "Service's port with tls- or https-, or set its appProtocol"
            )
            yield warning(db, ref, f"spec.tls[{index}]", "UnusedRoute", text)
    for index, tcp in enumerate(spec.tcp):
        numbers = [match.port for match in tcp.match] or [0]
        if not any(_is_opaque(port) and _is_meant(port, numbers) for port in ports):
            text = (
                "every port that this rule could mean declares HTTP or TLS, so it has no effect; write it under "
                "spec.http or spec.tls, or begin the name of the Service's port with tcp-"
            )
            yield warning(db, ref, f"spec.tcp[{index}]", "UnusedRoute", text)


def _is_meant(port: ServicePort, numbers: list[int]) -> bool:
    return 0 in numbers or port.number in numbers


def _is_opaque(port: ServicePort) -> bool:
    return not (port.protocol.is_http or port.protocol.is_tls)


def _lost(db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec) -> Iterator[Problem]:
    uses = (port_uses(db, each.host, home_in(db, each.host, each.namespace)) for each in routed_services(db, ref, spec))
    listeners = {use.listener for each in uses for use in each}
    audience = subject(db, ref).audience
    client = EVERYONE if audience is None else Scope(min(audience, default=""))
    found = [connections(db, client, name) for name in sorted(listeners)]
    used = {route.ref for one in found for route in one.routes}
    lost = {field for one in found for field in one.lost if field.object == ref and field not in used}
    clipped = {field for one in found for field in one.clipped if field.object == ref}
    for field in sorted(lost | clipped, key=lambda each: each.field):
        what = "all" if field in lost else "some of the"
        text = (
            f"{what} connections that it matches are taken by an earlier route, of this or an older object; remove one"
        )
        yield warning(db, ref, field.field, "ShadowedRoute", text)


def routed_services(db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec) -> tuple[Service, ...]:
    """Those whose connections the VirtualService routes."""
    names = {resolve(host, ref.namespace) for host in spec.hosts}
    client = Scope(ref.namespace)
    whole = names if not any(name.startswith("*") for name in names) else _matching(db, tuple(sorted(names)))
    return tuple(found for name in sorted(whole) if (found := seen_service(db, client, name)) is not None)


@query(index=True)
def _matching(db: Reads, names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(host for host in all_hosts(db) if any(name in names for name in (host, *wildcards(host))))


def _dead(db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec) -> Iterator[Problem]:
    rules = [(f"spec.tls[{i}]", rule.route) for i, rule in enumerate(spec.tls)]
    rules += [(f"spec.tcp[{i}]", rule.route) for i, rule in enumerate(spec.tcp)]
    for field, routes in rules:
        for index, routed in enumerate(routes):
            where = f"{field}.route[{index}].destination"
            yield from dead_destination(db, ref, where, routed.destination, "connections", "closed")
