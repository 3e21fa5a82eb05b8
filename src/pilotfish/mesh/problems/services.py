"""Problems of Services and ServiceEntries: what they claim that an older one has, and what they leave unsaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilotfish.config import istio, kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import service_host, whole_name
from pilotfish.mesh.inputs import addressed, resource
from pilotfish.mesh.listeners.outbound import RESERVED, Binding, binding, conflicts
from pilotfish.mesh.problems.places import port_field, written_ports
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.problems.shared_ports import shared_ports
from pilotfish.mesh.registry.aliases import aliased
from pilotfish.mesh.registry.endpoints import selected
from pilotfish.mesh.registry.external_names import external_names, stands_for
from pilotfish.mesh.registry.frontends import holder, places
from pilotfish.mesh.registry.services import declared, declared_as, kubernetes_port, most_of, owner, partners, service
from pilotfish.mesh.registry.visibility import is_somebodys
from pilotfish.mesh.registry.workloads import workloads_selected
from pilotfish.mesh.scope import EVERYONE
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.model.addresses import normal_range
from pilotfish.model.kinds import POD, SERVICE, SERVICE_ENTRY
from pilotfish.model.service import Service
from pilotfish.model.wellknown import CLUSTER_DOMAIN, SERVICE_DOMAIN, STATUS_PORT


@query
def service_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = declared(db, ref)
    won = tuple(s for s in found if _has_part(db, ref, s.host) or is_somebodys(db, s.host, ref))
    return (
        *(p for s in found if s not in won for p in _lost_host(db, ref, s)),
        *(p for s in won for p in _lost_listeners(db, ref, s)),
        *(p for s in won for p in _alias(db, ref, s)),
        *(p for s in won for p in _unresolvable(db, ref, s)),
        *_taken_addresses(db, ref, found),
        *_reserved_ports(db, ref, found),
        *_lost_external_ips(db, ref),
        *_dead_name(db, ref),
        *_shown_to_fewer(db, ref),
        *(p for s in won for p in _endpoints_alone(db, ref, s)),
        *_undeclared_ports(db, ref),
        *(p for s in won if s.selector for p in _selection(db, ref, s)),
        *(p for s in won if s.selector for p in shared_ports(db, ref, s)),
    )


def _has_part(db: Reads, ref: ObjectRef, host: str) -> bool:
    by = owner(db, host, "")
    return by is not None and (by == ref or ref in partners(db, by, host))


def _lost_host(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    by = owner(db, found.host, "")
    field = _host_field(db, ref, found.host) if ref.kind is SERVICE_ENTRY else ""
    text = f"{by} has the host {found.host} already, so this one has no effect on it; remove one, or rename the host"
    if by is not None and ref.kind is by.kind is SERVICE_ENTRY and ref.namespace == by.namespace:
        text += (
            ": they would be put together if they said the same of resolution, location, addresses, exportTo and the "
            "names of ports"
        )
    yield warning(db, ref, field, "ConflictingHost", text)


def _endpoints_alone(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    """What a ServiceEntry says beside the endpoints that it adds to a Kubernetes Service."""
    by = owner(db, found.host, "")
    known = declared_as(db, by, found.host) if by is not None and by != ref else None
    if known is None or not known.is_kubernetes or ref not in partners(db, known.ref, found.host):
        return
    field, names = _host_field(db, ref, found.host), {port.name for port in known.ports}
    text = f"{by} has the host {found.host}, so this one adds its endpoints to those, and nothing else of it counts"
    yield warning(db, ref, field, "EndpointsAdded", text, Severity.INFO)
    for i, port in enumerate(found.ports):
        if port.name not in names:
            what = f"{by} has no port of the name {port.name}, so that calls to {found.host} never come to this one"
            yield warning(db, ref, f"spec.ports[{i}].name", "UnknownPort", f"{what}; name it as one of the Service's")


def _shown_to_fewer(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    """Than its author may think."""
    entry = resource(db, ref, istio.ServiceEntry)
    most = most_of(db, ref.namespace) if entry is not None else None
    if entry is None or most is None:
        return
    by = "as meshConfig.serviceEntryVisibility says"
    if not most:
        yield warning(db, ref, "spec.exportTo", "NotShown", f"nobody sees it, {by}; remove it", Severity.INFO)
    elif set(entry.spec.export_to) - {".", "~", ref.namespace}:
        text = f"its own namespace alone sees it, {by}; write ['.'], or have the mesh's administrator show it to others"
        yield warning(db, ref, "spec.exportTo", "NotShown", text, Severity.INFO)


def _alias(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    """A ServiceEntry's host that is another name of a Service to every pod."""
    if ref.kind is SERVICE_ENTRY and (whole := aliased(db, found.host)):
        text = f"pods that call {found.host} call the Service {whole}, so nobody can ask for this one; rename the host"
        yield warning(db, ref, _host_field(db, ref, found.host), "ShadowedHost", text)


def _host_field(db: Reads, ref: ObjectRef, host: str) -> str:
    """Where a ServiceEntry writes a host."""
    entry = resource(db, ref, istio.ServiceEntry)
    places = (i for i, written in enumerate(entry.spec.hosts if entry else ()) if whole_name(written) == host)
    return next((f"spec.hosts[{i}]" for i in places), "spec.hosts")


def _lost_listeners(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    for name in _lost(db, found.host):
        bound = binding(db, EVERYONE, name)
        winner = service(db, _holder(bound, found.host)) if bound is not None else None
        if winner is None:
            continue
        text = (
            f"clients cannot tell its TCP traffic to {name.replace('_', ':')} from that to {winner.host} "
            f"({winner.ref}), which comes first and gets all of it; give it an address or a port of its own"
        )
        yield warning(db, ref, port_field(db, ref, int(name.rpartition("_")[2])), "ConflictingListener", text)


def _holder(bound: Binding, loser: str) -> str:
    """Who has what the loser asked for: the listener's TCP, or a range of addresses."""
    return bound.tcp or next((host for host, _ in bound.ranges if host != loser), "")


@query(index=True)
def _lost(db: Reads, host: str) -> tuple[str, ...]:
    return _losses(db).get(host, ())


@query(index=True)
def _losses(db: Reads) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for each in conflicts(db, EVERYONE):
        found[each.host] = (*found.get(each.host, ()), each.listener)
    return found


def _taken_addresses(db: Reads, ref: ObjectRef, found: tuple[Service, ...]) -> Iterator[Problem]:
    """Addresses that a pod has, or another Service that comes first."""
    for address in found[0].addresses if found else ():
        taker = next((other for other in addressed(db, address) if other != ref), None)
        if taker is None or (taker.kind is SERVICE and not _comes_first(db, taker, found[0])):
            continue
        if any(name.rpartition("_")[0] == address for s in found for name in _lost(db, s.host)):
            continue  # it is said of the listener
        text = f"{address} is {taker}'s own address: "
        text += "what is sent to the pod comes here" if taker.kind is POD else "what is sent there may go to that one"
        field = _address_field(db, ref, address)
        yield warning(db, ref, field, "ConflictingAddress", f"{text}; choose another, or none")


def _address_field(db: Reads, ref: ObjectRef, address: str) -> str:
    """Where a Service or ServiceEntry states an address."""
    entry = resource(db, ref, istio.ServiceEntry)
    if entry is None:
        return "spec.clusterIP"
    places = (i for i, written in enumerate(entry.spec.addresses) if normal_range(written) == address)
    return next((f"spec.addresses[{i}]" for i in places), "spec.addresses")


def _unresolvable(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    """A host below the cluster's domain, where the pods' DNS is the only one that is asked, without an address."""
    if ref.kind is SERVICE_ENTRY and found.host.endswith(f".{CLUSTER_DOMAIN}") and not found.addresses:
        text = f"{found.host} resolves to nothing in any pod, as it has no address and nobody else knows such names"
        remedy = "state addresses, or let its resolution be STATIC or DNS"
        yield warning(db, ref, _host_field(db, ref, found.host), "UnresolvableHost", f"{text}; {remedy}")


def _comes_first(db: Reads, other: ObjectRef, found: Service) -> bool:
    """Whether an older Service has a port of the same number."""
    held = next(iter(declared(db, other)), None)
    if held is None or not {p.number for p in held.ports} & {p.number for p in found.ports}:
        return False
    return not found.is_kubernetes or (held.created, other) < (found.created, found.ref)


def _reserved_ports(db: Reads, ref: ObjectRef, found: tuple[Service, ...]) -> Iterator[Problem]:
    for port in found[0].ports if found else ():
        text = ""
        if port.number == STATUS_PORT:
            text = f"every sidecar lets what goes to port {port.number} pass, its agent's: no rule routes it"
        elif port.number in RESERVED and not found[0].addresses and not found[0].headless:
            text = f"every sidecar listens on {port.number} itself, and only an address would tell calls of this apart"
        if text:
            yield warning(db, ref, port_field(db, ref, port.number), "ReservedPort", f"{text}; use another port")


def _dead_name(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    """An ExternalName that stands for nothing."""
    name = service_host(ref.name, ref.namespace)
    if ref.kind is not SERVICE or name not in external_names(db):
        return
    field, host = "spec.externalName", stands_for(db, name)
    if not host:
        text = f"names that stand for one another without end: {name} resolves to nothing; name a host"
        yield warning(db, ref, field, "UnknownHost", text)
    elif host.endswith(f".{SERVICE_DOMAIN}") and service(db, host) is None:
        text = f"no Service has the host {host}: {name} resolves to nothing; correct the name, or add the Service"
        yield warning(db, ref, field, "UnknownHost", text)


def _lost_external_ips(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    source = resource(db, ref, kubernetes.Service)
    for index, address in enumerate(source.spec.external_ips if source is not None else ()):
        for place in places(db, ref, True):
            by = holder(db, place) if place[0] == address else ref
            if by not in (None, ref):
                text = f"{by} has {address}:{place[2]} already, and gets all that is sent there; choose another address"
                yield warning(db, ref, f"spec.externalIPs[{index}]", "ConflictingExternalIP", text)


def _undeclared_ports(db: Reads, ref: ObjectRef) -> Iterator[Problem]:
    """Source: https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/"""
    sniffed = {p.number for s in declared(db, ref)[:1] for p in s.ports if p.protocol.is_sniffed}
    for i, number in written_ports(db, ref):
        if number in sniffed:
            text = (
                f"port {number} declares no protocol, so it is sniffed, and a protocol in which the server speaks "
                f"first stalls; begin the port's name with http-, grpc- or tcp-, or set appProtocol"
            )
            yield warning(db, ref, f"spec.ports[{i}].name", "UndeclaredProtocol", text, Severity.INFO)


def _selection(db: Reads, ref: ObjectRef, found: Service) -> Iterator[Problem]:
    """A selector that no workload fits, and a port's name that no selected one knows."""
    if not workloads_selected(db, found.namespace, found.selector):
        labels = ",".join(f"{k}={v}" for k, v in found.selector)
        what = "pod" if found.is_kubernetes else "pod or WorkloadEntry"
        text = f"no {what} of namespace {found.namespace} has the labels {labels}: requests are answered 503"
        field = "spec.selector" if found.is_kubernetes else "spec.workloadSelector"
        yield warning(db, ref, field, "NoPods", text, Severity.INFO)
        return
    pods, source = selected(db, found), resource(db, ref, kubernetes.Service)
    for port in map(kubernetes_port, source.spec.ports if source is not None else ()):
        if pods and all(w.port(port) is None for w in pods):
            text = (
                f"no container port of its pods is named {port.target}: port {port.number} has no endpoints; "
                f"name the container port, or give a number"
            )
            yield warning(db, ref, f"{port_field(db, ref, port.number)}.targetPort", "UnknownTargetPort", text)
