"""Which annotation of a pod leads a connection past its proxy."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.capture.rule import parse_rule, split_words
from pilotfish.config.workloads import owners_of, pod_field
from pilotfish.explain.trace import Step
from pilotfish.inject.whose import annotation_of
from pilotfish.model import FieldRef, ObjectRef
from pilotfish.model.kinds import POD
from pilotfish.offline.owners.facts import Known

_PASSES = "accepted as it is"


def find_annotation(known: Known, step: Step) -> Iterator[FieldRef]:
    """Of a step in a pod's rules: nothing where the pod asks for none, or the connection goes to the proxy."""
    name, _, namespace = step.pod.rpartition(".")
    pod = known.mesh.desired.manifests.get(POD.ref(namespace, name))
    if pod is None or step.evidence.get("verdict") != _PASSES:
        return
    text = str(step.evidence.get("rule", ""))
    rule = parse_rule(split_words(text)) if text else None
    chain = step.name.split("/")[1] if "/" in step.name else ""
    found = annotation_of(chain, rule, pod.resource.metadata.annotations)
    if found:
        workload = _workload(known, pod.ref)
        yield FieldRef(workload, pod_field(workload.kind, f"metadata.annotations[{found}]"))


def _workload(known: Known, pod: ObjectRef) -> ObjectRef:
    """Whose pod it is, as the user wrote it."""
    found = known.workloads.get(f"{pod.name}.{pod.namespace}", pod)
    if found.kind is not POD:
        return found
    refs = owners_of(pod.namespace, known.mesh.desired.manifests[pod].resource.metadata)
    return next((ref for ref in refs if ref in known.desired.manifests), found)
