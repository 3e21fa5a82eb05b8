"""VirtualServices: which one routes a host.

Of several that name a host, and are exported to the client's namespace, the oldest routes it and the others have no
effect on it (`problems` says so). A host that none names is routed by the most specific wildcard that matches.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.exports import Audience, audience_of, is_seen, rank
from pilotfish.mesh.gateway_names import MESH, gateway_name
from pilotfish.mesh.hosts import resolve, wildcards
from pilotfish.mesh.inputs import mesh_config, refs, resource
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import GATEWAY, VIRTUAL_SERVICE


@query(index=True)
def router(db: Reads, reader: str, host: str) -> ObjectRef | None:
    """The VirtualService that routes a host for a namespace (`reader`); None for a host that is routed plainly."""
    by_host = routers(db)
    for name in (host, *wildcards(host)):
        found = first_seen(db, reader, by_host.get(name, ()))
        if found is not None:
            return found
    return None


def first_seen(db: Reads, reader: str, found: tuple[ObjectRef, ...]) -> ObjectRef | None:
    """Of several for one host, by `exports.rank`, and of equals the oldest, which is the first."""
    audiences = _audiences(db)
    if not audiences:
        return found[0] if found else None
    seen = [ref for ref in found if is_seen(audiences.get(ref), reader)]
    return min(seen, key=lambda ref: rank(audiences.get(ref), ref.namespace, reader), default=None)


def all_ranked(db: Reads, reader: str, found: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """Those that are exported to a namespace, first those that `first_seen` prefers."""
    audiences, seen = _audiences(db), all_seen(db, reader, found)
    return tuple(sorted(seen, key=lambda ref: rank(audiences.get(ref), ref.namespace, reader)))


def has_same_rank(db: Reads, reader: str, one: ObjectRef, other: ObjectRef) -> bool:
    """Their age decides between the two."""
    audiences = _audiences(db)
    return len({rank(audiences.get(ref), ref.namespace, reader) for ref in (one, other)}) == 1


@query(index=True)
def reader(db: Reads, namespace: str) -> str:
    """The namespace, if some VirtualService is exported to it by name; "" for all others, which see the same."""
    return namespace if any(namespace in each for each in _audiences(db).values()) else ""


@query(index=True)
def _audiences(db: Reads) -> Mapping[ObjectRef, frozenset[str]]:
    """Of the VirtualServices that are not for all namespaces."""
    found = ((ref, subject(db, ref).audience) for ref in refs(db, VIRTUAL_SERVICE))
    return {ref: audience for ref, audience in found if audience is not None}


def all_seen(db: Reads, reader: str, found: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """Those VirtualServices that are exported to a namespace, in their order."""
    audiences = _audiences(db)
    return tuple(ref for ref in found if is_seen(audiences.get(ref), reader))


@query(index=True)
def routed_hosts(db: Reads, reader: str) -> tuple[str, ...]:
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


@query(index=True)
def sources(db: Reads) -> Sources:
    """Of all VirtualServices."""
    found = _sources(db).values()
    return Sources(
        frozenset(label for each in found for label in each.labels),
        frozenset(name for each in found for name in each.namespaces),
    )


def source(db: Reads, scope: Scope, ref: ObjectRef) -> Scope:
    """The client, as far as this VirtualService tells it from others."""
    found = _sources(db).get(ref)
    return found.narrow(scope) if found is not None else EVERYONE


@query(index=True)
def _sources(db: Reads) -> Mapping[ObjectRef, Sources]:
    """Of those that tell clients apart."""
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
    """Its delegates' as well."""
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
    matches = [match for each in (spec, *others) for rule in each.http for match in rule.match]
    return Subject(
        created=found.metadata.creation_timestamp or "",
        hosts=tuple(dict.fromkeys(resolve(host, ref.namespace) for host in spec.hosts)),
        routes_requests=bool(spec.http),
        routes_connections=bool(spec.tls or spec.tcp),
        is_in_mesh=not gateways or MESH in gateways,
        gateways=tuple(GATEWAY.ref(*name.split("/", 1)) for name in gateways if name != MESH),
        sources=Sources(
            frozenset(label for match in matches for label in match.source_labels.items()),
            frozenset(match.source_namespace for match in matches if match.source_namespace),
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
