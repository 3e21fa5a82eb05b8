"""Which pods there are: what Deployments and Pods ask for, made and removed."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from pilotfish.config import kubernetes
from pilotfish.config.kubernetes import Deployment, PodSpec
from pilotfish.config.manifest import Manifest
from pilotfish.inject import Sidecar
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import DEPLOYMENT, POD
from pilotfish.node import deployments
from pilotfish.node.addresses import addresses, next_offset
from pilotfish.node.deployments import Counts, Create, DeploymentState, PodFacts, ReplicaSet
from pilotfish.node.events import Deleted
from pilotfish.node.folder import describe_hidden
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store, Stored
from pilotfish.runtime.net.subnets import Subnets
from pilotfish.runtime.node.faults import Faults
from pilotfish.runtime.node.pod import Pod, Surroundings


@dataclass(frozen=True, slots=True)
class Place:
    """Where pods of this mesh live."""

    node_name: str
    directory: Path
    """The mesh's; each pod has its own under `pods`."""
    subnets: Subnets
    ipv6: bool


_UNMADE = "its pods are not made or removed"
_LATE = 5.0
"""Seconds beyond the longest grace period until a mesh that ends no longer waits for its pods."""

Inject = Callable[[PodIdentity], tuple[Sidecar | None, tuple[Problem, ...]]]
"""How a pod is captured; None where it asked not to be. With an error among the Problems the pod is refused."""


class Workloads:
    def __init__(self, node: Surroundings, place: Place, inject: Inject, faults: Faults) -> None:
        self.pods: dict[ObjectRef, Pod] = {}
        self.problems: dict[ObjectRef, tuple[Problem, ...]] = {}
        """Of pods that were refused, and warnings about others, by pod or Deployment."""
        self._node = node
        self._place = place
        self._inject = inject
        self._faults = faults
        self._tried: set[ObjectRef] = set()
        """The objects that pods were, or were not, made for."""
        self._states: dict[ObjectRef, DeploymentState] = {}
        self._sequence = itertools.count()
        self._offsets: dict[ObjectRef, int] = {}
        self._last_offset = 0
        self._loop = asyncio.get_running_loop()
        self._closing: set[asyncio.Task[None]] = set()

    def reconcile(self, store: Store) -> float | None:
        """Make and remove pods as the store asks; returns when to look again though nothing changes (loop time)."""
        self._bury()
        looks: list[float | None] = []
        for stored in store.of_kind(DEPLOYMENT):
            with self._isolate(stored):
                looks.append(self._reconcile_deployment(stored))
        for ref in [ref for ref in self._states if ref not in store.objects]:
            del self._states[ref]
            self.problems.pop(ref, None)
            for pod in self._owned(ref):
                self.remove(pod)
        self._reconcile_bare(store)
        self._forget(store)
        return min((look for look in looks if look is not None), default=None)

    def counts(self, stored: Stored) -> Counts:
        """Of a Deployment."""
        resource = stored.manifest.resource
        if not isinstance(resource, Deployment):
            raise TypeError(f"{stored.ref} is no Deployment")
        return deployments.count(resource.spec, self._facts(stored.ref), self._loop.time())

    def replica_sets(self, stored: Stored) -> tuple[ReplicaSet, ...]:
        """Of a Deployment, the oldest first and the one in force last."""
        state = self._states.get(stored.ref)
        return state.replica_sets if state is not None else ()

    def count_of(self, ref: ObjectRef, template_hash: str) -> tuple[int, int]:
        """(ready pods, all pods) of one of a Deployment's replica sets."""
        pods = [pod for pod in self._owned(ref) if pod.identity.template_hash == template_hash]
        return sum(pod.state.ready for pod in pods), len(pods)

    def rollout(self, stored: Stored) -> tuple[str, bool, bool]:
        """(kubectl's words, whether it is done, whether it exceeded its deadline)."""
        resource = stored.manifest.resource
        if not isinstance(resource, Deployment):
            raise TypeError(f"{stored.ref} is no Deployment")
        now = self._loop.time()
        counts = self.counts(stored)
        state = self._states.get(stored.ref) or DeploymentState(stored.ref, progressed_at=now)
        message = deployments.rollout_message(stored.ref.name, resource.spec, state, counts, now)
        overdue = deployments.is_overdue(resource.spec, state, counts, now)
        return message, deployments.is_complete(counts), overdue

    def is_settled(self, store: Store) -> bool:
        """All pods that should be are ready, or have come to a good end, and no rollout is under way."""
        if not all(pod.state.ready or pod.state.outcome == "Succeeded" for pod in self.pods.values()):
            return False
        if any(p.severity == "error" for refused in self.problems.values() for p in refused):
            return False
        return all(_is_paused(stored) or self.rollout(stored)[1] for stored in store.of_kind(DEPLOYMENT))

    def remove(self, pod: Pod) -> None:
        if not pod.state.deleted:
            pod.post(Deleted(pod.identity.spec.termination_grace_period_seconds))

    async def remove_all(self, bound: float, hurried: asyncio.Event) -> None:
        """The mesh ends: all at once, undrained; each in its grace period, of `bound` seconds at the most, and at once
        when `hurried` is set."""
        longest = 0.0
        for pod in list(self.pods.values()):
            grace = min(pod.identity.spec.termination_grace_period_seconds, bound)
            longest = max(longest, grace)
            pod.post(Deleted(grace, drain=False))
        hurrying = self._loop.create_task(self._hurry(hurried))
        pending = [pod.gone.wait() for pod in self.pods.values() if not pod.gone.is_set()]
        try:
            async with asyncio.timeout(longest + _LATE):
                await asyncio.gather(*pending)
        except TimeoutError:
            pass  # what still runs is killed with its namespace
        finally:
            hurrying.cancel()
            await asyncio.gather(*(pod.close() for pod in self.pods.values()), *self._closing)

    async def _hurry(self, hurried: asyncio.Event) -> None:
        await hurried.wait()
        for pod in list(self.pods.values()):
            pod.post(Deleted(0, drain=False))

    def _bury(self) -> None:
        for ref in [ref for ref, pod in self.pods.items() if pod.state.stage == "gone"]:
            self._faults.forget(ref)
            task = self._loop.create_task(self.pods.pop(ref).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            del self._offsets[ref]

    def _reconcile_deployment(self, stored: Stored) -> float | None:
        resource = stored.manifest.resource
        if not isinstance(resource, Deployment):
            return None
        now = self._loop.time()
        state = self._states.get(stored.ref) or DeploymentState(stored.ref, progressed_at=now)
        facts = self._facts(stored.ref)
        leaving = sum(pod.state.deleted for pod in self._owned(stored.ref))
        template = _template(stored.manifest)
        state, actions = deployments.reconcile(resource.spec, template, state, facts, now, leaving)
        self._states[stored.ref] = state
        refused = False
        for action in actions:
            if not isinstance(action, Create):
                self.remove(self.pods[action.pod])
            elif not refused:
                self.problems[stored.ref] = said = self._create(self._member(stored, action))
                refused = _is_refusal(said)
        return deployments.next_look(resource.spec, self._facts(stored.ref), now)

    def _reconcile_bare(self, store: Store) -> None:
        wanted = {stored.ref: stored for stored in store.of_kind(POD)}
        for ref, pod in list(self.pods.items()):
            stored = wanted.get(ref)
            same = stored is not None and stored.manifest.document == pod.identity.document
            if pod.identity.owner is None and not same:
                self.remove(pod)
        for ref in [ref for ref in self.problems if ref.kind is POD and ref not in wanted]:
            del self.problems[ref]
        for ref, stored in wanted.items():
            resource = stored.manifest.resource
            if ref not in self.pods and isinstance(resource, kubernetes.Pod):
                with self._isolate(stored):
                    self.problems[ref] = self._create(self._bare(stored, resource))

    def _forget(self, store: Store) -> None:
        for ref in self._tried.difference(store.objects):
            self._faults.forget(ref)
        self._tried.intersection_update(store.objects)

    def _isolate(self, stored: Stored) -> AbstractContextManager[None]:
        self._tried.add(stored.ref)
        return self._faults.isolate(_UNMADE, stored.ref, stored.manifest.source)

    def _create(self, identity: PodIdentity) -> tuple[Problem, ...]:
        try:
            sidecar, problems = self._inject(identity)
        except Exception:
            self._offsets.pop(identity.ref, None)
            raise
        if _is_refusal(problems):
            self._offsets.pop(identity.ref, None)
            return problems
        if sidecar is not None:
            identity = replace(identity, labels={**sidecar.labels, **identity.labels})
        pod = Pod(self._node, identity, sidecar)
        self.pods[identity.ref] = pod
        pod.post(None)
        return (*problems, *describe_hidden(identity))

    def _owned(self, ref: ObjectRef) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.identity.owner == ref]

    def _facts(self, ref: ObjectRef) -> list[PodFacts]:
        return [
            PodFacts(pod.identity.ref, pod.identity.template_hash, pod.state.ready_since, pod.created_at)
            for pod in self._owned(ref)
            if not pod.state.deleted
        ]

    def _member(self, stored: Stored, action: Create) -> PodIdentity:
        """A pod of a Deployment."""
        name = deployments.pod_name(stored.ref.name, action.hash, next(self._sequence))
        ref = POD.ref(stored.ref.namespace, name)
        metadata = action.template.metadata
        identity = self._identity(ref, action.template.spec, action.document, stored.manifest)
        labels = {**metadata.labels, "pod-template-hash": action.hash}
        return replace(
            identity,
            labels=labels,
            annotations=dict(metadata.annotations),
            owner=stored.ref,
            template_hash=action.hash,
        )

    def _bare(self, stored: Stored, resource: kubernetes.Pod) -> PodIdentity:
        identity = self._identity(stored.ref, resource.spec, stored.manifest.document, stored.manifest)
        metadata = resource.metadata
        return replace(identity, labels=dict(metadata.labels), annotations=dict(metadata.annotations))

    def _identity(
        self, ref: ObjectRef, spec: PodSpec, document: Mapping[str, object], manifest: Manifest
    ) -> PodIdentity:
        place = self._place
        self._last_offset = next_offset(set(self._offsets.values()), self._last_offset)
        self._offsets[ref] = self._last_offset
        v6 = place.subnets.v6 if place.ipv6 else None
        source = manifest.source
        file = Path(source.file).absolute() if source and source.is_file else None
        return PodIdentity(
            ref=ref,
            uid=str(uuid.uuid4()),
            labels={},
            annotations={},
            spec=spec,
            addresses=addresses(self._last_offset, place.subnets.v4, v6),
            host_ip=str(place.subnets.node[0]),
            node_name=place.node_name,
            directory=str(place.directory / "pods" / f"{ref.namespace}.{ref.name}"),
            folder=str(Path.cwd() if file is None else file if file.is_dir() else file.parent),
            document=document,
            source=str(source) if source else "",
        )


def _is_refusal(problems: tuple[Problem, ...]) -> bool:
    """Of what was said of a pod: whether there is none."""
    return any(problem.severity == "error" for problem in problems)


def _is_paused(stored: Stored) -> bool:
    resource = stored.manifest.resource
    return isinstance(resource, Deployment) and resource.spec.paused


def _template(manifest: Manifest) -> Mapping[str, object]:
    """A Deployment's pod template as it was written."""
    spec = manifest.document.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    return template if isinstance(template, Mapping) else {}
