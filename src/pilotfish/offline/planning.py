"""What a mesh on one machine adds to the user's objects: gateways, cluster IPs, and pods with addresses.

Cluster IPs are those that `up` would give. The addresses of pods come from its first subnet, in the order of the pods'
names; `up` gives them in the order in which pods come to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Final

import msgspec

from pilotfish.config.kubernetes import Metadata, Pod, PodStatus, PodTemplate, Service
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import POD, SERVICE
from pilotfish.node.addresses import addresses, next_offset
from pilotfish.node.deployments import pod_name, template_hash
from pilotfish.node.gateways import with_gateways
from pilotfish.node.services import allocate
from pilotfish.node.store import APPLIED, Stored

PODS: Final = IPv4Network("10.244.0.0/16")
_MOST_REPLICAS = 1_000
"""Of one workload: more change nothing in what its clients are sent but the list of addresses."""


def plan(
    manifests: Mapping[ObjectRef, Manifest], config: MeshConfig
) -> tuple[dict[ObjectRef, Manifest], dict[ObjectRef, ObjectRef]]:
    """(the objects with all that is added, the workload that each added pod is one of)."""
    owners: dict[ObjectRef, ObjectRef] = {}
    planned = dict(with_gateways(manifests, config))
    for workload, pod in _pods_of_workloads(dict(planned)):
        planned[pod.ref] = pod
        owners[pod.ref] = workload
    _give_addresses(planned)
    _give_cluster_ips(planned)
    return planned, owners


def _pods_of_workloads(manifests: Mapping[ObjectRef, Manifest]) -> Iterator[tuple[ObjectRef, Manifest]]:
    """Whatever has a template of pods has so many; none where its pods are among the objects."""
    there = set(_controllers(manifests.values()))
    for ref, manifest in sorted(manifests.items()):
        spec = getattr(manifest.resource, "spec", None)
        template = getattr(spec, "template", None)
        if not isinstance(template, PodTemplate) or (ref.namespace, ref.name) in there:
            continue
        hashed = template_hash(template)
        for number in range(min(getattr(spec, "replicas", 1), _MOST_REPLICAS)):
            name = pod_name(ref.name, hashed, number)
            metadata = Metadata(
                name=name,
                namespace=ref.namespace,
                labels={**template.metadata.labels, "pod-template-hash": hashed},
                annotations=template.metadata.annotations,
            )
            pod = POD.ref(ref.namespace, name)
            yield ref, Manifest(pod, Pod(metadata=metadata, spec=template.spec), {}, manifest.source)


def _controllers(manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """(namespace, name) of the workloads whose pods are written: a ReplicaSet is called after its Deployment."""
    for manifest in manifests:
        if manifest.ref.kind is POD:
            for owner in manifest.resource.metadata.owner_references:
                name = owner.name.rpartition("-")[0] if owner.kind == "ReplicaSet" else owner.name
                yield manifest.ref.namespace, name


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
