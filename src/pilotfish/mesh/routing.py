"""VirtualServices: which one routes a host.

Of several that name a host, the oldest routes it and the others have no effect on it (`problems` says so). A host that
none names is routed by the most specific wildcard that matches.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve, wildcards
from pilotfish.mesh.inputs import refs, resource
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import VIRTUAL_SERVICE


@query(index=True)
def router(db: Reads, host: str) -> ObjectRef | None:
    """The VirtualService that routes a host; None for a host that is routed plainly."""
    by_host = routers(db)
    return next((by_host[name][0] for name in (host, *wildcards(host)) if name in by_host), None)


@query(index=True)
def routed_hosts(db: Reads) -> tuple[str, ...]:
    """The hosts that VirtualServices name, as whole names, sorted."""
    return tuple(sorted(routers(db)))


@query(index=True)
def routers(db: Reads) -> Mapping[str, tuple[ObjectRef, ...]]:
    """Which VirtualServices name each host, the oldest first."""
    aged = sorted(((subject := _subject(db, ref)).created, subject.hosts, ref) for ref in refs(db, VIRTUAL_SERVICE))
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
    found = ((ref, _subject(db, ref).sources) for ref in refs(db, VIRTUAL_SERVICE))
    return {ref: each for ref, each in found if each != _NOBODY}


@dataclass(frozen=True, slots=True)
class _Subject:
    created: str = ""
    hosts: tuple[str, ...] = ()
    sources: Sources = Sources()


_NOBODY: Final = Sources()


@query
def _subject(db: Reads, ref: ObjectRef) -> _Subject:
    """When the VirtualService was made, which hosts it routes (those of one that has HTTP routes), and for whom."""
    found = resource(db, ref, istio.VirtualService)
    if found is None or not found.spec.http:
        return _Subject()
    hosts = dict.fromkeys(resolve(host, ref.namespace) for host in found.spec.hosts)
    matches = [match for rule in found.spec.http for match in rule.match if not match.gateways]
    told_apart = Sources(
        frozenset(label for match in matches for label in match.source_labels.items()),
        frozenset(match.source_namespace for match in matches if match.source_namespace),
    )
    return _Subject(found.metadata.creation_timestamp or "", tuple(hosts), told_apart)
