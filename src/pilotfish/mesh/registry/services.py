"""Services: every host name that the mesh knows, from Kubernetes Services and Istio ServiceEntries.

Where several objects claim one host, a Kubernetes Service comes before a ServiceEntry, and the older object before the
younger; the others have no effect on it (`problems` says so).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.config import istio, kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.allocation import allocated, hosts_without_address
from pilotfish.mesh.hosts import service_host, whole_name
from pilotfish.mesh.inputs import effective, refs
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef, Protocol
from pilotfish.model.addresses import normal_range
from pilotfish.model.kinds import SERVICE, SERVICE_ENTRY
from pilotfish.model.service import Resolution, Service, ServicePort

_RESOLUTIONS: Final = {
    "NONE": Resolution.PASSTHROUGH,
    "STATIC": Resolution.EDS,
    "DNS": Resolution.DNS,
    "DNS_ROUND_ROBIN": Resolution.DNS_ROUND_ROBIN,
}


@query
def service(db: Reads, host: str) -> Service | None:
    """The service of one host, exactly as written (`*.example.com` is a host of its own)."""
    ref = owner(db, host)
    return None if ref is None else next((s for s in declared(db, ref) if s.host == host), None)


@query(index=True)
def owner(db: Reads, host: str) -> ObjectRef | None:
    """The object that a host belongs to."""
    claims = claimants(db).get(host)
    return claims[0] if claims else None


@query(index=True)
def hosts(db: Reads, scope: Scope) -> tuple[str, ...]:
    """The hosts that a scope sees, those of the oldest objects first: who is older has what two of them want."""
    return all_hosts(db)


@query(index=True)
def all_hosts(db: Reads) -> tuple[str, ...]:
    """Whoever may see them, those of the oldest objects first."""
    return tuple(claimants(db))


@query(index=True)
def claimants(db: Reads) -> Mapping[str, tuple[ObjectRef, ...]]:
    """Who claims each host, the winner first."""
    objects = (*refs(db, SERVICE), *refs(db, SERVICE_ENTRY))
    aged = sorted((ref.kind is not SERVICE, claim(db, ref), ref) for ref in objects)
    found: dict[str, list[ObjectRef]] = {}
    for _, (_, claimed), ref in aged:
        for host in claimed:
            found.setdefault(host, []).append(ref)
    return {host: tuple(claims) for host, claims in found.items()}


@query(index=True)
def services(db: Reads) -> tuple[Service, ...]:
    """All services, by host."""
    found = (service(db, host) for host in sorted(all_hosts(db)))
    return tuple(s for s in found if s is not None)


@query
def claim(db: Reads, ref: ObjectRef) -> tuple[str, tuple[str, ...]]:
    """When an object was made, and the hosts that it names; in which order it names them means nothing."""
    found = declared(db, ref)
    return (found[0].created, tuple(sorted(s.host for s in found))) if found else ("", ())


@query
def declared(db: Reads, ref: ObjectRef) -> tuple[Service, ...]:
    """What a Service or ServiceEntry declares, whoever has the hosts: one service for each host."""
    manifest = effective(db, ref)
    match manifest.resource if manifest is not None else None:
        case kubernetes.Service(spec=spec) if spec.type == "ExternalName":
            return ()  # no service: another's name
        case kubernetes.Service() as found:
            return (_from_kubernetes(ref, found),)
        case istio.ServiceEntry() as found:
            return tuple(_from_entry(db, ref, found, host) for host in dict.fromkeys(map(whole_name, found.spec.hosts)))
        case _:
            return ()


def _from_kubernetes(ref: ObjectRef, source: kubernetes.Service) -> Service:
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
        created=source.metadata.creation_timestamp or "",
    )


def _entry_port(port: istio.ServiceEntryPort) -> ServicePort:
    protocol = Protocol.parse(port.protocol) if port.protocol else None
    return ServicePort(port.number, port.name, protocol or Protocol.AUTO, port.target_port or port.number)
