"""Pods and WorkloadEntries as workloads: who runs where, with which labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.config import istio, kubernetes
from pilotfish.config.injection import bypasses_sidecar, capture_of
from pilotfish.config.proxying import machine_of
from pilotfish.config.reading import asked_by_pod
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import LABELLED, Labels, effective, housed, labels_of, resource
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import WORKLOAD_ENTRY
from pilotfish.model.service import MUTUAL, NETWORK_LABEL, TLS_MODE_LABEL, Locality, ServicePort, Transport
from pilotfish.model.wellknown import DRAINING


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod that runs and has an address, or a WorkloadEntry."""

    ref: ObjectRef
    labels: Labels
    addresses: tuple[str, ...]
    """`status.podIP` first. A WorkloadEntry's one may be a name."""
    ready: bool
    ports: tuple[tuple[str, str, int], ...]
    """(protocol, name, number). A pod's by the container port's name, a WorkloadEntry's by the service port's."""
    hostname: str
    subdomain: str
    locality: Locality
    weight: int = 1
    account: str = ""
    """Its service account; "" if unknown."""
    mutual: bool = False
    """It has a proxy that ends mutual TLS."""
    annotations: tuple[tuple[str, str], ...] = ()
    """Of a pod; those that say which of its ports the proxy sees."""
    reads: str = ""
    """Of a pod: which annotation asks that its proxy read requests; "" for none."""

    def ends_mutual(self, port: int) -> bool:
        """Whether its proxy ends mutual TLS at this port of it."""
        return self.mutual and not bypasses_sidecar(dict(self.annotations), port)

    def port(self, port: ServicePort) -> int | None:
        """The number that a Service's port means here; None if no container port has the name that it targets."""
        if self.ref.kind is WORKLOAD_ENTRY and (number := self._named(port.name, port.transport)) is not None:
            return number
        return port.target if isinstance(port.target, int) else self._named(port.target, port.transport)

    def _named(self, wanted: str, transport: Transport) -> int | None:
        return next((n for protocol, name, n in self.ports if (protocol, name) == (transport, wanted)), None)


@query
def workload(db: Reads, ref: ObjectRef) -> Workload | None:
    """None for a WorkloadEntry without an address, and a pod that has none, is being deleted, or has run to its end."""
    if ref.kind is WORKLOAD_ENTRY:
        entry = resource(db, ref, istio.WorkloadEntry)
        return _of_entry(ref, entry) if entry is not None and entry.spec.address else None
    pod = resource(db, ref, kubernetes.Pod)
    if pod is None or not pod.status.pod_ip or pod.metadata.deletion_timestamp:
        return None
    if pod.status.phase in ("Succeeded", "Failed"):
        return None
    return Workload(
        ref=ref,
        labels=tuple(sorted(pod.metadata.labels.items())),
        addresses=_addresses(pod),
        ready=_is_ready(pod),
        ports=_named_ports(pod),
        hostname=pod.spec.hostname or ref.name,
        subdomain=pod.spec.subdomain,
        locality=Locality.of_labels(pod.metadata.labels),
        account=pod.spec.service_account_name or "default",
        mutual=pod.metadata.labels.get(TLS_MODE_LABEL) == MUTUAL,
        annotations=capture_of(pod.metadata.annotations),
        reads=asked_by_pod(pod.metadata.annotations),
    )


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod that its machine's proxy serves, from when it has an address until it is gone."""

    ref: ObjectRef
    labels: Labels
    addresses: tuple[str, ...]
    draining: bool = False
    """Nobody calls it any more who knows that it ends."""


@query
def residents(db: Reads, machine: str) -> tuple[Resident, ...]:
    """Of a machine, by its name. Sorted."""
    found = (_resident(db, ref) for ref in housed(db, machine))
    return tuple(each for each in found if each is not None)


@query
def _resident(db: Reads, ref: ObjectRef) -> Resident | None:
    pod = resource(db, ref, kubernetes.Pod)
    if pod is None or not pod.status.pod_ip or pod.status.phase in ("Succeeded", "Failed"):
        return None
    draining = any(each.type == DRAINING and each.status == "True" for each in pod.status.conditions)
    return Resident(ref, tuple(sorted(pod.metadata.labels.items())), _addresses(pod), draining)


@query
def is_housed(db: Reads, ref: ObjectRef) -> bool:
    """It is a pod without a proxy of its own."""
    pod = resource(db, ref, kubernetes.Pod)
    return pod is not None and bool(machine_of(pod))


def _addresses(pod: kubernetes.Pod) -> tuple[str, ...]:
    return tuple(dict.fromkeys((pod.status.pod_ip, *(ip.ip for ip in pod.status.pod_ips))))


def _of_entry(ref: ObjectRef, entry: istio.WorkloadEntry) -> Workload:
    spec = entry.spec
    return Workload(
        ref=ref,
        labels=tuple(sorted(with_network(labels_of(entry), spec).items())),
        addresses=(spec.address,),
        ready=_is_healthy(entry),
        ports=tuple(("TCP", name, number) for name, number in sorted(spec.ports.items())),
        hostname="",
        subdomain="",
        locality=Locality.parse(spec.locality),
        weight=spec.weight or 1,
        account=spec.service_account,
        mutual=has_proxy(labels_of(entry), spec.service_account),
    )


def has_proxy(labels: Mapping[str, str], account: str) -> bool:
    """Whether what a WorkloadEntry stands for has one: as its label says, else if it has an account. Source: Istio's
    getTLSModeFromWorkloadEntry,
    https://github.com/istio/istio/blob/master/pilot/pkg/serviceregistry/serviceentry/conversion.go"""
    return labels.get(TLS_MODE_LABEL, MUTUAL if account else "") == MUTUAL


def with_network(labels: Mapping[str, str], spec: istio.WorkloadEntrySpec) -> Mapping[str, str]:
    return {**labels, NETWORK_LABEL: spec.network} if spec.network else labels


def _is_healthy(entry: istio.WorkloadEntry) -> bool:
    """As its agent says, where it is one whose health is checked.

    Source: https://istio.io/latest/docs/reference/config/networking/workload-group/
    """
    if entry.metadata.annotations.get("proxy.istio.io/health-checks-enabled") != "true":
        return True
    return any(condition.type == "Healthy" and condition.status == "True" for condition in entry.status.conditions)


def _named_ports(pod: kubernetes.Pod) -> tuple[tuple[str, str, int], ...]:
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    return tuple((p.protocol, p.name, p.container_port) for c in containers for p in c.ports if p.name)


def _is_ready(pod: kubernetes.Pod) -> bool:
    # Hand-written manifests give an address and no conditions: such a pod is taken as ready.
    return not pod.status.conditions or any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


@query
def _labels(db: Reads, ref: ObjectRef) -> Labels:
    manifest = effective(db, ref)
    return tuple(sorted(labels_of(manifest.resource).items())) if manifest is not None else ()


@query(index=True)
def workloads_selected(db: Reads, namespace: str, selector: Labels) -> tuple[ObjectRef, ...]:
    """The pods and WorkloadEntries that have all the labels of a selector, which is not empty, sorted."""
    fewest = min((db.read(LABELLED, (namespace, *label)) or () for label in selector), key=len)
    if len(selector) == 1:
        return fewest
    wanted = set(selector)
    return tuple(ref for ref in fewest if wanted <= set(_labels(db, ref)))
