"""The controllers of the objects that make pods, with what each remembers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pilotfish.config.kubernetes import Deployment
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import CRON_JOB, JOB
from pilotfish.node.controllers import cron_job, job, stateful_set
from pilotfish.node.controllers.deployment import DeploymentState, ReplicaSet
from pilotfish.node.controllers.table import CONTROLLERS
from pilotfish.node.controllers.values import INDEX_ANNOTATION, Delete, JobFacts, Now, PodFacts, Rollout, Scene, Step
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store, Stored
from pilotfish.runtime.node.pod import Pod


@dataclass(frozen=True, slots=True)
class _Known:
    stored: Stored
    state: Any
    """The controller's own."""


class Controlled:
    def __init__(self, pods: Mapping[ObjectRef, Pod]) -> None:
        """`pods`: all that there are, as they come and go."""
        self._pods = pods
        self._known: dict[ObjectRef, _Known] = {}
        self._jobs: Mapping[ObjectRef, tuple[Stored, ...]] = {}
        """By the CronJob that made them."""
        self._seen: Store | None = None
        self._all: tuple[Stored, ...] = ()
        """Of that store."""
        self._owned: Mapping[ObjectRef, list[Pod]] = {}
        """The pods of each, when this was last asked for anything."""
        self._loop = asyncio.get_running_loop()

    def forget(self, store: Store) -> Iterator[Stored]:
        """What is gone, or is another object of the same name."""
        self._look()
        self._jobs = _group(each for each in self.workloads(store) if each.ref.kind is JOB)
        for ref, known in list(self._known.items()):
            stored = store.objects.get(ref)
            if stored is None or stored.created_at != known.stored.created_at:
                yield known.stored
                del self._known[ref]

    def left_behind(self, stored: Stored) -> tuple[Delete, ...]:
        """The objects that go with one that is gone. Ask before it is forgotten."""
        if stored.ref.kind is CRON_JOB:
            return tuple(Delete(each.ref) for each in self._jobs.get(stored.ref, ()))
        known = self._known.get(stored.ref)
        if known is not None and isinstance(known.state, stateful_set.StatefulSetState):
            return tuple(Delete(ref) for ref in stateful_set.left_claims(stored, known.state))
        return ()

    def workloads(self, store: Store) -> tuple[Stored, ...]:
        """The objects that make pods, in the order in which they are asked: there may be thousands of others."""
        if self._seen is not store:
            found: dict[Kind, list[Stored]] = {kind: [] for kind in CONTROLLERS}
            for ref, stored in store.objects.items():
                if ref.kind in found:
                    found[ref.kind].append(stored)
            self._seen = store
            self._all = tuple(each for alike in found.values() for each in sorted(alike, key=lambda each: each.ref))
        return self._all

    def step(self, stored: Stored) -> Step[Any]:
        state = self._state(stored)
        step = CONTROLLERS[stored.ref.kind].reconcile(stored, state, self._scene(stored))
        self._known[stored.ref] = _Known(stored, step.state)
        return step

    def status(self, stored: Stored) -> dict[str, object]:
        self._look()
        return CONTROLLERS[stored.ref.kind].status(stored, self._state(stored), self._scene(stored))

    def rollout(self, stored: Stored) -> Rollout:
        self._look()
        return self._rollout(stored)

    def replica_sets(self, stored: Stored) -> tuple[ReplicaSet, ...]:
        """A Deployment's."""
        state = self._state(stored)
        return state.replica_sets if isinstance(state, DeploymentState) else ()

    def is_settled(self, store: Store) -> bool:
        """No rollout is under way."""
        self._look()
        return all(_is_paused(stored) or self._rollout(stored).done for stored in self.workloads(store))

    def _rollout(self, stored: Stored) -> Rollout:
        return CONTROLLERS[stored.ref.kind].rollout(stored, self._state(stored), self._scene(stored))

    def _look(self) -> None:
        """All pods once, and not once for each that may own some."""
        owned: dict[ObjectRef, list[Pod]] = {}
        for pod in self._pods.values():
            if pod.identity.owner is not None:
                owned.setdefault(pod.identity.owner, []).append(pod)
        self._owned = owned

    def _state(self, stored: Stored) -> Any:
        known = self._known.get(stored.ref)
        return known.state if known is not None else None

    def _scene(self, stored: Stored) -> Scene:
        pods = [_facts(pod) for pod in self._owned.get(stored.ref, ())]
        jobs = [self._job_facts(each) for each in self._jobs.get(stored.ref, ())]
        return Scene(pods, self._now(), jobs)

    def _job_facts(self, stored: Stored) -> JobFacts:
        end = job.ended(self._state(stored))
        scheduled = cron_job.scheduled_at(stored)
        return JobFacts(stored.ref, scheduled, end.type if end is not None else "", end.at if end is not None else None)

    def _now(self) -> Now:
        return Now(self._loop.time(), time.time(), datetime.now().astimezone().tzinfo or UTC)


def workload_of(pod: PodIdentity, store: Store) -> ObjectRef:
    """What the user wrote for the sake of which there is the pod."""
    owner = store.objects.get(pod.owner) if pod.owner is not None else None
    maker = cron_job.maker_of(pod.namespace, owner.manifest.resource.metadata) if owner is not None else None
    return maker or pod.owner or pod.ref


def _facts(pod: Pod) -> PodFacts:
    identity, state = pod.identity, pod.state
    index = identity.annotations.get(INDEX_ANNOTATION, "")
    return PodFacts(
        ref=identity.ref,
        hash=identity.template_hash,
        ready_since=state.ready_since,
        created_at=pod.created_at,
        leaving=state.deleted,
        outcome=state.outcome,
        exit_codes=tuple((c.name, c.exit_code) for c in state.containers if c.over and c.exit_code),
        restarts=sum(c.run for c in state.containers),
        index=int(index[:9]) if index.isdecimal() else None,
    )


def _group(jobs: Iterable[Stored]) -> Mapping[ObjectRef, tuple[Stored, ...]]:
    found: dict[ObjectRef, tuple[Stored, ...]] = {}
    for stored in jobs:
        ref = cron_job.maker_of(stored.ref.namespace, stored.manifest.resource.metadata)
        if ref is not None:
            found[ref] = (*found.get(ref, ()), stored)
    return found


def _is_paused(stored: Stored) -> bool:
    resource = stored.manifest.resource
    return isinstance(resource, Deployment) and resource.spec.paused
