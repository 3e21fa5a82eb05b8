"""Problems of VirtualServices at the Gateways that they are bound to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.gateway_names import MESH, gateway_name
from pilotfish.mesh.gateways.bindings import routed_here
from pilotfish.mesh.gateways.hosts import gateway_hosts, route_names
from pilotfish.mesh.gateways.listeners import listener_places, lost_connections
from pilotfish.mesh.gateways.selection import Front, selectors
from pilotfish.mesh.gateways.servers import Server, servers
from pilotfish.mesh.inputs import Labels, resource
from pilotfish.mesh.problems.gateways import front_with
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.routing import subject
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model import FieldRef, ObjectRef, Problem
from pilotfish.model.kinds import GATEWAY


@query
def gateway_binding_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.VirtualService)
    if found is None:
        return ()
    there: list[Server] = []
    problems: list[Problem] = []
    for index, written in enumerate(found.spec.gateways):
        name = gateway_name(written, ref.namespace)
        if name != MESH:
            gateway = GATEWAY.ref(*name.split("/", 1))
            problems += _unfit(db, ref, f"spec.gateways[{index}]", gateway)
            there += servers(db, gateway)
    if _routed(db, ref, there):
        problems += (*_homeless(db, ref, there), *_idle(db, ref, found.spec, there), *_lost(db, ref))
    return tuple(problems)


def _unfit(db: Reads, ref: ObjectRef, field: str, gateway: ObjectRef) -> Iterator[Problem]:
    """A gateway that is not there, or that is for none of the hosts."""
    if resource(db, gateway, istio.Gateway) is None:
        text = f"there is no {gateway}, so nobody reaches these routes by it; correct the name, or add it"
        yield warning(db, ref, field, "UnknownGateway", text)
    elif not _routed(db, ref, servers(db, gateway)):
        text = (
            f"no server of {gateway} is for a host of this object and for VirtualServices of {ref.namespace}, so "
            f"nobody reaches these routes by it; name them in its hosts"
        )
        yield warning(db, ref, field, "UnknownGatewayHost", text)


def _routed(db: Reads, ref: ObjectRef, there: Sequence[Server]) -> bool:
    return any(routed_here(server.hosts, subject(db, ref).hosts, ref.namespace) for server in there)


def _homeless(db: Reads, ref: ObjectRef, there: list[Server]) -> Iterator[Problem]:
    """Hosts that no server takes, of an object of which some are taken."""
    if subject(db, ref).is_in_mesh:
        return
    for index, host in enumerate(subject(db, ref).hosts):
        if not any(routed_here(server.hosts, (host,), ref.namespace) for server in there):
            text = (
                f"no server of its gateways is for {host} and for VirtualServices of {ref.namespace}, so "
                f"nobody reaches these routes by it; name it in the Gateway's hosts"
            )
            yield warning(db, ref, f"spec.hosts[{index}]", "UnknownGatewayHost", text)


def _idle(db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec, there: list[Server]) -> Iterator[Problem]:
    """Kinds of routes for which no server has anything."""
    if subject(db, ref).is_in_mesh:
        return
    kinds = (
        ("http", spec.http, any(s.has_requests for s in there), "HTTP, or HTTPS that ends TLS"),
        ("tls", spec.tls, any(s.is_passed_through for s in there), "TLS or HTTPS with mode PASSTHROUGH"),
        ("tcp", spec.tcp, any(not (s.has_requests or s.is_passed_through) for s in there), "TCP, or TLS that it ends"),
    )
    for name, routes, has_some, wanted in kinds:
        if routes and not has_some:
            text = (
                f"no server of its gateways has what these routes are for, so they have no effect: they need {wanted}"
            )
            yield warning(db, ref, f"spec.{name}", "UnusedRoute", text)


def _lost(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    """Routes to which others of the same host leave nothing, at every gateway."""
    about = subject(db, ref)
    client = EVERYONE if about.audience is None else Scope(min(about.audience, default=""))
    fronts = {front_with(db, labels) for gateway in about.gateways for labels in _selector(db, gateway)}
    lost = {field for front in fronts for field in _lost_at(db, front, client).get(ref, ())}
    for field in sorted(lost, key=lambda each: each.field):
        text = "all that it matches is taken by an earlier route for the same host, of an older object; remove one"
        yield warning(db, ref, field.field, "ShadowedRoute", text)


@query(index=True)
def _selector(db: Reads, gateway: ObjectRef) -> tuple[Labels, ...]:
    return tuple(labels for ref, labels in selectors(db) if ref == gateway)


@query(index=True)
def _lost_at(db: Reads, front: Front, client: Scope) -> Mapping[ObjectRef, tuple[FieldRef, ...]]:
    """By whose they are: routes that take nothing there, neither of one host nor of another."""
    hosts = [host for name in route_names(db, front) for host in gateway_hosts(db, front, client, name)]
    used = {route.ref for host in hosts for route in host.routes}
    lost = chain((field for host in hosts for field in host.lost), _lost_connections(db, front, client))
    found: dict[ObjectRef, dict[FieldRef, None]] = {}
    for field in lost:
        if field not in used:
            found.setdefault(field.object, {})[field] = None
    return {ref: tuple(fields) for ref, fields in found.items()}


def _lost_connections(db: Reads, front: Front, client: Scope) -> Iterator[FieldRef]:
    for place in listener_places(db, front):
        yield from lost_connections(db, front, client, *place)
