"""A DaemonSet: one pod, as there is one machine.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.config.workloads import DaemonSet, DaemonSetSpec, written_template
from pilotfish.node.controllers.values import (
    REVISION_LABEL,
    Create,
    Remove,
    Rollout,
    Scene,
    Step,
    count_share,
    least_useful,
    next_available,
    template_hash,
)
from pilotfish.node.store import Stored

_MACHINES = 1


def reconcile(stored: Stored, state: None, scene: Scene) -> Step[None]:
    spec, revision = _spec(stored), template_hash(_spec(stored).template)
    look = next_available(spec.min_ready_seconds, scene.staying, scene.now)
    create = _create(stored, revision)
    new = sorted((pod for pod in scene.staying if pod.hash == revision), key=least_useful)
    old = [pod for pod in scene.staying if pod.hash != revision]
    surplus = tuple(Remove(pod.ref) for pod in new[: len(new) - _MACHINES])
    if not old:
        # Two at a time would want the same of the machine: the next comes when the last is gone.
        alone = not new and (not scene.pods or _surges(spec))
        return Step(None, (*surplus, *((create,) if alone else ())), look)
    if spec.update_strategy.type == "OnDelete":
        return Step(None, (), look)
    gone = tuple(Remove(pod.ref) for pod in old)
    # An old pod that is not ready serves nobody, and is not waited for.
    if not _surges(spec) or any(pod.available(spec.min_ready_seconds, scene.now) for pod in new):
        return Step(None, (*surplus, *gone), look)
    return Step(None, () if new else (create,), look)


def status(stored: Stored, state: None, scene: Scene) -> dict[str, object]:
    spec, pods = _spec(stored), scene.staying
    revision = template_hash(spec.template)
    ready = min(sum(pod.ready_since is not None for pod in pods), _MACHINES)
    available = min(sum(pod.available(spec.min_ready_seconds, scene.now) for pod in pods), _MACHINES)
    return {
        "desiredNumberScheduled": _MACHINES,
        "currentNumberScheduled": min(len(pods), _MACHINES),
        "updatedNumberScheduled": min(sum(pod.hash == revision for pod in pods), _MACHINES),
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberAvailable": available,
        "numberUnavailable": _MACHINES - available,
        "observedGeneration": stored.generation,
    }


def rollout(stored: Stored, state: None, scene: Scene) -> Rollout:
    """Source: k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go"""
    spec, name = _spec(stored), stored.ref.name
    if spec.update_strategy.type == "OnDelete":
        ready = any(pod.ready_since is not None for pod in scene.staying)
        return Rollout("rollout status is only available for RollingUpdate strategy type", ready)
    new = [pod for pod in scene.staying if pod.hash == template_hash(spec.template)]
    available = sum(pod.available(spec.min_ready_seconds, scene.now) for pod in new)
    waiting = f'Waiting for daemon set "{name}" rollout to finish: '
    if not new:
        return Rollout(f"{waiting}0 out of {_MACHINES} new pods have been updated...", False)
    if not available:
        return Rollout(f"{waiting}{available} of {_MACHINES} updated pods are available...", False)
    return Rollout(f'daemon set "{name}" successfully rolled out', len(scene.staying) == _MACHINES)


def planned(stored: Stored) -> Iterable[Create]:
    return (_create(stored, template_hash(_spec(stored).template)),)


def _create(stored: Stored, revision: str) -> Create:
    document = written_template(stored.ref.kind, stored.manifest.document)
    labels = {REVISION_LABEL: revision}
    return Create(_spec(stored).template, document, stored.ref.name, hash=revision, labels=labels)


def _surges(spec: DaemonSetSpec) -> bool:
    return count_share(spec.update_strategy.rolling_update.max_surge, _MACHINES, up=True) > 0


def _spec(stored: Stored) -> DaemonSetSpec:
    resource = stored.manifest.resource
    if not isinstance(resource, DaemonSet):
        raise TypeError(f"{stored.ref} is no DaemonSet")
    return resource.spec
