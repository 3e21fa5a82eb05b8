"""Where goes what is for no host that a client sees."""

from __future__ import annotations

from pilotfish.derive import Reads, query
from pilotfish.envoy.naming import BLACK_HOLE, DYNAMIC_DNS, PASSTHROUGH, outbound_cluster
from pilotfish.mesh.policy.policies import policed
from pilotfish.mesh.registry.services import looked_up
from pilotfish.mesh.registry.visibility import ports_seen
from pilotfish.mesh.routes.destinations import backend
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.settings import settings
from pilotfish.model.egress import Unclaimed


def unclaimed(db: Reads, scope: Scope) -> Unclaimed:
    """As a Sidecar says, else as the mesh."""
    stated = scope.egress.unclaimed if scope.egress is not None else None
    if stated is None:
        return Unclaimed(allow_any=settings(db).allow_any, looked_up=settings(db).looks_up)
    return stated if not stated.host or _is_there(db, policed(db, scope), stated) else Unclaimed(allow_any=False)


@query
def _is_there(db: Reads, scope: Scope, proxy: Unclaimed) -> bool:
    """A proxy that is not seen gets nothing, and nobody else gets it in its stead (`problems` says so)."""
    found = backend(db, scope, proxy.host, proxy.port, proxy.subset, proxy.port)
    return found.invalid is None and proxy.port in (ports_seen(db, scope, proxy.host) or (proxy.port,))


def unknown_host(unknown: Unclaimed) -> str:
    """The cluster for requests."""
    return DYNAMIC_DNS if unknown.looked_up else unknown_destination(unknown)


def looks_up(db: Reads, unknown: Unclaimed) -> bool:
    """Whether some route may lead to what requests call their host."""
    return unknown.looked_up or bool(looked_up(db))


def unknown_destination(unknown: Unclaimed) -> str:
    """The cluster for connections."""
    if not unknown.allow_any:
        return BLACK_HOLE
    return outbound_cluster(unknown.port, unknown.subset, unknown.host) if unknown.host else PASSTHROUGH
