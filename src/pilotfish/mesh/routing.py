"""VirtualServices: which one routes a host.

Of several that name a host, and are exported to the client's namespace, the oldest routes it and the others have no
effect on it (`problems` says so). A host that none names is routed by the most specific wildcard that matches.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.exports import Audience, audience_of, is_seen, rank
from pilotfish.mesh.gateway_names import MESH, gateway_name
from pilotfish.mesh.hosts import resolve, wildcards
from pilotfish.mesh.inputs import mesh_config, refs, resource
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model import ObjectRef
from pilotfish.model.egress import EgressListener, Imports, listener_for
from pilotfish.model.kinds import GATEWAY, VIRTUAL_SERVICE


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads VirtualServices. Clients with equal readers see the same ones."""

    namespace: str = ""
    """If some are exported to it by name; "" for all others, which see the same."""
    imports: Imports | None = None
    """As a Sidecar has it: of the hosts that are called through one of its listeners."""


ANYBODY: Final = Reader()


def reader(db: Reads, scope: Scope, port: int) -> Reader:
    """For calls of a port."""
    return reader_by(db, scope, listener_for(scope.egress, port))


def reader_by(db: Reads, scope: Scope, listener: EgressListener) -> Reader:
    """For calls through a listener."""
    namespace = scope.namespace if is_shown_some(db, scope.namespace) else ""
    return Reader(namespace, listener.imports) if namespace or listener.imports is not None else ANYBODY


@query(index=True)
def router(db: Reads, reader: Reader, host: str) -> ObjectRef | None:
    """The VirtualService that routes a host for a client; None for a host that is routed plainly."""
    by_host = routers(db)
    for name in (host, *wildcards(host)):
        found = first_seen(db, reader, by_host.get(name, ()))
        if found is not None:
            return found
    return None


def first_seen(db: Reads, reader: Reader, found: tuple[ObjectRef, ...]) -> ObjectRef | None:
    """Of several for one host, by `exports.rank`, and of equals the oldest, which is the first."""
    audiences = _audiences(db)
    seen = all_seen(db, reader, found) if found else ()
    return min(seen, key=lambda ref: rank(audiences.get(ref), ref.namespace, reader.namespace), default=None)


def all_ranked(db: Reads, reader: Reader, found: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """Those that are exported to a namespace, first those that `first_seen` prefers."""
    audiences, seen = _audiences(db), all_seen(db, reader, found)
    return tuple(sorted(seen, key=lambda ref: rank(audiences.get(ref), ref.namespace, reader.namespace)))


def has_same_rank(db: Reads, reader: str, one: ObjectRef, other: ObjectRef) -> bool:
    """Their age decides between the two."""
    audiences = _audiences(db)
    return len({rank(audiences.get(ref), ref.namespace, reader) for ref in (one, other)}) == 1


@query(index=True)
def is_shown_some(db: Reads, namespace: str) -> bool:
    """Whether some VirtualService is exported to a namespace by name."""
    return any(namespace in each for each in _audiences(db).values())


@query(index=True)
def _audiences(db: Reads) -> Mapping[ObjectRef, frozenset[str]]:
    """Of the VirtualServices that are not for all namespaces."""
    found = ((ref, subject(db, ref).audience) for ref in refs(db, VIRTUAL_SERVICE))
    return {ref: audience for ref, audience in found if audience is not None}


def all_seen(db: Reads, reader: Reader, found: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """Those VirtualServices that are exported to a client, and that it imports, in their order."""
    audiences = _audiences(db)
    if reader.imports is not None:
        imported = imported_routers(db, reader.imports)
        found = (ref for ref in found if ref in imported)
    return tuple(ref for ref in found if is_seen(audiences.get(ref), reader.namespace)) if audiences else tuple(found)


@query(index=True)
def imported_routers(db: Reads, imports: Imports) -> frozenset[ObjectRef]:
    """The VirtualServices that some imported host touches, whoever may see them.

    Source: Istio's SelectVirtualServices, https://github.com/istio/istio/blob/master/pilot/pkg/model/sidecar.go
    """
    by_host, hosts_of = _by_host(db)
    found: set[ObjectRef] = set()
    for each in imports.included:
        if each.host.startswith("*"):
            found.update(ref for ref, hosts in hosts_of.items() if _touches(imports, ref, hosts))
        else:
            named = (ref for name in (each.host, *wildcards(each.host)) for ref in by_host.get(name, ()))
            found.update(ref for ref in named if _touches(imports, ref, hosts_of[ref]))
    return frozenset(found)


def _touches(imports: Imports, ref: ObjectRef, hosts: Iterable[str]) -> bool:
    return any(imports.touch(ref.namespace, host) for host in hosts)


@query(index=True)
def _by_host(db: Reads) -> tuple[Mapping[str, tuple[ObjectRef, ...]], Mapping[ObjectRef, tuple[str, ...]]]:
    """The VirtualServices that name each host, and the hosts of each."""
    subjects = ((ref, subject(db, ref)) for ref in refs(db, VIRTUAL_SERVICE))
    hosts_of = {ref: each.hosts for ref, each in subjects if each.is_in_mesh and each.hosts}
    found: dict[str, list[ObjectRef]] = {}
    for ref, hosts in hosts_of.items():
        for host in hosts:
            found.setdefault(host, []).append(ref)
    return {host: tuple(by) for host, by in found.items()}, hosts_of


@query(index=True)
def called_beside(db: Reads, reader: Reader) -> tuple[tuple[str, int], ...]:
    """The destinations of the VirtualServices that a client with imports sees: hosts, and ports or 0 for all."""
    imported = imported_routers(db, reader.imports) if reader.imports is not None else ()
    seen = all_seen(db, reader, sorted(imported))
    return tuple(dict.fromkeys(each for ref in seen for each in _destinations(db, ref)))


@query
def _destinations(db: Reads, ref: ObjectRef) -> tuple[tuple[str, int], ...]:
    """Of a VirtualService, its delegates' among them."""
    found: dict[tuple[str, int], None] = {}
    for each in (ref, *subject(db, ref).delegates):
        source = resource(db, each, istio.VirtualService)
        for destination in _named_in(source.spec) if source is not None else ():
            port = destination.port.number if destination.port is not None else 0
            found[resolve(destination.host, each.namespace), port] = None
    return tuple(found)


def _named_in(spec: istio.VirtualServiceSpec) -> Iterator[istio.Destination]:
    for rule in spec.http:
        yield from (each.destination for each in rule.route)
        yield from (each.destination for each in rule.mirrors)
        if rule.mirror is not None:
            yield rule.mirror
    for routes in (*(rule.route for rule in spec.tls), *(rule.route for rule in spec.tcp)):
        yield from (each.destination for each in routes)


@query(index=True)
def routed_hosts(db: Reads, reader: Reader) -> tuple[str, ...]:
    """The hosts that VirtualServices name, as whole names, sorted."""
    found = routers(db)
    return tuple(sorted(host for host in found if first_seen(db, reader, found[host]) is not None))


@query(index=True)
def routers(db: Reads) -> Mapping[str, tuple[ObjectRef, ...]]:
    """Which VirtualServices name each host in HTTP routes, the oldest first."""
    subjects = ((subject(db, ref), ref) for ref in refs(db, VIRTUAL_SERVICE))
    aged = sorted((each.created, each.hosts, ref) for each, ref in subjects if each.routes_requests and each.is_in_mesh)
    found: dict[str, list[ObjectRef]] = {}
    for _, named, ref in aged:
        for host in named:
            found.setdefault(host, []).append(ref)
    return {host: tuple(by) for host, by in found.items()}


@dataclass(frozen=True, slots=True)
class Sources:
    """By what the matches of VirtualServices tell clients apart."""

    labels: frozenset[tuple[str, str]] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def narrow(self, scope: Scope) -> Scope:
        """As much of a scope as is told apart."""
        namespace = scope.namespace if scope.namespace in self.namespaces else ""
        return Scope(namespace, tuple(label for label in scope.labels if label in self.labels))

    @classmethod
    def of(cls, matches: Iterable[istio.HTTPMatchRequest | istio.TLSMatchAttributes | istio.L4MatchAttributes]) -> Self:
        every = tuple(matches)
        return cls(
            frozenset(label for match in every for label in match.source_labels.items()),
            frozenset(match.source_namespace for match in every if match.source_namespace),
        )

    @classmethod
    def together(cls, several: Iterable[Self]) -> Self:
        every = tuple(several)
        return cls(
            frozenset(label for each in every for label in each.labels),
            frozenset(name for each in every for name in each.namespaces),
        )


@query(index=True)
def sources(db: Reads) -> Sources:
    """Of all VirtualServices."""
    return Sources.together((*_sources(db).values(), connection_sources(db)))


@query(index=True)
def connection_sources(db: Reads) -> Sources:
    """Of the TLS and TCP routes of all VirtualServices."""
    return Sources.together(subject(db, ref).connection_sources for ref in refs(db, VIRTUAL_SERVICE))


def source(db: Reads, scope: Scope, ref: ObjectRef) -> Scope:
    """The client, as far as the HTTP routes of this VirtualService tell it from others."""
    found = _sources(db).get(ref)
    return found.narrow(scope) if found is not None else EVERYONE


@query(index=True)
def _sources(db: Reads) -> Mapping[ObjectRef, Sources]:
    """Of the HTTP routes of those that tell clients apart by these."""
    found = ((ref, subject(db, ref).sources) for ref in refs(db, VIRTUAL_SERVICE))
    return {ref: each for ref, each in found if each != _NOBODY}


@dataclass(frozen=True, slots=True)
class Subject:
    """When a VirtualService was made, which hosts it is for, and for whom."""

    created: str = ""
    hosts: tuple[str, ...] = ()
    routes_requests: bool = False
    routes_connections: bool = False
    is_in_mesh: bool = True
    """It is for calls from pod to pod."""
    gateways: tuple[ObjectRef, ...] = ()
    """The Gateways that it is bound to."""
    sources: Sources = Sources()
    """Of its HTTP routes, its delegates' as well."""
    connection_sources: Sources = Sources()
    """Of its TLS and TCP routes."""
    audience: Audience = None
    delegates: tuple[ObjectRef, ...] = ()


_NOBODY: Final = Sources()


@query
def subject(db: Reads, ref: ObjectRef) -> Subject:
    found = resource(db, ref, istio.VirtualService)
    if found is None:
        return Subject()
    spec = found.spec
    delegates = tuple(delegate_ref(ref, rule.delegate) for rule in spec.http if rule.delegate is not None)
    others = (other.spec for each in delegates if (other := resource(db, each, istio.VirtualService)) is not None)
    gateways = tuple(dict.fromkeys(gateway_name(name, ref.namespace) for name in spec.gateways))
    return Subject(
        created=found.metadata.creation_timestamp or "",
        hosts=tuple(dict.fromkeys(resolve(host, ref.namespace) for host in spec.hosts)),
        routes_requests=bool(spec.http),
        routes_connections=bool(spec.tls or spec.tcp),
        is_in_mesh=not gateways or MESH in gateways,
        gateways=tuple(GATEWAY.ref(*name.split("/", 1)) for name in gateways if name != MESH),
        sources=Sources.of(match for each in (spec, *others) for rule in each.http for match in rule.match),
        connection_sources=Sources.of(
            (
                *(match for rule in spec.tls for match in rule.match),
                *(match for rule in spec.tcp for match in rule.match),
            )
        ),
        audience=audience_of(spec.export_to, () if spec.export_to else _default_export(db), ref.namespace),
        delegates=delegates,
    )


@query(index=True)
def _default_export(db: Reads) -> tuple[str, ...]:
    """Who sees a VirtualService that does not say it."""
    return mesh_config(db).default_virtual_service_export_to


def delegate_ref(ref: ObjectRef, delegate: istio.Delegate) -> ObjectRef:
    return VIRTUAL_SERVICE.ref(delegate.namespace or ref.namespace, delegate.name)


@query(index=True)
def delegated(db: Reads) -> frozenset[ObjectRef]:
    """The VirtualServices that another leaves routes to."""
    return frozenset(each for ref in refs(db, VIRTUAL_SERVICE) for each in subject(db, ref).delegates)
