"""Problems of PeerAuthentications: those that count for nobody, or less far than they say."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import Labels, mesh_config, resource
from pilotfish.mesh.policy.peer_authentication import for_namespace, for_workload, in_namespace
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.registry.workloads import workload, workloads_selected
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import POD


@query
def peer_authentication_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.PeerAuthentication)
    if found is None:
        return ()
    choice = in_namespace(db, ref.namespace)
    labels = dict(choice).get(ref, ())
    if labels and ref.namespace == mesh_config(db).root_namespace:
        text = (
            f"one with a selector has no effect in the root namespace {ref.namespace}, as in Istio; put it into the "
            "namespace of the workloads, or remove the selector"
        )
        return (warning(db, ref, "spec.selector", "RootSelector", text),)
    if labels:
        return tuple(_of_workloads(db, ref, labels))
    first = for_namespace(choice)
    return () if first is None or first == ref else (_later(db, ref, first, f"for all of {ref.namespace}"),)


def _of_workloads(db: Reads, ref: ObjectRef, labels: Labels) -> Iterator[Problem]:
    pods = tuple(each for each in workloads_selected(db, ref.namespace, labels) if each.kind is POD)
    if not pods:
        written = ",".join(f"{key}={value}" for key, value in labels)
        text = f"no pod of namespace {ref.namespace} has the labels {written}, so it has no effect; correct the labels"
        yield warning(db, ref, "spec.selector.matchLabels", "NoWorkloads", text)
    choice = in_namespace(db, ref.namespace)
    for pod in pods:
        known = workload(db, pod)
        first = for_workload(choice, known.labels) if known is not None else None
        if first is not None and first != ref:
            yield _later(db, ref, first, f"for {pod.name}")
            return


def _later(db: Reads, ref: ObjectRef, first: ObjectRef, whom: str) -> Problem:
    text = f"{first} is older and {whom} too, so this one has no effect there; merge the two, or remove one"
    return warning(db, ref, "spec.selector", "ConflictingPeerAuthentication", text)
