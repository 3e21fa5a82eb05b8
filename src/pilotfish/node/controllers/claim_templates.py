"""The claims of a StatefulSet's pods: one of each template for each pod, which finds it again.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-storage
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.kubernetes import Metadata
from pilotfish.config.manifest import Manifest
from pilotfish.config.workloads import ClaimTemplate, PersistentVolumeClaim, StatefulSetSpec
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import PERSISTENT_VOLUME_CLAIM
from pilotfish.node.store import Stored


def claim_refs(owner: ObjectRef, spec: StatefulSetSpec, ordinal: int) -> list[ObjectRef]:
    return [
        PERSISTENT_VOLUME_CLAIM.ref(owner.namespace, f"{each.metadata.name}-{owner.name}-{ordinal}")
        for each in spec.volume_claim_templates
    ]


def ordinal_of(claim: ObjectRef) -> int:
    return int(claim.name.rpartition("-")[2])


def build_claim(stored: Stored, spec: StatefulSetSpec, ref: ObjectRef, template: ClaimTemplate) -> Manifest:
    """It is nobody's: it stays when the set goes, unless the set says otherwise."""
    labels = {**spec.selector.match_labels, **template.metadata.labels}
    metadata = Metadata(
        name=ref.name, namespace=ref.namespace, labels=labels, annotations=template.metadata.annotations
    )
    written = _written(stored, template.metadata.name)
    document = {
        "apiVersion": ref.kind.api_versions[0],
        "kind": ref.kind.name,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": labels,
            "annotations": metadata.annotations,
        },
        "spec": written.get("spec") or {},
    }
    return Manifest(ref, PersistentVolumeClaim(metadata=metadata, spec=template.spec), document, stored.manifest.source)


def _written(stored: Stored, name: str) -> Mapping[str, object]:
    spec = stored.manifest.document.get("spec")
    found = spec.get("volumeClaimTemplates") if isinstance(spec, Mapping) else None
    for each in found if isinstance(found, list) else []:
        metadata = each.get("metadata") if isinstance(each, Mapping) else None
        if isinstance(metadata, Mapping) and metadata.get("name") == name:
            return dict(each)
    return {}
