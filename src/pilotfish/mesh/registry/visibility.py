"""Which hosts a client sees, and whose of several services of one host.

By `exportTo`, whether of a Service (an annotation) or of a ServiceEntry. Where a namespace sees several objects that
claim one host, a Kubernetes Service comes first; of others one of its own, unless it is for all, then one that is
exported to it by name, then the oldest. Source: Istio's PushContext.servicesExportedToNamespace and SidecarScope

Of these a Sidecar imports some, host by host for each of its listeners; among objects that claim one host one of the
client's own namespace goes before all others. What the VirtualServices send to that it imports with these hosts, a
client sees as well: it has clusters, and neither listener nor name. Source: Istio's ConvertToSidecarScope
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pilotfish.derive import Reads, query
from pilotfish.mesh.exports import is_seen, rank
from pilotfish.mesh.registry.external_names import stands_for
from pilotfish.mesh.registry.services import all_hosts, audiences, claim, claimants, home_in, service_at
from pilotfish.mesh.routing import called_beside, reader_by
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef
from pilotfish.model.egress import EgressListener, Import, Imports, listeners_of
from pilotfish.model.kinds import SERVICE
from pilotfish.model.service import Service


@query(index=True)
def visible(db: Reads, scope: Scope) -> Scope:
    """The widest scope that sees the same hosts: everybody's, unless the namespace is shown some that others are not,
    or a Sidecar says which; then the namespace counts too where it claims hosts that others claim."""
    is_own = scope.namespace in _shown_to_some(db) or (scope.egress is not None and scope.namespace in _rivals(db))
    return Scope(scope.namespace if is_own else "", egress=scope.egress)


@query(index=True)
def _rivals(db: Reads) -> frozenset[str]:
    """The namespaces that claim hosts which others claim."""
    return frozenset(ref.namespace for claims in claimants(db).values() if len(claims) > 1 for ref in claims)


def hosts(db: Reads, scope: Scope) -> tuple[str, ...]:
    """The hosts that a scope sees, those of the oldest objects first: who is older has what two of them want."""
    return tuple(_scoped(db, scope)) if _is_scoped(scope) else _exported(db, scope.namespace)


def home(db: Reads, scope: Scope, host: str) -> str | None:
    """Whose service of a host a scope sees; None if it sees none, though somebody may."""
    if _is_scoped(scope):
        found = _seen(db, visible(db, scope), host)
        return found.home if found is not None else None
    return _home(db, scope.namespace if scope.namespace in _shown_to_some(db) else "", host) if audiences(db) else ""


def ports_seen(db: Reads, scope: Scope, host: str) -> tuple[int, ...]:
    """Those of a host's ports that a scope sees, sorted; none for all of them."""
    found = _seen(db, visible(db, scope), host) if _is_scoped(scope) else None
    return tuple(sorted(found.ports)) if found is not None and found.ports is not None else ()


def seen_service(db: Reads, scope: Scope, host: str) -> Service | None:
    """What a scope sees of a host."""
    found = home(db, scope, host)
    return None if found is None else service_at(db, host, found)


def heard(db: Reads, scope: Scope, listener: EgressListener) -> Mapping[str, str]:
    """The hosts whose calls go through a listener, the oldest first, and the home of each."""
    if listener.imports is None:
        namespace = scope.namespace
        found = ((host, _home(db, namespace, host) or "" if audiences(db) else "") for host in _exported(db, namespace))
        return dict(found)
    return _imported(db, visible(db, Scope(scope.namespace, egress=scope.egress)).namespace, listener.imports)


def _is_scoped(scope: Scope) -> bool:
    return scope.egress is not None and bool(scope.egress.listeners)


@query(index=True)
def has_own_homes(db: Reads, scope: Scope) -> bool:
    """Whether a Sidecar's scope sees other services of some host than its namespace does without it."""
    return any(seen.home != _home(db, scope.namespace, host) for host, seen in _scoped(db, scope).items())


@dataclass(frozen=True, slots=True)
class _Seen:
    home: str
    ports: frozenset[int] | None = None
    """None: all."""

    def with_ports(self, ports: frozenset[int] | None) -> _Seen:
        return _Seen(self.home, None if self.ports is None or ports is None else self.ports | ports)


@query(index=True)
def _seen(db: Reads, scope: Scope, host: str) -> _Seen | None:
    return _scoped(db, scope).get(host)


@query(index=True)
def _scoped(db: Reads, scope: Scope) -> Mapping[str, _Seen]:
    """What a Sidecar's scope sees: what goes through its listeners, and where VirtualServices send that."""
    found: dict[str, _Seen] = {}
    for listener in listeners_of(scope.egress):
        ports = frozenset({listener.port}) if listener.port and not listener.has_every_port else None
        for host, at in heard(db, scope, listener).items():
            found[host] = found[host].with_ports(ports) if host in found else _Seen(at, ports)
    for listener in listeners_of(scope.egress):
        for written, port in called_beside(db, reader_by(db, scope, listener)):
            host, ports = stands_for(db, written) or written, frozenset({port}) if port else None
            if host in found:
                found[host] = found[host].with_ports(ports)
            elif (own := _home(db, scope.namespace, host)) is not None:
                found[host] = _Seen(own, ports)
    return {host: seen for host, seen in found.items() if _has_any(db, host, seen)}


def _has_any(db: Reads, host: str, seen: _Seen) -> bool:
    found = service_at(db, host, seen.home)
    return found is not None and (seen.ports is None or any(port.number in seen.ports for port in found.ports))


@query(index=True)
def _imported(db: Reads, namespace: str, imports: Imports) -> Mapping[str, str]:
    """The home of each host that is imported into a namespace, the oldest first."""
    chosen: dict[str, ObjectRef] = {}
    for host in dict.fromkeys(host for each in imports.included for host in _candidates(db, each)):
        claims, hidden = _claims(db, host)
        seen = [(ref, audience) for ref, audience in zip(claims, hidden, strict=True) if is_seen(audience, namespace)]
        found = [each for each in seen if imports.cover(each[0].namespace, host)]
        if found:
            chosen[host] = min(found, key=lambda each: _place(namespace, *each))[0]
    aged = sorted(chosen, key=lambda host: _age(db, chosen[host]))
    return {host: home_in(db, host, chosen[host].namespace) for host in aged}


def _place(namespace: str, ref: ObjectRef, audience: frozenset[str] | None) -> tuple[bool, bool, int]:
    return ref.namespace != namespace, ref.kind is not SERVICE, rank(audience, ref.namespace, namespace)


def _age(db: Reads, ref: ObjectRef) -> tuple[bool, str, tuple[str, ...], ObjectRef]:
    """As `claimants` orders them."""
    found = claim(db, ref)
    return ref.kind is not SERVICE, found.created, found.hosts, ref


def _candidates(db: Reads, wanted: Import) -> Iterable[str]:
    """Narrow where it can be: what an import does not speak of is no news to its scope."""
    if not wanted.host.startswith("*"):
        return (wanted.host,)
    return all_hosts(db) if wanted.namespace == "*" else _hosts_in(db, wanted.namespace)


@query(index=True)
def _hosts_in(db: Reads, namespace: str) -> tuple[str, ...]:
    return _by_namespace(db).get(namespace, ())


@query(index=True)
def _by_namespace(db: Reads) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for host, claims in claimants(db).items():
        for ref in claims:
            found.setdefault(ref.namespace, {})[host] = None
    return {namespace: tuple(named) for namespace, named in found.items()}


@query(index=True)
def _claims(db: Reads, host: str) -> tuple[tuple[ObjectRef, ...], tuple[frozenset[str] | None, ...]]:
    """Who claims a host, and who sees each of them."""
    claims, hidden = claimants(db).get(host, ()), audiences(db)
    return claims, tuple(hidden.get(ref) for ref in claims)


@query(index=True)
def _exported(db: Reads, namespace: str) -> tuple[str, ...]:
    """The hosts that are exported to a namespace, the oldest first."""
    homes = _homes(db, namespace)
    return tuple(host for host in all_hosts(db) if homes.get(host, "") is not None) if homes else all_hosts(db)


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
    def place(ref: ObjectRef) -> tuple[bool, int]:
        return ref.kind is not SERVICE, rank(hidden.get(ref), ref.namespace, namespace)

    return min((ref for ref in claims if is_seen(hidden.get(ref), namespace)), key=place, default=None)


@query(index=True)
def _shown_to_some(db: Reads) -> frozenset[str]:
    """The namespaces that see a host which others do not."""
    return frozenset(namespace for audience in audiences(db).values() for namespace in audience)
