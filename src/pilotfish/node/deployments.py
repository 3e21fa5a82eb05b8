"""Which pods a Deployment wants, in Kubernetes' way: a replica set for each pod template, rolling updates between them.

    (Deployment, its DeploymentState, its pods, now) ─reconcile─▶ (DeploymentState, Create | Remove ...)

Pods that are being removed count for nothing, as in Kubernetes. Unlike there, a Deployment that is scaled in the middle
of a rollout is not scaled in proportion: the rollout goes on towards the new number.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from pilotfish.config.kubernetes import DeploymentSpec, PodTemplate
from pilotfish.config.values import IntOrString
from pilotfish.model import ObjectRef

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own for generated names: no vowels, so no words.
Source: k8s.io/apimachinery/pkg/util/rand"""


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
class PodFacts:
    """What this module needs to know of a pod that is not being removed."""

    ref: ObjectRef
    hash: str
    ready_since: float | None
    """None while it is not ready."""
    created_at: float


@dataclass(frozen=True, slots=True)
class Create:
    owner: ObjectRef
    hash: str
    template: PodTemplate
    document: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Remove:
    pod: ObjectRef


@dataclass(frozen=True, slots=True)
class Counts:
    """As in a Deployment's status."""

    desired: int
    total: int
    updated: int
    ready: int
    available: int
    updated_available: int


def reconcile(
    spec: DeploymentSpec,
    document: Mapping[str, object],
    state: DeploymentState,
    pods: Sequence[PodFacts],
    now: float,
    leaving: int = 0,
) -> tuple[DeploymentState, tuple[Create | Remove, ...]]:
    """One step towards what `spec` asks; `document` is its pod template as written, `leaving` counts its pods that are
    being removed. Ask again when pods changed."""
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


def next_look(spec: DeploymentSpec, pods: Sequence[PodFacts], now: float) -> float | None:
    """When a ready pod becomes available, which no event tells; None if there is no such time."""
    times = [p.ready_since + spec.min_ready_seconds for p in pods if p.ready_since is not None]
    return min((t for t in times if t > now), default=None)


def count(spec: DeploymentSpec, pods: Sequence[PodFacts], now: float) -> Counts:
    new = template_hash(spec.template)
    available = [p for p in pods if _available(spec, p, now)]
    return Counts(
        desired=spec.replicas,
        total=len(pods),
        updated=sum(p.hash == new for p in pods),
        ready=sum(p.ready_since is not None for p in pods),
        available=len(available),
        updated_available=sum(p.hash == new for p in available),
    )


def rollout_message(name: str, spec: DeploymentSpec, state: DeploymentState, counts: Counts, now: float) -> str:
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


def is_overdue(spec: DeploymentSpec, state: DeploymentState, counts: Counts, now: float) -> bool:
    return not (spec.paused or is_complete(counts)) and now - state.progressed_at > spec.progress_deadline_seconds


def template_hash(template: PodTemplate) -> str:
    """The label `pod-template-hash`: of what the template says, however it is written."""
    digest = hashlib.sha256(msgspec.json.encode(template, enc_hook=repr, order="sorted")).digest()
    return safe_name(int.from_bytes(digest[:4]), 10)


def safe_name(number: int, length: int) -> str:
    """`number` in letters that make no words: the way a pod's name ends."""
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters).rstrip("b") or "b"


def pod_name(deployment: str, template: str, sequence: int) -> str:
    """`calculator-v1-5d4f8c7b9-x2k5q`; `sequence` is another one for each pod of the mesh."""
    digest = hashlib.sha256(f"{deployment}/{template}/{sequence}".encode()).digest()
    suffix = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:5])
    return f"{deployment}-{template}-{suffix}"


def _with_new(
    spec: DeploymentSpec, document: Mapping[str, object], state: DeploymentState, now: float
) -> DeploymentState:
    """The state with the replica set of the Deployment's template at its end; an old one is taken up again."""
    new = template_hash(spec.template)
    sets = state.replica_sets
    if sets and sets[-1].hash == new:
        return state
    revision = max((rs.revision for rs in sets), default=0) + 1
    found = next((rs for rs in sets if rs.hash == new), None)
    latest = replace(found, revision=revision) if found else ReplicaSet(new, spec.template, document, revision, now)
    others = tuple(rs for rs in sets if rs.hash != new)
    return replace(state, replica_sets=(*others, latest), progressed_at=now)


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


def _roll(spec: DeploymentSpec, state: DeploymentState, pods: Sequence[PodFacts], now: float) -> dict[str, int]:
    """Kubernetes' rolling update: surge with new pods, then take away old ones as far as enough are available."""
    surge, unavailable = bounds(spec)
    new = state.replica_sets[-1]
    wanted = {rs.hash: rs.replicas for rs in state.replica_sets}
    room = spec.replicas + surge - sum(wanted.values())
    wanted[new.hash] = min(spec.replicas, wanted[new.hash] + max(room, 0))
    ready = {rs.hash: sum(_available(spec, p, now) for p in pods if p.hash == rs.hash) for rs in state.replica_sets}
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
    surge = _pods(rolling.max_surge, spec.replicas, up=True)
    unavailable = _pods(rolling.max_unavailable, spec.replicas, up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _pods(value: IntOrString, replicas: int, *, up: bool) -> int:
    if isinstance(value.value, int):
        return max(value.value, 0)
    percent = value.value.removesuffix("%")
    if not percent.isdecimal():
        return 1
    share = int(percent) * replicas / 100
    return math.ceil(share) if up else math.floor(share)


def _available(spec: DeploymentSpec, pod: PodFacts, now: float) -> bool:
    return pod.ready_since is not None and pod.ready_since + spec.min_ready_seconds <= now


def _resize(owner: ObjectRef, rs: ReplicaSet, pods: Sequence[PodFacts]) -> list[Create | Remove]:
    """Create what lacks, or remove what is too much: pods that are not ready first, then the youngest."""
    mine = sorted((p for p in pods if p.hash == rs.hash), key=lambda p: (p.ready_since is not None, -p.created_at))
    lacking = rs.replicas - len(mine)
    if lacking > 0:
        return [Create(owner, rs.hash, rs.template, rs.document)] * lacking
    return [Remove(p.ref) for p in mine[: len(mine) - rs.replicas]]


def _forget(spec: DeploymentSpec, sets: tuple[ReplicaSet, ...], pods: Sequence[PodFacts]) -> tuple[ReplicaSet, ...]:
    """Without the oldest empty replica sets beyond `revisionHistoryLimit`."""
    used = {p.hash for p in pods}
    empty = [rs for rs in sets[:-1] if not rs.replicas and rs.hash not in used]
    doomed = empty[: max(len(empty) - spec.revision_history_limit, 0)]
    return tuple(rs for rs in sets if rs not in doomed)


def _progress(spec: DeploymentSpec, state: DeploymentState, pods: Sequence[PodFacts], now: float) -> DeploymentState:
    counts = count(spec, pods, now)
    seen = (counts.updated, counts.ready, counts.available)
    return state if seen == state.seen else replace(state, seen=seen, progressed_at=now)
