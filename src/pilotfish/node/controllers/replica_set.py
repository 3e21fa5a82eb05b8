"""A ReplicaSet that stands by itself: so many pods; a changed template holds for new ones.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

from pilotfish.config.workloads import ReplicaSet, ReplicaSetSpec, written_template
from pilotfish.node.controllers.values import (
    Create,
    Remove,
    Rollout,
    Scene,
    Step,
    least_useful,
    next_available,
)
from pilotfish.node.store import Stored


def reconcile(stored: Stored, state: None, scene: Scene) -> Step[None]:
    spec, pods = _spec(stored), sorted(scene.staying, key=least_useful)
    look = next_available(spec.min_ready_seconds, pods, scene.now)
    lacking = spec.replicas - len(pods)
    if lacking > 0:
        return Step(None, (_create(stored),) * lacking, look)
    return Step(None, tuple(Remove(pod.ref) for pod in pods[: len(pods) - spec.replicas]), look)


def status(stored: Stored, state: None, scene: Scene) -> dict[str, object]:
    spec, pods = _spec(stored), scene.staying
    return {
        "replicas": len(pods),
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": sum(pod.ready_since is not None for pod in pods),
        "availableReplicas": sum(pod.available(spec.min_ready_seconds, scene.now) for pod in pods),
        "observedGeneration": stored.generation,
    }


def rollout(stored: Stored, state: None, scene: Scene) -> Rollout:
    spec = _spec(stored)
    ready = sum(pod.ready_since is not None for pod in scene.staying)
    done = ready == spec.replicas == len(scene.staying)
    return Rollout(f'replica set "{stored.ref.name}" has {ready} of {spec.replicas} ready pods', done)


def planned(stored: Stored) -> Iterable[Create]:
    return repeat(_create(stored), _spec(stored).replicas)


def _create(stored: Stored) -> Create:
    document = written_template(stored.ref.kind, stored.manifest.document)
    return Create(_spec(stored).template, document, stored.ref.name)


def _spec(stored: Stored) -> ReplicaSetSpec:
    resource = stored.manifest.resource
    if not isinstance(resource, ReplicaSet):
        raise TypeError(f"{stored.ref} is no ReplicaSet")
    return resource.spec
