"""A StatefulSet: pods with names that stay, one after the other, each with claims of its own.

As in Kubernetes, but that a pod which is not ready holds up no newer template: there, a set whose pods can't start
waits until somebody deletes them.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/ and updateStatefulSet in Kubernetes'
pkg/controller/statefulset/stateful_set_control.go
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.config.kubernetes import ClaimVolume, PodTemplate, Volume
from pilotfish.config.workloads import (
    StatefulSet,
    StatefulSetSpec,
    written_template,
)
from pilotfish.model import ObjectRef
from pilotfish.node.controllers.claim_templates import build_claim, claim_refs, ordinal_of
from pilotfish.node.controllers.values import (
    REVISION_LABEL,
    Action,
    Create,
    Delete,
    Make,
    PodFacts,
    Remove,
    Rollout,
    Scene,
    Step,
    count_share,
    next_available,
    template_hash,
    with_spec,
)
from pilotfish.node.store import Stored

_POD_NAME: Final = "statefulset.kubernetes.io/pod-name"
_POD_INDEX: Final = "apps.kubernetes.io/pod-index"


@dataclass(frozen=True, slots=True)
class Revision:
    hash: str
    template: PodTemplate
    document: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class StatefulSetState:
    current: Revision
    """Of the last template that all pods had: those below `partition` are made from it."""
    made: frozenset[ObjectRef] = frozenset()
    """The claims of the pods that there were."""


def reconcile(stored: Stored, state: StatefulSetState | None, scene: Scene) -> Step[StatefulSetState]:
    spec, update = _spec(stored), _update(stored)
    state = state or StatefulSetState(update)
    if _is_updated(spec, update, scene):
        state = replace(state, current=update)
    pods = {pod.ordinal: pod for pod in scene.pods}
    wanted = _ordinals(spec)
    actions: list[Action] = [*_grow(stored, state.current, update, pods, scene)]
    if not actions:
        actions += _shrink(spec, [pod for ordinal, pod in sorted(pods.items()) if ordinal not in wanted], pods, scene)
    if not actions:
        actions += _roll(spec, update, [pod for ordinal, pod in sorted(pods.items()) if ordinal in wanted], scene)
    kept = state.made | {each.manifest.ref for each in actions if isinstance(each, Make)}
    if spec.persistent_volume_claim_retention_policy.when_scaled == "Delete":
        spare = {ref for ref in kept if (ordinal := ordinal_of(ref)) not in wanted and ordinal not in pods}
        actions += [Delete(ref) for ref in sorted(spare)]
        kept -= spare
    look = next_available(spec.min_ready_seconds, scene.staying, scene.now)
    return Step(replace(state, made=frozenset(kept)), tuple(actions), look)


def left_claims(stored: Stored, state: StatefulSetState) -> tuple[ObjectRef, ...]:
    """The claims that go with the set."""
    policy = _spec(stored).persistent_volume_claim_retention_policy
    return tuple(sorted(state.made)) if policy.when_deleted == "Delete" else ()


def status(stored: Stored, state: StatefulSetState | None, scene: Scene) -> dict[str, object]:
    spec, pods, update = _spec(stored), scene.staying, template_hash(_spec(stored).template)
    current = state.current.hash if state is not None else update
    return {
        "replicas": len(pods),
        "readyReplicas": sum(pod.ready_since is not None for pod in pods),
        "availableReplicas": sum(pod.available(spec.min_ready_seconds, scene.now) for pod in pods),
        "currentReplicas": sum(pod.hash == current for pod in pods),
        "updatedReplicas": sum(pod.hash == update for pod in pods),
        "currentRevision": f"{stored.ref.name}-{current}",
        "updateRevision": f"{stored.ref.name}-{update}",
        "observedGeneration": stored.generation,
    }


def rollout(stored: Stored, state: StatefulSetState | None, scene: Scene) -> Rollout:
    """Source: k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go"""
    spec, pods, update = _spec(stored), scene.staying, template_hash(_spec(stored).template)
    ready = sum(pod.ready_since is not None for pod in pods)
    settled = ready == len(scene.pods) == spec.replicas
    if spec.update_strategy.type == "OnDelete":
        return Rollout("rollout status is only available for RollingUpdate strategy type", settled)
    if ready < spec.replicas:
        return Rollout(f"Waiting for {spec.replicas - ready} pods to be ready...", False)
    updated = sum(pod.hash == update for pod in pods)
    ordinals = _ordinals(spec)
    expected = len(range(max(ordinals.start, spec.update_strategy.rolling_update.partition), ordinals.stop))
    if expected < spec.replicas:
        if updated < expected:
            what = f"{updated} out of {expected} new pods have been updated..."
            return Rollout(f"Waiting for partitioned roll out to finish: {what}", False)
        return Rollout(f"partitioned roll out complete: {updated} new pods have been updated...", settled)
    at = f"pods at revision {stored.ref.name}-{update}..."
    if updated < spec.replicas:
        return Rollout(f"waiting for statefulset rolling update to complete {updated} {at}", False)
    return Rollout(f"statefulset rolling update complete {updated} {at}", settled)


def planned(stored: Stored) -> Iterable[Create]:
    revision = _update(stored)
    return (_create(stored, revision, ordinal) for ordinal in _ordinals(_spec(stored)))


def _grow(
    stored: Stored, current: Revision, update: Revision, pods: Mapping[int, PodFacts], scene: Scene
) -> Iterator[Action]:
    """The pods that lack; in order, each when all before it are available."""
    spec = _spec(stored)
    rolls = spec.update_strategy.type == "RollingUpdate"
    partition = spec.update_strategy.rolling_update.partition if rolls else 0
    for ordinal in _ordinals(spec):
        pod = pods.get(ordinal)
        if pod is None:
            revision = update if ordinal >= partition else current
            for ref, template in zip(claim_refs(stored.ref, spec, ordinal), spec.volume_claim_templates, strict=True):
                yield Make(build_claim(stored, spec, ref, template))
            yield _create(stored, revision, ordinal)
        if spec.pod_management_policy == "OrderedReady" and (pod is None or not _is_fine(spec, pod, scene)):
            return


def _shrink(
    spec: StatefulSetSpec, condemned: Sequence[PodFacts], pods: Mapping[int, PodFacts], scene: Scene
) -> Iterator[Action]:
    """Those with the highest ordinals first, each when the one after it is gone, and none while another lacks."""
    if spec.pod_management_policy == "Parallel":
        yield from (Remove(pod.ref) for pod in condemned if not pod.leaving)
        return
    if not condemned or any(pod.leaving for pod in pods.values()):
        return
    last = condemned[-1]
    others = [pod for pod in pods.values() if pod is not last]
    if all(_is_fine(spec, pod, scene) for pod in others) or not _is_fine(spec, last, scene):
        yield Remove(last.ref)


def _roll(spec: StatefulSetSpec, update: Revision, pods: Sequence[PodFacts], scene: Scene) -> Iterator[Action]:
    """From the highest ordinal down to the partition, as many at once as may be unavailable."""
    if spec.update_strategy.type == "OnDelete":
        return
    rolling = spec.update_strategy.rolling_update
    room = max(count_share(rolling.max_unavailable, spec.replicas, up=True), 1)
    for pod in reversed(pods):
        if pod.ordinal < rolling.partition or room <= 0:
            return
        if pod.leaving:
            room -= 1
        elif pod.hash != update.hash:
            yield Remove(pod.ref)
            room -= 1
        elif not _is_fine(spec, pod, scene):
            room -= 1


def _is_updated(spec: StatefulSetSpec, update: Revision, scene: Scene) -> bool:
    fine = [pod for pod in scene.pods if pod.hash == update.hash and _is_fine(spec, pod, scene)]
    return len(fine) == len(scene.pods) == spec.replicas


def _is_fine(spec: StatefulSetSpec, pod: PodFacts, scene: Scene) -> bool:
    return not pod.leaving and pod.available(spec.min_ready_seconds, scene.now)


def _create(stored: Stored, revision: Revision, ordinal: int) -> Create:
    """With its name, its host name in the Service, and its claims in the place of volumes of their names."""
    spec, name = _spec(stored), f"{stored.ref.name}-{ordinal}"
    claims = {
        template.metadata.name: ref.name
        for template, ref in zip(spec.volume_claim_templates, claim_refs(stored.ref, spec, ordinal), strict=True)
    }
    volumes = [volume for volume in revision.template.spec.volumes if volume.name not in claims]
    volumes += [
        Volume(name=volume, persistent_volume_claim=ClaimVolume(claim_name=claim)) for volume, claim in claims.items()
    ]
    written = [
        *(each for each in _written_volumes(revision.document) if each.get("name") not in claims),
        *({"name": volume, "persistentVolumeClaim": {"claimName": claim}} for volume, claim in claims.items()),
    ]
    subdomain = spec.service_name or revision.template.spec.subdomain
    create = Create(
        revision.template,
        revision.document,
        stored.ref.name,
        name=name,
        hash=revision.hash,
        labels={REVISION_LABEL: f"{stored.ref.name}-{revision.hash}", _POD_NAME: name, _POD_INDEX: str(ordinal)},
    )
    fields = {"hostname": name, "subdomain": subdomain}
    return with_spec(create, {**fields, "volumes": tuple(volumes)}, {**fields, "volumes": written})


def _written_volumes(document: Mapping[str, object]) -> list[Mapping[str, object]]:
    spec = document.get("spec")
    found = spec.get("volumes") if isinstance(spec, Mapping) else None
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _ordinals(spec: StatefulSetSpec) -> range:
    return range(spec.ordinals.start, spec.ordinals.start + spec.replicas)


def _update(stored: Stored) -> Revision:
    spec = _spec(stored)
    return Revision(
        template_hash(spec.template), spec.template, written_template(stored.ref.kind, stored.manifest.document)
    )


def _spec(stored: Stored) -> StatefulSetSpec:
    resource = stored.manifest.resource
    if not isinstance(resource, StatefulSet):
        raise TypeError(f"{stored.ref} is no StatefulSet")
    return resource.spec
