"""DestinationRules: which policy a client applies to a host.

A client looks in its own namespace first, then in the service's, then in the root namespace; the first that has a
DestinationRule for the host, or for a wildcard that matches it, decides. A rule that does not say otherwise
(`exportTo`) is seen everywhere; one with a `workloadSelector` is for these workloads of its namespace, and goes before
the others there. Several in one namespace for the same host are merged: the oldest gives the traffic policy, each adds
its subsets.
Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Graph, Reads, query
from pilotfish.mesh.exports import Audience, audience_of, is_seen
from pilotfish.mesh.hosts import namespace_of, resolve, wildcards
from pilotfish.mesh.inputs import Labels, mesh_config, refs, resource
from pilotfish.mesh.policy.destination_rule import Defaults, lower_destination_rules
from pilotfish.mesh.policy.locality import NEAREST
from pilotfish.mesh.registry.external_names import external_names
from pilotfish.mesh.registry.services import all_services, home_in, looked_up, service_at, some_nearest
from pilotfish.mesh.registry.visibility import has_own_homes, seen_service, visible
from pilotfish.mesh.registry.workloads import workload
from pilotfish.mesh.routing import is_shown_some, sources
from pilotfish.mesh.scope import NOWHERE, Place, Scope
from pilotfish.mesh.settings import settings
from pilotfish.mesh.sidecars import choices, choose, egress_of
from pilotfish.mesh.stat_names import stat_name
from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.egress import Egress, with_http_proxy
from pilotfish.model.kinds import DESTINATION_RULE, POD
from pilotfish.model.proxy import ProxyType
from pilotfish.model.route import Backend
from pilotfish.model.service import Resolution
from pilotfish.model.traffic_policy import DestinationPolicy, TrafficPolicy


class Reach(Flag):
    """What a policy changes beside its clusters."""

    REQUESTS = auto()
    """Routes say what of a request decides where it goes."""
    CONNECTIONS = auto()
    """So do listeners of a connection, or how it is passed on."""
    CREDENTIALS = auto()
    """It names some, which are the client's own: clients that may have them are told otherwise."""
    LOCALITY = auto()
    """Endpoints are near or far, as seen from the client."""


_NOTHING: Final = Reach(0)


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom a DestinationRule is for."""

    host: str
    created: str
    audience: Audience = None
    selector: Labels = ()
    """Of workloads of its own namespace; none: all."""
    reach: Reach = _NOTHING


def scope_of(graph: Graph, proxy: Proxy) -> Scope:
    """What the proxy may see. No query, as there would be one for each proxy."""
    selective = graph.get(_selective, proxy.namespace)
    labels = (proxy.labels or _known_labels(graph, proxy)) if selective else {}
    selected_by = tuple(ref for ref, selector in selective if set(selector) <= labels.items())
    reached = graph.get(reach)
    place = _place_of(proxy, graph.get(_near_labels)) if Reach.LOCALITY in reached else NOWHERE
    if proxy.discovers_itself:
        place = replace(place, compares=True)
    credentials = Reach.CREDENTIALS in reached
    return Scope.of(proxy, graph.get(sources).labels, selected_by, credentials, _egress(graph, proxy), place)


def _known_labels(graph: Graph, proxy: Proxy) -> Mapping[str, str]:
    """Of a proxy that has not said them: an agent asks for names before its Envoy runs."""
    pod = graph.get(workload, POD.ref(proxy.namespace, proxy.name))
    return dict(pod.labels) if pod is not None else {}


def sidecar_of(graph: Graph, proxy: Proxy) -> ObjectRef | None:
    """The Sidecar that applies to a proxy: none to a gateway's."""
    choice = graph.get(choices, proxy.namespace) if proxy.type is ProxyType.SIDECAR else ()
    return choose(choice, proxy.labels or _known_labels(graph, proxy)) if choice else None


def _egress(graph: Graph, proxy: Proxy) -> Egress | None:
    chosen = sidecar_of(graph, proxy)
    own = graph.get(egress_of, chosen, proxy.namespace) if chosen is not None else None
    port = graph.get(settings).http_proxy_port if proxy.type is ProxyType.SIDECAR else 0
    return with_http_proxy(own, port) if port else own


def _place_of(proxy: Proxy, keys: frozenset[str]) -> Place:
    return Place(proxy.locality, tuple(sorted((key, value) for key, value in proxy.labels.items() if key in keys)))


@query(index=True)
def _near_labels(db: Reads) -> frozenset[str]:
    """The labels by which some policy tells what is near."""
    own = (rule for ref, _ in _targets(db) for rule in policy(db, (ref,)).all())
    found = [each.locality for each in (*own, *policy(db, ()).all()) if each.locality is not None]
    found += NEAREST.values() if some_nearest(db) else ()
    return frozenset(key for balancing in found for key, _ in balancing.labels)


@query(index=True)
def policed(db: Reads, scope: Scope) -> Scope:
    """The widest scope to which the same DestinationRules apply: everybody's, unless the namespace has some for hosts
    that are not its own, or is shown some that others are not."""
    own = _rules_in(db, scope.namespace)
    of_rules = replace(scope, labels=()) if Reach.CREDENTIALS in reach(db) else _ruled(scope)
    if of_rules.router or scope.selected_by or scope.namespace in _shown_to_some(db):
        return of_rules
    if any(_is_foreign(db, scope.namespace, host) for host in own):
        return of_rules
    return replace(visible(db, scope), place=scope.place) if scope.place != NOWHERE else visible(db, scope)


@query(index=True)
def widest(db: Reads, scope: Scope) -> Scope:
    """The widest scope that is told the very same: a namespace with services of its own calls these by short names, and
    VirtualServices tell some clients apart."""
    is_named = scope.labels or scope.namespace in _namespaces(db) or scope.namespace in sources(db).namespaces
    return scope if is_named or is_shown_some(db, scope.namespace) else policed(db, scope)


def routed(db: Reads, scope: Scope) -> Scope:
    """The widest scope for which the destinations of routes mean the same. All that a client's routes lead to, it sees,
    so that its imports count only where they make it see another namespace's service than is seen without them; nor
    does it matter where it is."""
    scope = replace(scope, place=NOWHERE) if scope.place != NOWHERE else scope
    if scope.egress is None or has_own_homes(db, visible(db, scope)):
        return policed(db, scope)
    return policed(db, replace(scope, egress=None))


@query(index=True)
def _namespaces(db: Reads) -> frozenset[str]:
    """Those that have services, or other names of some."""
    found = (service_at(db, *each) for each in all_services(db))
    others = frozenset(map(namespace_of, external_names(db)))
    return others | frozenset(s.namespace for s in found if s is not None)


def _ruled(scope: Scope) -> Scope:
    return Scope(scope.namespace, selected_by=scope.selected_by, egress=scope.egress, place=scope.place)


def _is_foreign(db: Reads, namespace: str, host: str) -> bool:
    found = service_at(db, host, home_in(db, host, namespace))
    return found is None or found.namespace != namespace


@query(index=True)
def rules_for(db: Reads, scope: Scope, host: str) -> tuple[ObjectRef, ...]:
    """The DestinationRules that a client applies to a host, the oldest first."""
    found, namespace = seen_service(db, scope, host), scope.namespace
    root = mesh_config(db).root_namespace
    theirs = found.namespace if found is not None else namespace
    hidden = _hidden(db)
    # What the root namespace says is meant for all: there, too, a service's own namespace goes first.
    for place in dict.fromkeys((theirs, root) if namespace == root else (namespace, theirs, root)):
        by_host = _rules_in(db, place)
        selected = _selected(db, scope) if scope.selected_by and place == namespace else {}
        for name in (host, *wildcards(host)) if by_host or selected else ():
            if name in selected:
                return selected[name]
            seen = tuple(ref for ref in by_host.get(name, ()) if is_seen(hidden.get(ref), namespace))
            if seen:
                return seen
    return ()


def merged_with(db: Reads, ref: ObjectRef, host: str) -> tuple[ObjectRef, ...]:
    """The rules for a host that a DestinationRule of the same namespace is put together with, itself among them."""
    selective = dict(_selective(db, ref.namespace))
    alike = tuple(other for other, selector in selective.items() if selector == selective.get(ref))
    return rules_for(db, Scope(ref.namespace, selected_by=alike), host)


def _selected(db: Reads, scope: Scope) -> Mapping[str, tuple[ObjectRef, ...]]:
    """By host: of rules that select the workload, the oldest and those that select by the same labels."""
    found: dict[str, list[ObjectRef]] = {}
    selectors: dict[str, Labels] = {}
    for ref in scope.selected_by:
        target = _target(db, ref)
        if target is not None and selectors.setdefault(target.host, target.selector) == target.selector:
            found.setdefault(target.host, []).append(ref)
    return {host: tuple(rules) for host, rules in found.items()}


@query
def policy(db: Reads, rules: tuple[ObjectRef, ...]) -> DestinationPolicy:
    """What the given DestinationRules of one host come to."""
    return lower_destination_rules(_specs(db, rules), Defaults.of(mesh_config(db)))


@query
def stated_policy(db: Reads, rules: tuple[ObjectRef, ...]) -> DestinationPolicy:
    """What they say themselves: a mesh's own policy is its clients', and not that of a proxy towards its app."""
    return lower_destination_rules(_specs(db, rules), Defaults())


def _specs(db: Reads, rules: tuple[ObjectRef, ...]) -> list[tuple[ObjectRef, istio.DestinationRuleSpec]]:
    found = ((ref, resource(db, ref, istio.DestinationRule)) for ref in rules)
    return [(ref, rule.spec) for ref, rule in found if rule is not None]


def treated(db: Reads, client: Scope, destination: Backend) -> Backend:
    """The backend with what the client's policy for it says of its requests and connections."""
    if destination.host in looked_up(db):
        found = seen_service(db, client, destination.host)
        is_dynamic = found is not None and found.resolution is Resolution.DYNAMIC_DNS
        destination = replace(destination, looked_up=is_dynamic)
    if pattern := settings(db).outbound_stat_name:
        destination = replace(destination, stat_name=_counted(db, client, destination, pattern))
    if not reach(db) & (Reach.REQUESTS | Reach.CONNECTIONS):
        return destination
    applied = policy(db, rules_for(db, client, destination.host)).of(destination.subset, destination.port)
    key = applied.consistent_hash.key if applied.consistent_hash is not None else None
    return replace(destination, hash_key=key, passing=applied.passing) if key or applied.passing else destination


def _counted(db: Reads, client: Scope, destination: Backend, pattern: str) -> str:
    found = seen_service(db, client, destination.host)
    port = found.port(destination.port) if found is not None else None
    return stat_name(pattern, found, port, destination.subset) if found is not None and port is not None else ""


@query(index=True)
def _rules_in(db: Reads, namespace: str) -> Mapping[str, tuple[ObjectRef, ...]]:
    return _rules(db).get(namespace, {})


@query(index=True)
def _rules(db: Reads) -> Mapping[str, Mapping[str, tuple[ObjectRef, ...]]]:
    """By namespace and host, those for all workloads."""
    found: dict[str, dict[str, tuple[ObjectRef, ...]]] = {}
    for ref, target in _targets(db):
        if not target.selector:
            place = found.setdefault(ref.namespace, {})
            place[target.host] = (*place.get(target.host, ()), ref)
    return found


@query(index=True)
def _targets(db: Reads) -> tuple[tuple[ObjectRef, _Target], ...]:
    """Of all rules that are in force, the oldest first."""
    found = [(ref, target) for ref in refs(db, DESTINATION_RULE) if (target := _target(db, ref)) is not None]
    return tuple(sorted(found, key=lambda each: (each[1].created, each[0])))


@query(index=True)
def _hidden(db: Reads) -> Mapping[ObjectRef, frozenset[str]]:
    """The rules that some namespaces do not see, and which do."""
    return {ref: target.audience for ref, target in _targets(db) if target.audience is not None}


@query(index=True)
def _shown_to_some(db: Reads) -> frozenset[str]:
    """The namespaces that see a rule which others do not."""
    return frozenset(namespace for audience in _hidden(db).values() for namespace in audience)


@query(index=True)
def _selective(db: Reads, namespace: str) -> tuple[tuple[ObjectRef, Labels], ...]:
    """The rules that are for some workloads of a namespace, and for which."""
    return tuple((r, target.selector) for r, target in _targets(db) if target.selector and r.namespace == namespace)


@query(index=True)
def reach(db: Reads) -> Reach:
    """Of all rules together, and of what services say beside them."""
    together = _reach(policy(db, ())) if Defaults.of(mesh_config(db)) != Defaults() else _NOTHING
    for _, target in _targets(db):
        together |= target.reach
    return together | Reach.LOCALITY if some_nearest(db) else together


@query(index=True)
def _default_export(db: Reads) -> tuple[str, ...]:
    """Whom a rule is shown to that does not say it."""
    return mesh_config(db).default_destination_rule_export_to


@query
def _target(db: Reads, ref: ObjectRef) -> _Target | None:
    """None if the rule is not in force."""
    rule = resource(db, ref, istio.DestinationRule)
    if rule is None:
        return None
    spec, selector = rule.spec, rule.spec.workload_selector
    chosen = tuple(sorted(selector.match_labels.items())) if selector is not None else ()
    return _Target(
        host=resolve(spec.host, ref.namespace),
        created=rule.metadata.creation_timestamp or "",
        audience=None
        if chosen
        else audience_of(spec.export_to, () if spec.export_to else _default_export(db), ref.namespace),
        selector=chosen,
        reach=_reach(lower_destination_rules([(ref, spec)], Defaults.of(mesh_config(db)))),
    )


def _reach(policy: DestinationPolicy) -> Reach:
    together = _NOTHING
    for each in policy.all():
        together |= _reach_of(each)
    return together


def _reach_of(policy: TrafficPolicy) -> Reach:
    hashed = policy.consistent_hash.key if policy.consistent_hash is not None else None
    by_address = hashed is not None and hashed.source_ip
    credential = policy.tls.credential if policy.tls is not None else None
    return (
        (Reach.REQUESTS if hashed is not None else _NOTHING)
        | (Reach.CONNECTIONS if by_address or policy.passing is not None else _NOTHING)
        | (Reach.LOCALITY if policy.locality is not None else _NOTHING)
        | (Reach.CREDENTIALS if credential is not None and not credential.is_public else _NOTHING)
    )
