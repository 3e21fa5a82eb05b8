"""Problems of VirtualServices and DestinationRules: what they name and is not there, and who came first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import resolve
from pilotfish.mesh.inputs import effective, resource
from pilotfish.mesh.policy.policies import merged_with
from pilotfish.mesh.registry.aliases import aliased, covers_some, is_pods_name
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.registry.external_names import stands_for
from pilotfish.mesh.registry.services import all_hosts, home_in, service
from pilotfish.mesh.registry.visibility import seen_service
from pilotfish.mesh.routes.destinations import resolve_destination
from pilotfish.mesh.routing import Reader, first_seen, has_same_rank, routers, subject
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.likeness import closest
from pilotfish.model.route import Backend, Invalid, InvalidReason
from pilotfish.model.service import Resolution, Service
from pilotfish.model.wellknown import SERVICE_DOMAIN

_FIELDS: Final = {
    InvalidReason.UNKNOWN_HOST: "host",
    InvalidReason.UNKNOWN_PORT: "port",
    InvalidReason.UNKNOWN_SUBSET: "subset",
}


@query
def virtual_service_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.VirtualService)
    if found is None:
        return ()
    in_mesh = (*_lost_hosts(db, ref, found), *_unknown_hosts(db, ref, found)) if subject(db, ref).is_in_mesh else ()
    return (*in_mesh, *_dead_destinations(db, ref, found))


@query
def destination_rule_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    rule = resource(db, ref, istio.DestinationRule)
    if rule is None:
        return ()
    host = resolve(rule.spec.host, ref.namespace)
    if host.startswith("*"):
        return _idle_wildcard(db, ref, "spec.host", host)
    found = seen_service(db, Scope(ref.namespace), host) or service(db, host)
    if found is None:
        text = f"no Service or ServiceEntry has the host {host}, so the rule has no effect; {_suggest(db, host)}"
        return (warning(db, ref, "spec.host", "UnknownHost", text),)
    return (*_lost_policies(db, ref, rule, host), *_empty_subsets(db, ref, rule, found))


def warning(
    db: Reads, ref: ObjectRef, field: str, reason: str, message: str, severity: Severity = Severity.WARNING
) -> Problem:
    manifest = effective(db, ref)
    return Problem(ref, field, reason, message, severity, manifest.source if manifest is not None else None)


def _idle_wildcard(db: Reads, ref: ObjectRef, field: str, host: str) -> tuple[Problem, ...]:
    if covers_some(db, host):
        return ()
    text = f"no Service or ServiceEntry has a host that {host} matches, so it has no effect; correct it, or remove it"
    return (warning(db, ref, field, "UnknownHost", text),)


def _lost_hosts(db: Reads, ref: ObjectRef, found: istio.VirtualService) -> Iterator[Problem]:
    """Those that another has for everyone who sees the object."""
    audience = subject(db, ref).audience
    readers = [""] if audience is None else sorted(audience)
    for i, written in enumerate(found.spec.hosts if found.spec.http else ()):
        host = resolve(written, ref.namespace)
        by = [router for reader in readers if (router := _router_of(db, reader, host)) is not None]
        if by and ref not in by:
            first = min(by)
            is_older = has_same_rank(db, readers[by.index(first)], first, ref)
            why = "is older" if is_older else "is exported to fewer namespaces"
            text = f"{first} {why} and routes {written} alone, so these routes are not used; merge the two"
            yield warning(db, ref, f"spec.hosts[{i}]", "ConflictingVirtualService", text)


@query(index=True)
def _router_of(db: Reads, namespace: str, host: str) -> ObjectRef | None:
    return first_seen(db, Reader(namespace), routers(db).get(host, ()))


def _unknown_hosts(db: Reads, ref: ObjectRef, found: istio.VirtualService) -> Iterator[Problem]:
    """A host outside the cluster's domain may be one that only this VirtualService knows: that is allowed."""
    named = {resolve(written, ref.namespace) for written in found.spec.hosts}
    for i, written in enumerate(found.spec.hosts):
        host, field = resolve(written, ref.namespace), f"spec.hosts[{i}]"
        if (whole := aliased(db, host)) and whole not in named:
            text = f"{_as_it_stands(host)}, and calls of it are routed as those of {whole}, by other rules than these"
            yield warning(db, ref, field, "IncompleteHost", f"{text}; write {whole}")
        elif not host.endswith(f".{SERVICE_DOMAIN}"):
            continue
        elif host.startswith("*"):
            yield from _idle_wildcard(db, ref, field, host)
        elif service(db, host) is None and stands_for(db, host) == host and not is_pods_name(db, host):
            text = f"no Service has the host {host}, so no client will ask for it; {_suggest(db, host)}"
            yield warning(db, ref, field, "UnknownHost", text)


def _as_it_stands(host: str) -> str:
    return f"a host with a dot is taken as it stands, and {host} is no Service's whole name"


def _dead_destinations(db: Reads, ref: ObjectRef, found: istio.VirtualService) -> Iterator[Problem]:
    for i, rule in enumerate(found.spec.http):
        field = f"spec.http[{i}]"
        for j, routed in enumerate(rule.route):
            where = f"{field}.route[{j}].destination"
            yield from dead_destination(db, ref, where, routed.destination, "requests", "answered 503")
        mirrors = [(f"{field}.mirror", rule.mirror)] if rule.mirror is not None else []
        mirrors += [(f"{field}.mirrors[{j}].destination", m.destination) for j, m in enumerate(rule.mirrors)]
        for where, mirror in mirrors:
            yield from dead_destination(db, ref, where, mirror, "copies of requests", "sent to nobody")


def dead_destination(
    db: Reads, ref: ObjectRef, where: str, destination: istio.Destination, what: str, becomes: str
) -> Iterator[Problem]:
    """If there is no such destination: `what` takes the route is `becomes`."""
    client = Scope(ref.namespace)
    known = seen_service(db, client, resolve(destination.host, ref.namespace))
    listener = known.ports[0].number if known is not None and known.ports else 80
    backend = resolve_destination(db, client, ref.namespace, destination, listener)
    if backend.invalid is not None:
        remedy = _remedy(db, backend, backend.invalid)
        text = f"{backend.invalid.message}: {what} that take this route are {becomes}; {remedy}"
        yield warning(db, ref, f"{where}.{_FIELDS[backend.invalid.reason]}", backend.invalid.reason, text)


def _remedy(db: Reads, backend: Backend, invalid: Invalid) -> str:
    match invalid.reason:
        case InvalidReason.UNKNOWN_HOST:
            return "correct its exportTo" if service(db, backend.host) is not None else _suggest(db, backend.host)
        case InvalidReason.UNKNOWN_PORT:
            known = service(db, backend.host)
            ports = ", ".join(str(p.number) for p in known.ports) if known is not None else ""
            return f"use one of its ports ({ports})"
        case InvalidReason.UNKNOWN_SUBSET:
            return "add the subset to a DestinationRule for that host"


def _suggest(db: Reads, host: str) -> str:
    if whole := aliased(db, host):
        return f"{_as_it_stands(host)}; write {whole}"
    short = host.partition(".")[0]
    if host.endswith(f".{SERVICE_DOMAIN}") and service(db, short) is not None:
        return (
            f"that of a ServiceEntry, {short}, can't be meant, as short names are completed: let it have one with a dot"
        )
    close = _closest(db, host)
    return f"did you mean {close}?" if close else "correct the name, or add the service"


@query(index=True)
def _closest(db: Reads, host: str) -> str:
    """Asked only for names that are wrong, so that the search through all hosts is seldom made."""
    known = all_hosts(db)
    short = host.partition(".")[0]
    elsewhere = [each for each in known if each.partition(".")[0] == short and each.endswith(f".{SERVICE_DOMAIN}")]
    return min(elsewhere, default="") or closest(host, known)


def _lost_policies(db: Reads, ref: ObjectRef, rule: istio.DestinationRule, host: str) -> Iterator[Problem]:
    """Of several DestinationRules for a host in one namespace, what an older one has said already."""
    rules = merged_with(db, ref, host)
    older = rules[: rules.index(ref)] if ref in rules else ()
    for first in older:
        earlier = resource(db, first, istio.DestinationRule)
        if earlier is None:
            continue
        if rule.spec.traffic_policy is not None and earlier.spec.traffic_policy is not None:
            text = f"{first} is older and gives the traffic policy for {host}, so this one is not used; merge the two"
            yield warning(db, ref, "spec.trafficPolicy", "ConflictingDestinationRule", text)
        taken = {s.name for s in earlier.spec.subsets}
        for i, subset in enumerate(rule.spec.subsets):
            if subset.name in taken:
                text = f"{first} is older and defines the subset {subset.name} already; rename or remove this one"
                yield warning(db, ref, f"spec.subsets[{i}]", "ConflictingDestinationRule", text)


def _empty_subsets(db: Reads, ref: ObjectRef, rule: istio.DestinationRule, found: Service) -> Iterator[Problem]:
    """Subsets that no endpoint belongs to, of a service that has some."""
    if found.resolution is Resolution.PASSTHROUGH or not found.ports:
        return
    serving = endpoints(db, found.host, home_in(db, found.host, found.namespace), found.ports[0].number)
    for i, subset in enumerate(rule.spec.subsets):
        wanted = tuple(sorted(subset.labels.items()))
        if serving and not any(e.has_labels(wanted) for e in serving):
            labels = ",".join(f"{k}={v}" for k, v in wanted)
            text = (
                f"no endpoint of {found.host} has the labels {labels}: requests to the subset {subset.name} are "
                f"answered 503; correct the labels, here or on the pods"
            )
            yield warning(db, ref, f"spec.subsets[{i}].labels", "EmptySubset", text)
