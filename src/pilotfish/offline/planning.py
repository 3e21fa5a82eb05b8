"""What a mesh on one machine adds to the user's objects: gateways, cluster IPs, and pods with addresses.

Cluster IPs are those that `up` would give. The addresses of pods come from its first subnet, in the order of the pods'
names; `up` gives them in the order in which pods come to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import islice
from typing import Final

import msgspec

from pilotfish.config.kubernetes import Metadata, Pod, PodStatus, Service
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.workloads import owners_of
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import CRON_JOB, JOB, POD, SERVICE
from pilotfish.node.addresses import addresses, next_offset
from pilotfish.node.controllers.table import CONTROLLERS
from pilotfish.node.controllers.values import pod_name
from pilotfish.node.gateways import with_gateways
from pilotfish.node.services import allocate
from pilotfish.node.store import APPLIED, Stored

PODS: Final = IPv4Network("10.244.0.0/16")
_MOST_REPLICAS = 1_000
"""Of one workload: more change nothing in what its clients are sent but the list of addresses."""


def plan(
    manifests: Mapping[ObjectRef, Manifest], config: MeshConfig
) -> tuple[dict[ObjectRef, Manifest], dict[ObjectRef, ObjectRef]]:
    """(the objects with all that is added, the workload that each pod is one of which something makes)."""
    owners = {ref: owner for ref, m in manifests.items() if ref.kind is POD and (owner := _maker(m, manifests))}
    planned = dict(with_gateways(manifests, config))
    for workload, pod in _pods_of_workloads(dict(planned)):
        planned[pod.ref] = pod
        owners[pod.ref] = workload
    _give_addresses(planned)
    _give_cluster_ips(planned)
    return planned, owners


def _pods_of_workloads(manifests: Mapping[ObjectRef, Manifest]) -> Iterator[tuple[ObjectRef, Manifest]]:
    """Those that each object makes which makes pods; none where its pods are among the objects."""
    there = {owner for ref, m in manifests.items() if ref.kind is POD for owner in _owners(m)}
    for ref, manifest in sorted(manifests.items()):
        controller = CONTROLLERS.get(ref.kind)
        if controller is None or ref in there or _is_over(manifest):
            continue
        planned = controller.planned(Stored(manifest, APPLIED, 0.0))
        for number, create in enumerate(islice(planned, _MOST_REPLICAS)):
            name, template = create.name or pod_name(create.prefix, number), create.template
            metadata = Metadata(
                name=name,
                namespace=ref.namespace,
                labels={**template.metadata.labels, **create.labels},
                annotations={**template.metadata.annotations, **create.annotations},
            )
            pod = Pod(metadata=metadata, spec=template.spec)
            yield ref, Manifest(POD.ref(ref.namespace, name), pod, {}, manifest.source)


def _maker(pod: Manifest, manifests: Mapping[ObjectRef, Manifest]) -> ObjectRef | None:
    """What it may mean, which is there; else the last, as a ReplicaSet is seldom written by hand."""
    meant = tuple(_owners(pod))
    return next((owner for owner in meant if owner in manifests), meant[-1] if meant else None)


def _owners(pod: Manifest) -> Iterator[ObjectRef]:
    return owners_of(pod.ref.namespace, pod.resource.metadata)


def _is_over(manifest: Manifest) -> bool:
    """What a mesh, or a cluster, holds has had the pods that come to an end."""
    return manifest.ref.kind in (JOB, CRON_JOB) and bool(manifest.resource.metadata.creation_timestamp)


def _give_addresses(planned: dict[ObjectRef, Manifest]) -> None:
    pods = {ref: m.resource for ref, m in sorted(planned.items()) if isinstance(m.resource, Pod)}
    taken = {pod.status.pod_ip for pod in pods.values()}
    used = {offset for offset in range(PODS.num_addresses) if str(PODS[offset]) in taken} if any(taken) else set()
    last = 0
    for ref, pod in pods.items():
        if not pod.status.pod_ip:
            last = next_offset(used, last)
            used.add(last)
            status = PodStatus(phase="Running", pod_ip=addresses(last, PODS, None)[0])
            planned[ref] = replace(planned[ref], resource=msgspec.structs.replace(pod, status=status))


def _give_cluster_ips(planned: dict[ObjectRef, Manifest]) -> None:
    services = (Stored(manifest, APPLIED, 0.0) for ref, manifest in planned.items() if ref.kind is SERVICE)
    chosen, _ = allocate(services, {})
    for ref, address in chosen.items():
        service = planned[ref].resource
        if isinstance(service, Service) and not service.spec.cluster_ip:
            spec = msgspec.structs.replace(service.spec, cluster_ip=address)
            planned[ref] = replace(planned[ref], resource=msgspec.structs.replace(service, spec=spec))
