"""Pods as workloads: who runs where, with which labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pilotfish.config import kubernetes
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import LABELLED, Labels, resource
from pilotfish.model import ObjectRef
from pilotfish.model.service import Locality, Transport


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod that runs and has an address."""

    ref: ObjectRef
    labels: Labels
    addresses: tuple[str, ...]
    """`status.podIP` first."""
    ready: bool
    ports: tuple[tuple[str, str, int], ...]
    """(protocol, name, number) of named container ports."""
    hostname: str
    subdomain: str
    locality: Locality

    def port(self, target: int | str, transport: Transport = "TCP") -> int | None:
        """The number that a Service's targetPort means here; None if no container port has that name."""
        if isinstance(target, int):
            return target
        return next((n for protocol, name, n in self.ports if (protocol, name) == (transport, target)), None)


@query
def workload(db: Reads, ref: ObjectRef) -> Workload | None:
    """None for a pod that has no address, is being deleted, or has run to its end."""
    pod = resource(db, ref, kubernetes.Pod)
    if pod is None or not pod.status.pod_ip or pod.metadata.deletion_timestamp:
        return None
    if pod.status.phase in ("Succeeded", "Failed"):
        return None
    return Workload(
        ref=ref,
        labels=tuple(sorted(pod.metadata.labels.items())),
        addresses=tuple(dict.fromkeys((pod.status.pod_ip, *(ip.ip for ip in pod.status.pod_ips)))),
        ready=_is_ready(pod),
        ports=_named_ports(pod),
        hostname=pod.spec.hostname or ref.name,
        subdomain=pod.spec.subdomain,
        locality=_locality(pod.metadata.labels),
    )


def _named_ports(pod: kubernetes.Pod) -> tuple[tuple[str, str, int], ...]:
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    return tuple((p.protocol, p.name, p.container_port) for c in containers for p in c.ports if p.name)


def _is_ready(pod: kubernetes.Pod) -> bool:
    # Hand-written manifests give an address and no conditions: such a pod is taken as ready.
    return not pod.status.conditions or any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def _locality(labels: Mapping[str, str]) -> Locality:
    """Source: https://istio.io/latest/docs/tasks/traffic-management/locality-load-balancing/"""
    stated = labels.get("istio-locality", "")
    if stated:
        return Locality.parse(stated if "/" in stated else stated.replace(".", "/"))
    return Locality(
        labels.get("topology.kubernetes.io/region", ""),
        labels.get("topology.kubernetes.io/zone", ""),
        labels.get("topology.istio.io/subzone", ""),
    )


@query
def _pod_labels(db: Reads, ref: ObjectRef) -> Labels:
    pod = resource(db, ref, kubernetes.Pod)
    return tuple(sorted(pod.metadata.labels.items())) if pod is not None else ()


@query(index=True)
def pods_selected(db: Reads, namespace: str, selector: Labels) -> tuple[ObjectRef, ...]:
    """The pods that have all the labels of a selector, which is not empty, sorted."""
    fewest = min((db.read(LABELLED, (namespace, *label)) or () for label in selector), key=len)
    if len(selector) == 1:
        return fewest
    wanted = set(selector)
    return tuple(ref for ref in fewest if wanted <= set(_pod_labels(db, ref)))
