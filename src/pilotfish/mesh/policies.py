"""DestinationRules: which policy a client applies to a host.

A client looks in its own namespace first, then in the service's, then in the root namespace; the first that has a
DestinationRule for the host, or for a wildcard that matches it, decides. Several in one namespace for the same host are
merged: the oldest gives the traffic policy, each adds its subsets.
Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.destination_rule import lower_destination_rules
from pilotfish.mesh.external_names import external_names
from pilotfish.mesh.hosts import namespace_of, resolve, wildcards
from pilotfish.mesh.inputs import mesh_config, refs, resource
from pilotfish.mesh.routing import reader, sources
from pilotfish.mesh.scope import Scope, visible
from pilotfish.mesh.services import all_hosts, service
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import DESTINATION_RULE
from pilotfish.model.traffic_policy import DestinationPolicy


@query(index=True)
def policed(db: Reads, scope: Scope) -> Scope:
    """The widest scope to which the same DestinationRules apply: everybody's, unless the namespace has some for hosts
    that are not its own."""
    own = _rules_in(db, scope.namespace)
    return Scope(scope.namespace) if any(_is_foreign(db, scope.namespace, host) for host in own) else visible(scope)


@query(index=True)
def widest(db: Reads, scope: Scope) -> Scope:
    """The widest scope that is told the very same: a namespace with services of its own calls these by short names, and
    VirtualServices tell some clients apart."""
    is_named = scope.labels or scope.namespace in _namespaces(db) or scope.namespace in sources(db).namespaces
    return scope if is_named or reader(db, scope.namespace) else policed(db, scope)


@query(index=True)
def _namespaces(db: Reads) -> frozenset[str]:
    """Those that have services, or other names of some."""
    found = (service(db, host) for host in all_hosts(db))
    others = frozenset(map(namespace_of, external_names(db)))
    return others | frozenset(s.namespace for s in found if s is not None)


def _is_foreign(db: Reads, namespace: str, host: str) -> bool:
    found = service(db, host)
    return found is None or found.namespace != namespace


@query(index=True)
def rules_for(db: Reads, scope: Scope, host: str) -> tuple[ObjectRef, ...]:
    """The DestinationRules that a client applies to a host, the oldest first."""
    found = service(db, host)
    namespace = scope.namespace
    root = mesh_config(db).root_namespace
    for place in dict.fromkeys((namespace, found.namespace if found is not None else namespace, root)):
        by_host = _rules_in(db, place)
        for name in (host, *wildcards(host)) if by_host else ():
            if name in by_host:
                return by_host[name]
    return ()


@query
def policy(db: Reads, rules: tuple[ObjectRef, ...]) -> DestinationPolicy:
    """What the given DestinationRules of one host come to."""
    found = ((ref, resource(db, ref, istio.DestinationRule)) for ref in rules)
    return lower_destination_rules([(ref, rule.spec) for ref, rule in found if rule is not None])


@query(index=True)
def _rules_in(db: Reads, namespace: str) -> Mapping[str, tuple[ObjectRef, ...]]:
    return _rules(db).get(namespace, {})


@query(index=True)
def _rules(db: Reads) -> Mapping[str, Mapping[str, tuple[ObjectRef, ...]]]:
    aged = sorted((created, ref, host) for ref in refs(db, DESTINATION_RULE) for created, host in _target(db, ref))
    found: dict[str, dict[str, tuple[ObjectRef, ...]]] = {}
    for _, ref, host in aged:
        place = found.setdefault(ref.namespace, {})
        place[host] = (*place.get(host, ()), ref)
    return found


@query
def _target(db: Reads, ref: ObjectRef) -> tuple[tuple[str, str], ...]:
    """When the rule was made and the host that it is for; nothing if it is not in force."""
    rule = resource(db, ref, istio.DestinationRule)
    if rule is None:
        return ()
    return ((rule.metadata.creation_timestamp or "", resolve(rule.spec.host, ref.namespace)),)
