"""Which workloads a policy holds for, and what holds for a workload: the other way round than proxies ask."""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config import kubernetes
from pilotfish.config.injection import asks_for_gateway
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import effective, labels_of, mesh_config, refs, resource
from pilotfish.mesh.security.selection import covering, in_namespace, of_root, subject_of
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import NAMESPACE, POD, WORKLOAD_ENTRY
from pilotfish.model.proxy import ProxyType


@query(index=True)
def covered(db: Reads, policy: ObjectRef) -> tuple[ObjectRef, ...]:
    """The pods and WorkloadEntries that a policy is for, sorted."""
    everywhere = policy.namespace == mesh_config(db).root_namespace
    by_namespace = _by_namespace(db)
    found = sorted(by_namespace) if everywhere else [policy.namespace]
    subject = subject_of(db, policy)
    return tuple(
        ref
        for namespace in found
        for ref in by_namespace.get(namespace, ())
        if subject.covers(_labels(db, ref), proxy_type(db, ref))
    )


@query(index=True)
def _by_namespace(db: Reads) -> Mapping[str, tuple[ObjectRef, ...]]:
    found: dict[str, list[ObjectRef]] = {}
    for kind in (POD, WORKLOAD_ENTRY):
        for ref in refs(db, kind):
            found.setdefault(ref.namespace, []).append(ref)
    return {namespace: tuple(listed) for namespace, listed in found.items()}


@query(index=True)
def namespaces(db: Reads) -> frozenset[str]:
    """Those that are declared, and those of workloads."""
    return frozenset((*_by_namespace(db), *(ref.name for ref in refs(db, NAMESPACE))))


def policies_for(db: Reads, kind: Kind, workload: ObjectRef) -> tuple[ObjectRef, ...]:
    """Those that hold for a pod or a WorkloadEntry, in order."""
    return policies_with(db, kind, workload.namespace, _labels(db, workload), proxy_type(db, workload))


def policies_with(
    db: Reads, kind: Kind, namespace: str, labels: Mapping[str, str], type: ProxyType
) -> tuple[ObjectRef, ...]:
    return tuple(covering(of_root(db, kind, namespace), in_namespace(db, kind, namespace), labels, type))


def proxy_type(db: Reads, workload: ObjectRef) -> ProxyType:
    pod = resource(db, workload, kubernetes.Pod)
    return ProxyType.ROUTER if pod is not None and asks_for_gateway(pod.metadata, pod.spec) else ProxyType.SIDECAR


def _labels(db: Reads, workload: ObjectRef) -> Mapping[str, str]:
    manifest = effective(db, workload)
    return labels_of(manifest.resource) if manifest is not None else {}
