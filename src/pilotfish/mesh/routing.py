"""VirtualServices: which one routes a host.

Of several that name a host, the oldest routes it and the others have no effect on it (`problems` says so). A host that
none names is routed by the most specific wildcard that matches.
Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve, wildcards
from pilotfish.mesh.inputs import refs, resource
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
    aged = sorted((*_subject(db, ref), ref) for ref in refs(db, VIRTUAL_SERVICE))
    found: dict[str, list[ObjectRef]] = {}
    for _, named, ref in aged:
        for host in named:
            found.setdefault(host, []).append(ref)
    return {host: tuple(by) for host, by in found.items()}


@query
def _subject(db: Reads, ref: ObjectRef) -> tuple[str, tuple[str, ...]]:
    """When the VirtualService was made and which hosts it routes: those of one that has HTTP routes."""
    found = resource(db, ref, istio.VirtualService)
    if found is None or not found.spec.http:
        return ("", ())
    hosts = dict.fromkeys(resolve(host, ref.namespace) for host in found.spec.hosts)
    return (found.metadata.creation_timestamp or "", tuple(hosts))
