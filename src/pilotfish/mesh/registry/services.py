"""Services: every host name that the mesh knows, from Kubernetes Services and Istio ServiceEntries.

Where several objects claim one host, a Kubernetes Service comes before a ServiceEntry, and the older object before the
younger; the others have no effect on it (`problems` says so). But ServiceEntries of one namespace that say the same of
a host otherwise are put together, as in Istio: each adds its ports, and its endpoints, listed or selected, to those of
a port of the same name. To a Kubernetes Service those of its namespace add endpoints alone. Not so where namespaces see
different ones of them (`visibility`): each that comes first for somebody is a service of its own, known by its host and
its *home*, the namespace of the object; a home of "" is that of the first of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.config import istio, kubernetes
from pilotfish.config.kubernetes import Resource, export_to_of
from pilotfish.config.mesh import VisibilityPolicy
from pilotfish.config.selecting import fits
from pilotfish.derive import Reads, query
from pilotfish.mesh.allocation import allocated, hosts_without_address
from pilotfish.mesh.exports import Audience, audience_of
from pilotfish.mesh.hosts import service_host, whole_name
from pilotfish.mesh.inputs import LOOKED_UP, MARKED, NEAREST, effective, mesh_config, refs, resource
from pilotfish.mesh.namespaces import namespace_labels
from pilotfish.mesh.registry.proximity import proximity
from pilotfish.model import ObjectRef, Protocol
from pilotfish.model.addresses import normal_range
from pilotfish.model.kinds import NAMESPACE, SERVICE, SERVICE_ENTRY
from pilotfish.model.service import Resolution, Service, ServicePort

_RESOLUTIONS: Final = {
    "NONE": Resolution.PASSTHROUGH,
    "STATIC": Resolution.EDS,
    "DNS": Resolution.DNS,
    "DNS_ROUND_ROBIN": Resolution.DNS_ROUND_ROBIN,
    "DYNAMIC_DNS": Resolution.DYNAMIC_DNS,
}


@query
def service(db: Reads, host: str) -> Service | None:
    """The service of one host, exactly as written (`*.example.com` is a host of its own), whoever may see it."""
    return _of(db, owner(db, host, ""), host)


def service_at(db: Reads, host: str, home: str) -> Service | None:
    """The same, of those that several namespaces have of one host."""
    return _service_at(db, host, home) if home else service(db, host)


@query
def _service_at(db: Reads, host: str, home: str) -> Service | None:
    return _of(db, owner(db, host, home), host)


def _of(db: Reads, ref: ObjectRef | None, host: str) -> Service | None:
    parts = _parts(db, ref, host)
    return _merge(parts[0], parts[1:]) if parts else None


def parts(db: Reads, host: str, home: str) -> tuple[Service, ...]:
    """What a service is put together of, as each object has it; that of the one which the host belongs to is first."""
    return _parts(db, owner(db, host, home), host)


def _parts(db: Reads, ref: ObjectRef | None, host: str) -> tuple[Service, ...]:
    found = declared_as(db, ref, host) if ref is not None else None
    if ref is None or found is None:
        return ()
    others = (declared_as(db, other, host) for other in partners(db, ref, host))
    return (found, *(other for other in others if other is not None))


def declared_as(db: Reads, ref: ObjectRef, host: str) -> Service | None:
    """What one object says of a host, whoever has it."""
    return next((s for s in declared(db, ref) if s.host == host), None)


def _merge(first: Service, others: tuple[Service, ...]) -> Service:
    """Of a number that several have, the first's port. A Kubernetes Service has its own, and no others."""
    if first.is_kubernetes:
        return first
    ports = {port.number: port for each in reversed((first, *others)) for port in each.ports}
    in_order = dict.fromkeys(port.number for each in (first, *others) for port in each.ports)
    return replace(first, ports=tuple(ports[number] for number in in_order)) if others else first


@query(index=True)
def partners(db: Reads, ref: ObjectRef, host: str) -> tuple[ObjectRef, ...]:
    """The ServiceEntries that are put together with the object that a host belongs to; they are younger, or it is a
    Kubernetes Service."""
    claims = claimants(db).get(host, ())
    first = declared_as(db, ref, host) if len(claims) > 1 else None
    if first is None:
        return ()
    of_place = [other for other in claims if other.kind is SERVICE_ENTRY and other.namespace == ref.namespace]
    found = ((other, declared_as(db, other, host)) for other in of_place if other != ref)
    if first.is_kubernetes:
        return tuple(other for other, each in found if each is not None and _adds(first, each))
    return tuple(other for other, each in found if _fits(db, first, each))


def _adds(first: Service, other: Service) -> bool:
    """Whether endpoints of the one can be those of the other: Envoy is told them, and they have a port of its."""
    names = {port.name for port in first.ports}
    return first.resolution is other.resolution is Resolution.EDS and any(port.name in names for port in other.ports)


def _fits(db: Reads, first: Service, other: Service | None) -> bool:
    """Whether nothing that can't be added to differs."""
    if other is None or claim(db, first.ref).audience != claim(db, other.ref).audience:
        return False
    numbered = {port.number: port.name for port in first.ports}
    return (
        (first.resolution, first.external) == (other.resolution, other.external)
        and (other.allocated or set(other.addresses) <= set(first.addresses))
        and all(numbered.get(port.number, port.name) == port.name for port in other.ports)
    )


@query(index=True)
def owner(db: Reads, host: str, home: str) -> ObjectRef | None:
    """The object that a host belongs to."""
    return next((ref for ref in claimants(db).get(host, ()) if home in ("", ref.namespace)), None)


def home_in(db: Reads, host: str, namespace: str) -> str:
    """The home of what objects of a namespace say of a host."""
    first = owner(db, host, "")
    return "" if first is None or first.namespace == namespace else namespace


@query(index=True)
def all_hosts(db: Reads) -> tuple[str, ...]:
    """Whoever may see them, those of the oldest objects first."""
    return tuple(claimants(db))


@query(index=True)
def claimants(db: Reads) -> Mapping[str, tuple[ObjectRef, ...]]:
    """Who claims each host, the winner first."""
    objects = (*refs(db, SERVICE), *refs(db, SERVICE_ENTRY))
    aged = sorted((ref.kind is not SERVICE, *_claimed(db, ref), ref) for ref in objects)
    found: dict[str, list[ObjectRef]] = {}
    for _, _, claimed, ref in aged:
        for host in claimed:
            found.setdefault(host, []).append(ref)
    return {host: tuple(claims) for host, claims in found.items()}


def _claimed(db: Reads, ref: ObjectRef) -> tuple[str, tuple[str, ...]]:
    found = claim(db, ref)
    return found.created, found.hosts


@query(index=True)
def audiences(db: Reads) -> Mapping[ObjectRef, frozenset[str]]:
    """Of the Services and ServiceEntries that some namespaces do not see: which do."""
    objects = (*refs(db, SERVICE), *refs(db, SERVICE_ENTRY))
    found = ((ref, claim(db, ref).audience) for ref in objects)
    return {ref: audience for ref, audience in found if audience is not None}


@query(index=True)
def all_services(db: Reads) -> tuple[tuple[str, str], ...]:
    """(host, home) of each service that is somebody's."""
    hidden = audiences(db).keys()
    found: dict[tuple[str, str], None] = {}
    for host, claims in claimants(db).items():
        found[host, ""] = None
        if len(claims) > 1 and not hidden.isdisjoint(claims):
            found.update(((host, ref.namespace), None) for ref in claims if ref.namespace != claims[0].namespace)
    return tuple(found)


def some_nearest(db: Reads) -> bool:
    """Whether something asks for services whose clients ask the nearest first."""
    return db.read(MARKED, NEAREST) is not None


@query(index=True)
def looked_up(db: Reads) -> frozenset[str]:
    """The hosts that some ServiceEntry has proxies look up as they are called."""
    found = (s for ref in db.read(MARKED, LOOKED_UP) or () for s in declared(db, ref))
    return frozenset(s.host for s in found if s.resolution is Resolution.DYNAMIC_DNS)


@query(index=True)
def services(db: Reads) -> tuple[Service, ...]:
    """All services, by host."""
    found = (service_at(db, host, home) for host, home in sorted(all_services(db)))
    return tuple(s for s in found if s is not None)


@dataclass(frozen=True, slots=True)
class Claim:
    """When an object was made, the hosts that it names, sorted, and who sees it."""

    created: str = ""
    hosts: tuple[str, ...] = ()
    audience: Audience = None


@query
def claim(db: Reads, ref: ObjectRef) -> Claim:
    found = declared(db, ref)
    if not found:
        return Claim()
    manifest = effective(db, ref)
    stated = _export_to(manifest.resource) if manifest is not None else ()
    audience = audience_of(stated, () if stated else _default_export(db), ref.namespace)
    if ref.kind is SERVICE_ENTRY and (most := most_of(db, ref.namespace)) is not None:
        audience = most if audience is None else audience & most
    return Claim(found[0].created, tuple(sorted(s.host for s in found)), audience)


@query(index=True)
def most_of(db: Reads, namespace: str) -> Audience:
    """Who may see the ServiceEntries of a namespace, whatever these say."""
    config = mesh_config(db).service_entry_visibility
    if config is None or not config.apply_to_sidecars:
        return None
    found = resource(db, NAMESPACE.ref("", namespace), kubernetes.Namespace)
    labels = namespace_labels(namespace, found.metadata.labels if found is not None else {})
    visibility = next((each.visibility for each in config.policies if _covers(each, labels)), config.default_visibility)
    return {"NAMESPACE": frozenset({namespace}), "NONE": frozenset[str]()}.get(visibility)


def _covers(policy: VisibilityPolicy, labels: Mapping[str, str]) -> bool:
    selectors = (rule.namespace_selector for rule in policy.matching_rules)
    return all(selector is not None and fits(selector, labels) for selector in selectors)


def _export_to(source: Resource) -> tuple[str, ...]:
    if isinstance(source, istio.ServiceEntry):
        return source.spec.export_to
    return export_to_of(source.metadata)


@query(index=True)
def _default_export(db: Reads) -> tuple[str, ...]:
    """Who sees a service that does not say it."""
    return mesh_config(db).default_service_export_to


@query
def declared(db: Reads, ref: ObjectRef) -> tuple[Service, ...]:
    """What a Service or ServiceEntry declares, whoever has the hosts: one service for each host."""
    manifest = effective(db, ref)
    match manifest.resource if manifest is not None else None:
        case kubernetes.Service(spec=spec) if spec.type == "ExternalName":
            return ()  # no service: another's name
        case kubernetes.Service() as found:
            return (_from_kubernetes(db, ref, found),)
        case istio.ServiceEntry() as found:
            return tuple(_from_entry(db, ref, found, host) for host in dict.fromkeys(map(whole_name, found.spec.hosts)))
        case _:
            return ()


def _from_kubernetes(db: Reads, ref: ObjectRef, source: kubernetes.Service) -> Service:
    spec = source.spec
    headless = spec.cluster_ip == "None"
    stated = (spec.cluster_ip, *spec.cluster_ips) if not headless else ()
    return Service(
        ref=ref,
        host=service_host(ref.name, ref.namespace),
        namespace=ref.namespace,
        ports=tuple(kubernetes_port(p) for p in spec.ports if p.protocol == "TCP"),
        addresses=tuple(dict.fromkeys(address for address in stated if address)),
        resolution=Resolution.PASSTHROUGH if headless else Resolution.EDS,
        headless=headless,
        selector=tuple(sorted(spec.selector.items())),
        publish_not_ready=spec.publish_not_ready_addresses,
        prefers=proximity(db, ref, source),
        created=source.metadata.creation_timestamp or "",
    )


def kubernetes_port(port: kubernetes.ServicePort) -> ServicePort:
    """SCTP, which nobody serves, passes for TCP."""
    return ServicePort(
        number=port.port,
        name=port.name,
        protocol=Protocol.declared(port.name, port.app_protocol, port.protocol, port.port),
        target=port.target_port.value if port.target_port is not None else port.port,
        transport="UDP" if port.protocol == "UDP" else "TCP",
    )


def _from_entry(db: Reads, ref: ObjectRef, source: istio.ServiceEntry, host: str) -> Service:
    spec = source.spec
    stated = tuple(dict.fromkeys(filter(None, map(normal_range, spec.addresses))))
    given = allocated(db, host) if host in hosts_without_address(source) else ()
    return Service(
        ref=ref,
        host=host,
        namespace=ref.namespace,
        ports=tuple(_entry_port(p) for p in spec.ports if p.protocol.upper() != "UDP"),
        addresses=stated or given,
        allocated=bool(given),
        resolution=_RESOLUTIONS[spec.resolution],
        selector=tuple(sorted(spec.workload_selector.labels.items())) if spec.workload_selector is not None else (),
        external=spec.location == "MESH_EXTERNAL",
        subject_alt_names=spec.subject_alt_names,
        prefers=proximity(db, ref, source),
        created=source.metadata.creation_timestamp or "",
    )


def _entry_port(port: istio.ServiceEntryPort) -> ServicePort:
    protocol = Protocol.parse(port.protocol) if port.protocol else None
    return ServicePort(port.number, port.name, protocol or Protocol.AUTO, port.target_port or port.number)
