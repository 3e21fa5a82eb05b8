"""Which pods a Deployment wants, in Kubernetes' way: a replica set for each pod template, rolling updates between them.

Pods that are being removed count for nothing, as in Kubernetes. Unlike there, a Deployment that is scaled in the middle
of a rollout is not scaled in proportion: the rollout goes on towards the new number.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from pilotfish.config.kubernetes import Deployment, DeploymentSpec, PodTemplate
from pilotfish.config.workloads import written_template
from pilotfish.model import ObjectRef
from pilotfish.node.controllers.values import (
    Create,
    Now,
    PodFacts,
    Remove,
    Rollout,
    Scene,
    Step,
    condition,
    count_share,
    least_useful,
    next_available,
    template_hash,
)
from pilotfish.node.store import Stored


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    hash: str
    """`pod-template-hash`."""
    template: PodTemplate
    document: Mapping[str, object]
    """The template as it was written."""
    revision: int
    created_at: float = 0.0
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentState:
    ref: ObjectRef
    replica_sets: tuple[ReplicaSet, ...] = ()
    """Oldest first; the last one with the Deployment's template is the new one."""
    progressed_at: float = 0.0
    """When the rollout last came nearer to its end; the progress deadline counts from it."""
    seen: tuple[int, int, int] = (0, 0, 0)
    """Updated, ready and available pods, when last looked at."""


@dataclass(frozen=True, slots=True)
class Counts:
    """As in a Deployment's status."""

    desired: int
    total: int
    updated: int
    ready: int
    available: int
    updated_available: int


def reconcile(stored: Stored, state: DeploymentState | None, scene: Scene) -> Step[DeploymentState]:
    """One step towards what it asks. Ask again when pods changed."""
    spec = _spec(stored)
    state = state or DeploymentState(stored.ref, progressed_at=scene.now.loop)
    document = written_template(stored.ref.kind, stored.manifest.document)
    leaving = len(scene.pods) - len(scene.staying)
    state, actions = plan(spec, document, state, scene.staying, scene.now, leaving)
    return Step(state, actions, next_available(spec.min_ready_seconds, scene.staying, scene.now))


def status(stored: Stored, state: DeploymentState | None, scene: Scene) -> dict[str, object]:
    spec, counts = _spec(stored), count(_spec(stored), scene.staying, scene.now)
    _, unavailable = bounds(spec)
    enough = counts.available >= spec.replicas - unavailable
    said = rollout(stored, state, scene)
    progress = "ProgressDeadlineExceeded" if said.failed else "ReplicaSetUpdated"
    progress = "NewReplicaSetAvailable" if said.done else progress
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    return {
        "replicas": counts.total,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": max(counts.desired - counts.available, 0),
        "observedGeneration": stored.generation,
        "conditions": [
            condition("Available", enough, reason),
            condition("Progressing", not said.failed, progress, said.message),
        ],
    }


def rollout(stored: Stored, state: DeploymentState | None, scene: Scene) -> Rollout:
    spec, now = _spec(stored), scene.now
    counts = count(spec, scene.staying, now)
    state = state or DeploymentState(stored.ref, progressed_at=now.loop)
    message = rollout_message(stored.ref.name, spec, state, counts, now)
    return Rollout(message, is_complete(counts), is_overdue(spec, state, counts, now))


def planned(stored: Stored) -> Iterable[Create]:
    template = _spec(stored).template
    document = written_template(stored.ref.kind, stored.manifest.document)
    return repeat(_create(stored.ref, template_hash(template), template, document), _spec(stored).replicas)


def _create(owner: ObjectRef, hashed: str, template: PodTemplate, document: Mapping[str, object]) -> Create:
    return Create(template, document, f"{owner.name}-{hashed}", hash=hashed, labels={"pod-template-hash": hashed})


def _spec(stored: Stored) -> DeploymentSpec:
    resource = stored.manifest.resource
    if not isinstance(resource, Deployment):
        raise TypeError(f"{stored.ref} is no Deployment")
    return resource.spec


def plan(
    spec: DeploymentSpec,
    document: Mapping[str, object],
    state: DeploymentState,
    pods: Sequence[PodFacts],
    now: Now,
    leaving: int = 0,
) -> tuple[DeploymentState, tuple[Create | Remove, ...]]:
    """`document` is its pod template as written, `leaving` counts its pods that are being removed, which are not among
    `pods`."""
    if not spec.paused:
        state = _with_new(spec, document, state, now)
    if spec.paused:
        wanted = _paused(spec, state)
    elif spec.strategy.type == "Recreate":
        wanted = _recreate(spec, state, pods, leaving)
    else:
        wanted = _roll(spec, state, pods, now)
    sets = tuple(replace(rs, replicas=wanted[rs.hash]) for rs in state.replica_sets)
    state = _progress(spec, replace(state, replica_sets=_forget(spec, sets, pods)), pods, now)
    actions = [action for rs in sets for action in _resize(state.ref, rs, pods)]
    return state, tuple(actions)


def count(spec: DeploymentSpec, pods: Sequence[PodFacts], now: Now) -> Counts:
    new = template_hash(spec.template)
    available = [p for p in pods if p.available(spec.min_ready_seconds, now)]
    return Counts(
        desired=spec.replicas,
        total=len(pods),
        updated=sum(p.hash == new for p in pods),
        ready=sum(p.ready_since is not None for p in pods),
        available=len(available),
        updated_available=sum(p.hash == new for p in available),
    )


def rollout_message(name: str, spec: DeploymentSpec, state: DeploymentState, counts: Counts, now: Now) -> str:
    """What `kubectl rollout status` says. Source: k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go"""
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if is_complete(counts):
        return f'deployment "{name}" successfully rolled out'
    if is_overdue(spec, state, counts, now):
        return f'error: deployment "{name}" exceeded its progress deadline'
    if counts.updated < counts.desired:
        return f"{waiting}{counts.updated} out of {counts.desired} new replicas have been updated..."
    if counts.total > counts.updated:
        return f"{waiting}{counts.total - counts.updated} old replicas are pending termination..."
    return f"{waiting}{counts.updated_available} of {counts.updated} updated replicas are available..."


def is_complete(counts: Counts) -> bool:
    return counts.updated == counts.desired == counts.total == counts.updated_available


def is_overdue(spec: DeploymentSpec, state: DeploymentState, counts: Counts, now: Now) -> bool:
    return not (spec.paused or is_complete(counts)) and now.loop - state.progressed_at > spec.progress_deadline_seconds


def _with_new(
    spec: DeploymentSpec, document: Mapping[str, object], state: DeploymentState, now: Now
) -> DeploymentState:
    """The state with the replica set of the Deployment's template at its end; an old one is taken up again."""
    new = template_hash(spec.template)
    sets = state.replica_sets
    if sets and sets[-1].hash == new:
        return state
    revision = max((rs.revision for rs in sets), default=0) + 1
    found = next((rs for rs in sets if rs.hash == new), None)
    latest = (
        replace(found, revision=revision) if found else ReplicaSet(new, spec.template, document, revision, now.loop)
    )
    others = tuple(rs for rs in sets if rs.hash != new)
    return replace(state, replica_sets=(*others, latest), progressed_at=now.loop)


def _paused(spec: DeploymentSpec, state: DeploymentState) -> dict[str, int]:
    """No rollout: the newest replica set in use alone grows or shrinks; without one nothing is made."""
    wanted = {rs.hash: rs.replicas for rs in state.replica_sets}
    in_use = next((rs for rs in reversed(state.replica_sets) if rs.replicas), None)
    if in_use:
        others = sum(wanted.values()) - in_use.replicas
        wanted[in_use.hash] = max(spec.replicas - others, 0)
    return wanted


def _recreate(spec: DeploymentSpec, state: DeploymentState, pods: Sequence[PodFacts], leaving: int) -> dict[str, int]:
    """All old pods are gone before the first new one comes."""
    new = state.replica_sets[-1]
    blocked = any(p.hash != new.hash for p in pods) or (leaving > 0 and not new.replicas)
    return {rs.hash: 0 for rs in state.replica_sets} | {new.hash: 0 if blocked else spec.replicas}


def _roll(spec: DeploymentSpec, state: DeploymentState, pods: Sequence[PodFacts], now: Now) -> dict[str, int]:
    """Kubernetes' rolling update: surge with new pods, then take away old ones as far as enough are available."""
    surge, unavailable = bounds(spec)
    new = state.replica_sets[-1]
    wanted = {rs.hash: rs.replicas for rs in state.replica_sets}
    room = spec.replicas + surge - sum(wanted.values())
    wanted[new.hash] = min(spec.replicas, wanted[new.hash] + max(room, 0))
    ready = {
        rs.hash: sum(p.available(spec.min_ready_seconds, now) for p in pods if p.hash == rs.hash)
        for rs in state.replica_sets
    }
    must_stay = spec.replicas - unavailable
    old = state.replica_sets[:-1]
    spare = sum(wanted.values()) - must_stay - max(wanted[new.hash] - ready[new.hash], 0)
    for rs in old:  # those that are not available go first: they are of no use to anybody
        gone = min(max(spare, 0), max(wanted[rs.hash] - ready[rs.hash], 0))
        wanted[rs.hash] -= gone
        spare -= gone
    spare = min(spare, sum(min(ready[h], n) for h, n in wanted.items()) - must_stay)
    for rs in old:
        gone = min(max(spare, 0), wanted[rs.hash])
        wanted[rs.hash] -= gone
        spare -= gone
    return wanted


def bounds(spec: DeploymentSpec) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; of a percentage, surge is rounded up, unavailable down; never both 0."""
    rolling = spec.strategy.rolling_update
    surge = count_share(rolling.max_surge, spec.replicas, up=True)
    unavailable = count_share(rolling.max_unavailable, spec.replicas, up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _resize(owner: ObjectRef, rs: ReplicaSet, pods: Sequence[PodFacts]) -> list[Create | Remove]:
    """Create what lacks, or remove what is too much: pods that are not ready first, then the youngest."""
    mine = sorted((p for p in pods if p.hash == rs.hash), key=least_useful)
    lacking = rs.replicas - len(mine)
    if lacking > 0:
        return [_create(owner, rs.hash, rs.template, rs.document)] * lacking
    return [Remove(p.ref) for p in mine[: len(mine) - rs.replicas]]


def _forget(spec: DeploymentSpec, sets: tuple[ReplicaSet, ...], pods: Sequence[PodFacts]) -> tuple[ReplicaSet, ...]:
    """Without the oldest empty replica sets beyond `revisionHistoryLimit`."""
    used = {p.hash for p in pods}
    empty = [rs for rs in sets[:-1] if not rs.replicas and rs.hash not in used]
    doomed = empty[: max(len(empty) - spec.revision_history_limit, 0)]
    return tuple(rs for rs in sets if rs not in doomed)


def _progress(spec: DeploymentSpec, state: DeploymentState, pods: Sequence[PodFacts], now: Now) -> DeploymentState:
    counts = count(spec, pods, now)
    seen = (counts.updated, counts.ready, counts.available)
    return state if seen == state.seen else replace(state, seen=seen, progressed_at=now.loop)
