"""Objects as the API server would show them: what users ask for, and what the node tells discovery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pilotfish.model import ObjectRef
from pilotfish.model.credential import AUTHORITY_FILES, CACERTS, KEYS
from pilotfish.model.kinds import DEPLOYMENT, POD, REPLICA_SET, SECRET, SERVICE
from pilotfish.model.wellknown import DRAINING, SOURCE_ANNOTATION
from pilotfish.node.identity import PodIdentity
from pilotfish.node.pod import Phase
from pilotfish.node.store import Store, Stored

_SECRET_VALUES = ("data", "stringData")


@dataclass(frozen=True, slots=True)
class PodRecord:
    identity: PodIdentity
    phase: Phase
    ready: bool
    deleting: bool
    created_at: float
    draining: bool = False
    """Nobody calls it any more who knows that it ends: its machine's proxy is to end what others still have open."""
    placed: bool = True
    """It is where its machine's proxy can serve it."""


def told_refs(store: Store, cluster_ips: Mapping[ObjectRef, str]) -> list[ObjectRef]:
    """The objects that discovery reads beside the pods, in order. Not among them are a Service without the cluster IP
    that it needs, and a Secret that has nothing to do with TLS."""
    told = (ref for ref in store.objects if ref.kind.discovery and ref.kind is not POD)
    return sorted(ref for ref in told if _is_told(ref, store, cluster_ips))


def render_told(stored: Stored, cluster_ips: Mapping[ObjectRef, str]) -> dict[str, object]:
    """An object as discovery is told of it: of a Secret no more than what TLS needs."""
    document = render(stored, cluster_ips)
    if stored.ref.kind is not SECRET:
        return document
    metadata = {**_mapping(document["metadata"]), "annotations": _own_annotations(document)}
    return {
        **document,
        "metadata": metadata,
        **{name: _credentials(stored.ref, document.get(name)) for name in _SECRET_VALUES},
    }


def _own_annotations(document: Mapping[str, object]) -> dict[str, object]:
    """Those of kubectl's may hold all of the object."""
    return {
        key: value
        for key, value in _mapping(_mapping(document["metadata"]).get("annotations")).items()
        if key == SOURCE_ANNOTATION
    }


def _credentials(ref: ObjectRef, values: object) -> dict[str, object]:
    keys = AUTHORITY_FILES if ref.name == CACERTS else KEYS
    return {key: value for key, value in _mapping(values).items() if key in keys}


def render(stored: Stored, cluster_ips: Mapping[ObjectRef, str]) -> dict[str, object]:
    """An object as it was written, with its namespace, source and cluster IP filled in."""
    document = dict(stored.manifest.document)
    metadata = _metadata(document.get("metadata"))
    if stored.ref.namespace:
        metadata["namespace"] = stored.ref.namespace
    if stored.manifest.source:
        metadata["annotations"] = {
            **_mapping(metadata.get("annotations")),
            SOURCE_ANNOTATION: str(stored.manifest.source),
        }
    metadata["creationTimestamp"] = timestamp(stored.created_at)
    metadata["generation"] = stored.generation
    document["metadata"] = metadata
    if stored.ref in cluster_ips:
        document["spec"] = {**_mapping(document.get("spec")), "clusterIP": cluster_ips[stored.ref]}
    return document


def render_pod(pod: PodRecord) -> dict[str, object]:
    identity = pod.identity
    metadata: dict[str, object] = {
        "name": identity.name,
        "namespace": identity.namespace,
        "uid": identity.uid,
        "labels": dict(identity.labels),
        "annotations": {**identity.annotations, **({SOURCE_ANNOTATION: identity.source} if identity.source else {})},
        "creationTimestamp": timestamp(pod.created_at),
    }
    if identity.owner:
        metadata["ownerReferences"] = [_owner_reference(identity.owner, identity.template_hash)]
    if pod.deleting:
        metadata["deletionTimestamp"] = timestamp(pod.created_at)
    return {
        "apiVersion": POD.api_versions[0],
        "kind": POD.name,
        "metadata": metadata,
        "spec": {
            **_mapping(identity.document.get("spec")),
            **({"nodeName": identity.node_name} if pod.placed else {}),
        },
        "status": {
            "phase": pod.phase,
            "podIP": identity.addresses[0],
            "podIPs": [{"ip": address} for address in identity.addresses],
            "hostIP": identity.host_ip,
            "conditions": [
                {"type": "Ready", "status": "True" if pod.ready else "False"},
                *([{"type": DRAINING, "status": "True"}] if pod.draining else []),
            ],
        },
    }


def _owner_reference(owner: ObjectRef, template_hash: str) -> dict[str, object]:
    """A Deployment's pods are its ReplicaSets'."""
    kind, name = (
        (REPLICA_SET, f"{owner.name}-{template_hash}") if owner.kind is DEPLOYMENT else (owner.kind, owner.name)
    )
    return {"apiVersion": kind.api_versions[0], "kind": kind.name, "name": name, "controller": True}


def timestamp(seconds: float) -> str:
    """RFC 3339, as Kubernetes writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_told(ref: ObjectRef, store: Store, cluster_ips: Mapping[ObjectRef, str]) -> bool:
    if ref.kind is SECRET:
        document = store.objects[ref].manifest.document
        return ref.name == CACERTS or any(_credentials(ref, document.get(name)) for name in _SECRET_VALUES)
    return ref.kind is not SERVICE or _usable(ref, store, cluster_ips)


def _usable(ref: ObjectRef, store: Store, cluster_ips: Mapping[ObjectRef, str]) -> bool:
    spec = _mapping(store.objects[ref].manifest.document.get("spec"))
    return ref in cluster_ips or spec.get("clusterIP") == "None" or spec.get("type") == "ExternalName"


def _metadata(value: object) -> dict[str, object]:
    return dict(_mapping(value))


def _mapping(value: object) -> dict[str, object]:
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}
