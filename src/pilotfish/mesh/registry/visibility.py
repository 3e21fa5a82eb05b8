"""Which hosts a client sees, and whose of several services of one host.

By `exportTo`, whether of a Service (an annotation) or of a ServiceEntry. Where a namespace sees several objects that
claim one host, a Kubernetes Service comes first; of others one of its own, unless it is for all, then one that is
exported to it by name, then the oldest. Source: Istio's PushContext.servicesExportedToNamespace and SidecarScope
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.derive import Reads, query
from pilotfish.mesh.exports import Audience, is_seen, rank
from pilotfish.mesh.registry.services import all_hosts, audiences, claimants, service_at
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import SERVICE
from pilotfish.model.service import Service


@query(index=True)
def visible(db: Reads, scope: Scope) -> Scope:
    """The widest scope that sees the same hosts: everybody's, unless the namespace is shown some that others are
    not."""
    return Scope(scope.namespace) if scope.namespace in _shown_to_some(db) else EVERYONE


@query(index=True)
def hosts(db: Reads, scope: Scope) -> tuple[str, ...]:
    """The hosts that a scope sees, those of the oldest objects first: who is older has what two of them want."""
    hidden = _homes(db, scope.namespace)
    return tuple(host for host in all_hosts(db) if hidden.get(host, "") is not None) if hidden else all_hosts(db)


def home(db: Reads, scope: Scope, host: str) -> str | None:
    """Whose service of a host a scope sees; None if it sees none, though somebody may."""
    return _home(db, scope.namespace if scope.namespace in _shown_to_some(db) else "", host) if audiences(db) else ""


def seen_service(db: Reads, scope: Scope, host: str) -> Service | None:
    """What a scope sees of a host."""
    found = home(db, scope, host)
    return None if found is None else service_at(db, host, found)


@query(index=True)
def _home(db: Reads, namespace: str, host: str) -> str | None:
    return _homes(db, namespace).get(host, "")


@query(index=True)
def _homes(db: Reads, namespace: str) -> Mapping[str, str | None]:
    """Of the hosts of which a namespace does not see what comes first of all: whose it sees, None for nobody's."""
    hidden = audiences(db)
    if not hidden:
        return {}
    found: dict[str, str | None] = {}
    for host, claims in claimants(db).items():
        if hidden.keys().isdisjoint(claims):
            continue
        first = _first_seen(hidden, namespace, claims)
        if first is not claims[0]:
            found[host] = first.namespace if first is not None else None
    return found


@query(index=True)
def is_somebodys(db: Reads, host: str, ref: ObjectRef) -> bool:
    """Whether some namespace sees what an object says of a host, though it is not the first of all to claim it."""
    hidden, claims = audiences(db), claimants(db).get(host, ())
    if hidden.keys().isdisjoint(claims):
        return False
    everybody = {"", *(name for each in claims for name in hidden.get(each, ()))}
    return any(_first_seen(hidden, namespace, claims) == ref for namespace in everybody)


def _first_seen(
    hidden: Mapping[ObjectRef, frozenset[str]], namespace: str, claims: tuple[ObjectRef, ...]
) -> ObjectRef | None:
    def place(ref: ObjectRef, audience: Audience) -> tuple[bool, int]:
        return ref.kind is not SERVICE, rank(audience, ref.namespace, namespace)

    seen = [ref for ref in claims if is_seen(hidden.get(ref), namespace)]
    return min(seen, key=lambda ref: place(ref, hidden.get(ref)), default=None)


@query(index=True)
def _shown_to_some(db: Reads) -> frozenset[str]:
    """The namespaces that see a host which others do not."""
    return frozenset(namespace for audience in audiences(db).values() for namespace in audience)
