"""Who serves a service's port.

In a cluster, whose controllers keep them, a Service is served by what its EndpointSlices say: they know more than its
pods' conditions do. Elsewhere one with a selector is served by the pods that it selects, and one without by what its
EndpointSlices, else its Endpoints, say. A ServiceEntry with a selector is served by pods; so are both by the
WorkloadEntries that they select. Other ServiceEntries list their own; one of resolution DNS that has none is served by
what its host resolves to.
"""

from __future__ import annotations

from typing import Final

from pilotfish.config import istio, kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.hosts import service_host
from pilotfish.mesh.inputs import SLICED, Labels, addressed, listing, resource
from pilotfish.mesh.registry.services import declared, home_in, parts, service_at
from pilotfish.mesh.registry.workloads import Workload, has_proxy, with_network, workload, workloads_selected
from pilotfish.model import ObjectRef
from pilotfish.model.addresses import is_ip
from pilotfish.model.egress import is_socket
from pilotfish.model.kinds import ENDPOINTS, POD, SERVICE, SERVICE_ENTRY, WORKLOAD_ENTRY
from pilotfish.model.service import Endpoint, Locality, Resolution, Service, ServicePort
from pilotfish.model.wellknown import SERVICE_OF_SLICE

_NOWHERE: Final = Locality()
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_CONTROLLERS: Final = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")


@query
def endpoints(db: Reads, host: str, home: str, port: int) -> tuple[Endpoint, ...]:
    """All endpoints of one port of a service, ready or not. None for a host or a port that does not exist."""
    found = service_at(db, host, home)
    target = found.port(port) if found is not None else None
    if found is None or target is None:
        return ()
    together = parts(db, host, home)
    if len(together) == 1:
        return serving(db, found, target)
    added = ((part, part.port_named(target.name)) for part in reversed(together))
    served = {(e.address, e.port): e for part, port in added if port is not None for e in serving(db, part, port)}
    return tuple(sorted(served.values(), key=lambda e: (e.address, e.port)))


def serving(db: Reads, found: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    """The same for a port that is at hand: one that no proxy sees, as it is UDP."""
    if found.selector and not (found.resolution is Resolution.PASSTHROUGH and found.ref.kind is SERVICE_ENTRY):
        slices = _kept_slices(db, found) if found.ref.kind is SERVICE else ()
        workloads = (w for w in selected(db, found) if not slices or w.ref.kind is not POD)
        return _in_slices(db, slices, found, port) + tuple(e for w in workloads for e in _of_workload(w, found, port))
    if found.ref.kind is SERVICE_ENTRY:
        return _of_entry(db, found, port)
    return _of_slices(db, found, port)


def selected(db: Reads, found: Service) -> tuple[Workload, ...]:
    """The workloads that a Service or ServiceEntry selects, ready or not."""
    return instances(db, found.namespace, found.selector) if found.selector else ()


@query
def instances(db: Reads, namespace: str, selector: Labels) -> tuple[Workload, ...]:
    """The workloads that have all the labels of a selector, which is not empty, ready or not."""
    found = (workload(db, ref) for ref in workloads_selected(db, namespace, selector))
    return tuple(w for w in found if w is not None)


@query(index=True)
def hosted(db: Reads, address: str) -> tuple[tuple[str, str], ...]:
    """The services (host, home) that list an address as an endpoint themselves, without a selector."""
    candidates = ((host, home_in(db, host, ref.namespace)) for ref in listing(db, address) for host in _fed_by(db, ref))
    return tuple(each for each in dict.fromkeys(candidates) if _lists(db, *each, address))


def _fed_by(db: Reads, ref: ObjectRef) -> tuple[str, ...]:
    """The hosts whose endpoints an object may list."""
    if ref.kind is SERVICE_ENTRY:
        return tuple(s.host for s in declared(db, ref))
    if ref.kind is ENDPOINTS:
        return (service_host(ref.name, ref.namespace),)
    if ref.kind is WORKLOAD_ENTRY:
        return ()  # a selector finds it
    name = service_of_slice(db, ref)
    return (service_host(name, ref.namespace),) if name else ()


def _lists(db: Reads, host: str, home: str, address: str) -> bool:
    found = service_at(db, host, home)
    if found is None or found.resolution is not Resolution.EDS or all(part.selector for part in parts(db, host, home)):
        return False
    return any(e.address == address for port in found.ports for e in endpoints(db, host, home, port.number))


def _of_workload(source: Workload, found: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    number, address = source.port(port), source.addresses[0]
    named = found.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
    if number is None or not _is_known(address, named):
        return ()
    ready = source.ready or found.publish_not_ready
    return (_endpoint(source, number, ready),)


def _endpoint(source: Workload, port: int, ready: bool) -> Endpoint:
    return Endpoint(
        source.addresses[0],
        port,
        source.labels,
        ready,
        source.locality,
        source.weight,
        source.ref,
        source.account,
        source.ends_mutual(port),
        source.reads,
    )


def _is_known(address: str, named: bool) -> bool:
    """Whether a proxy that looks names up, or one that does not, knows where that is."""
    return not is_socket(address) if named else is_ip(address) or is_socket(address)


def _of_entry(db: Reads, found: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    entry = resource(db, found.ref, istio.ServiceEntry)
    if entry is None or found.resolution in (Resolution.PASSTHROUGH, Resolution.DYNAMIC_DNS):
        return ()
    if not entry.spec.endpoints and found.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN):
        return (Endpoint(found.host, int(port.target), ref=found.ref),)
    named = found.resolution is not Resolution.EDS
    return tuple(
        _of_workload_entry(e, found, port) for e in entry.spec.endpoints if e.address and _is_known(e.address, named)
    )


def _of_workload_entry(entry: istio.WorkloadEntrySpec, found: Service, port: ServicePort) -> Endpoint:
    return Endpoint(
        address=entry.address,
        port=entry.ports.get(port.name, int(port.target)),
        labels=tuple(sorted(with_network(entry.labels, entry).items())),
        locality=Locality.parse(entry.locality),
        weight=entry.weight or 1,
        ref=found.ref,
        account=entry.service_account,
        mutual=has_proxy(entry.labels, entry.service_account),
    )


def _of_slices(db: Reads, found: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    slices = slices_of(db, found.ref.namespace, found.ref.name)
    if slices:
        return _in_slices(db, slices, found, port)
    ref = ENDPOINTS.ref(found.ref.namespace, found.ref.name)
    source = resource(db, ref, kubernetes.Endpoints)
    return tuple(e for subset in source.subsets for e in _of_subset(db, subset, ref, found, port)) if source else ()


def _in_slices(db: Reads, slices: tuple[ObjectRef, ...], found: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    """Each pod once: of a dual-stack Service, where it has a slice for each family, by its first address."""
    found_at: dict[str, Endpoint] = {}
    for each in (e for ref in slices for e in _of_slice(db, ref, found, port)):
        # One that moves from slice to slice may be in both for a moment.
        if each.address not in found_at or each.ready:
            found_at[each.address] = each
    if len({":" in address for address in found_at}) < 2:
        return tuple(found_at.values())
    is_ipv6 = ":" in found.addresses[0] if found.addresses else False
    return tuple(e for address, e in found_at.items() if (":" in address) is is_ipv6)


def slices_of(db: Reads, namespace: str, name: str) -> tuple[ObjectRef, ...]:
    """The EndpointSlices of a Service."""
    return db.read(SLICED, (namespace, name)) or ()


def _kept_slices(db: Reads, found: Service) -> tuple[ObjectRef, ...]:
    """All of a Service of which a cluster keeps some."""
    slices = slices_of(db, found.ref.namespace, found.ref.name)
    return slices if any(is_kept(db, ref) for ref in slices) else ()


@query(index=True)
def is_kept(db: Reads, ref: ObjectRef) -> bool:
    """Whether a cluster's own controllers keep an EndpointSlice, as they do for every Service."""
    found = resource(db, ref, kubernetes.EndpointSlice)
    return found is not None and found.metadata.labels.get(_MANAGED_BY) in _CONTROLLERS


def service_of_slice(db: Reads, ref: ObjectRef) -> str:
    """The name of the Service that an EndpointSlice belongs to; "" for none."""
    source = resource(db, ref, kubernetes.EndpointSlice)
    return source.metadata.labels.get(SERVICE_OF_SLICE, "") if source is not None else ""


def _of_slice(db: Reads, ref: ObjectRef, found: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    source = resource(db, ref, kubernetes.EndpointSlice)
    number = _slice_port(source.ports, port) if source is not None else None
    if source is None or number is None or source.address_type == "FQDN":
        return ()
    found_at = (_of_slice_endpoint(db, e, number, ref, found) for e in source.endpoints)
    return tuple(e for e in found_at if e is not None)


def _of_slice_endpoint(
    db: Reads, source: kubernetes.SliceEndpoint, port: int, ref: ObjectRef, found: Service
) -> Endpoint | None:
    """None for one without an address, and for a pod that is selected and not known, or not any more."""
    if not source.addresses:
        return None
    # "Ready" unset is to be read as true: Kubernetes' EndpointConditions say so.
    ready = source.conditions.ready is not False or found.publish_not_ready
    address, locality, target = source.addresses[0], Locality(zone=source.zone), source.target_ref
    if target is None or target.kind != POD.name or not found.selector:
        return _listed(db, address, port, ready, ref, locality)
    pod = workload(db, POD.ref(target.namespace or ref.namespace, target.name))
    # Pods and slices are told one by one: what a pod is, whether it ends mutual TLS above all, has to be known.
    return _of_pod(pod, address, port, ready, locality) if pod is not None and address in pod.addresses else None


def _of_pod(pod: Workload, address: str, port: int, ready: bool, locality: Locality) -> Endpoint:
    near = pod.locality if pod.locality != _NOWHERE else locality
    return Endpoint(
        address, port, pod.labels, ready, near, ref=pod.ref, account=pod.account, mutual=pod.ends_mutual(port)
    )


def _listed(db: Reads, address: str, port: int, ready: bool, ref: ObjectRef, locality: Locality = _NOWHERE) -> Endpoint:
    """What is known of a pod that has the address holds for the endpoint."""
    pods = (each for each in addressed(db, address) if each.kind is POD)
    known = next((found for pod in pods if (found := workload(db, pod)) is not None), None)
    if known is None:
        return Endpoint(address, port, ready=ready, locality=locality, ref=ref)
    near = locality if locality != _NOWHERE else known.locality
    return Endpoint(
        address,
        port,
        known.labels,
        ready,
        near,
        ref=known.ref,
        account=known.account,
        mutual=known.ends_mutual(port),
        reads=known.reads,
    )


def _of_subset(
    db: Reads, subset: kubernetes.EndpointSubset, ref: ObjectRef, found: Service, port: ServicePort
) -> tuple[Endpoint, ...]:
    number = _slice_port(subset.ports, port)
    if number is None:
        return ()
    ready = tuple(_listed(db, a.ip, number, True, ref) for a in subset.addresses)
    late = tuple(_listed(db, a.ip, number, found.publish_not_ready, ref) for a in subset.not_ready_addresses)
    return ready + late


def _slice_port(ports: tuple[kubernetes.EndpointPort, ...], port: ServicePort) -> int | None:
    """A slice's port belongs to the service port of the same name; one that stands alone may have none."""
    return next((p.port for p in ports if p.name == port.name and p.protocol == port.transport), None)
