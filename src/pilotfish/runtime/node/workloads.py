"""Which pods there are: what Pods, and the objects that make pods, ask for, made and removed."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from pilotfish.config import kubernetes
from pilotfish.config.images import inherit
from pilotfish.config.kubernetes import PodSpec
from pilotfish.config.manifest import Manifest
from pilotfish.inject import Sidecar
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import JOB, POD, STATEFUL_SET
from pilotfish.node import store as storing
from pilotfish.node.addresses import addresses, next_offset
from pilotfish.node.controllers.deployment import ReplicaSet
from pilotfish.node.controllers.values import Action, Create, Delete, Make, Remove, Rollout, pod_name
from pilotfish.node.events import Deleted
from pilotfish.node.folder import describe_hidden
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Change, Store, Stored
from pilotfish.runtime.net.subnets import Subnets
from pilotfish.runtime.node.controlled import Controlled
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
    proxy: str = ""
    """Whose Envoy pods have that don't say it (`config.proxying`); "" leaves it to the meshConfig."""

    @property
    def storage(self) -> Path:
        """Where what outlives pods is."""
        return self.directory / "storage"


ChangeStore = Callable[[Callable[[Store], tuple[Store, tuple[Change, ...]]]], object]
_UNMADE = "its pods are not made or removed"
_LATE = 5.0
"""Seconds beyond the longest grace period until a mesh that ends no longer waits for its pods."""

Inject = Callable[[PodIdentity], tuple[Sidecar | None, tuple[Problem, ...]]]
"""How a pod is captured; None where it asked not to be. With an error among the Problems the pod is refused."""


class Workloads:
    def __init__(self, node: Surroundings, place: Place, inject: Inject, faults: Faults, change: ChangeStore) -> None:
        self.pods: dict[ObjectRef, Pod] = {}
        self._controlled = Controlled(self.pods)
        self._said: dict[ObjectRef, tuple[Problem, ...]] = {}
        """Of pods that were refused, and warnings about others, by pod or by what makes them."""
        self._news: dict[ObjectRef, tuple[Problem, ...]] = {}
        """What controllers say."""
        self._node = node
        self._place = place
        self._inject = inject
        self._faults = faults
        self._change = change
        self._tried: set[ObjectRef] = set()
        """The objects that pods were, or were not, made for."""
        self._sequence = itertools.count()
        self._offsets: dict[ObjectRef, int] = {}
        """Of the addresses of pods, and of those that come back to theirs."""
        self._kept: dict[ObjectRef, ObjectRef] = {}
        """The StatefulSet of each pod that comes back to its address."""
        self._last_offset = 0
        self._loop = asyncio.get_running_loop()
        self._closing: set[asyncio.Task[None]] = set()

    def reconcile(self, store: Store) -> float | None:
        """Make and remove pods as the store asks; returns when to look again though nothing changes (loop time)."""
        self._bury()
        changes: list[Make | Delete] = []
        for stored in self._controlled.forget(store):
            changes += self._controlled.left_behind(stored)
            self._dissolve(stored.ref)
        looks: list[float | None] = []
        for stored in self._controlled.workloads(store):
            with self._isolate(stored):
                step = self._controlled.step(stored)
                self._news[stored.ref] = step.problems
                looks.append(step.look)
                changes += self._perform(stored, step.actions)
        self._reconcile_bare(store)
        self._forget(store)
        if changes:
            self._change(partial(_make_and_delete, changes=tuple(changes)))
        return min((look for look in looks if look is not None), default=None)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for said in (self._said, self._news) for ref in sorted(said) for problem in said[ref])

    def status(self, stored: Stored) -> dict[str, object]:
        """`.status` of an object that makes pods."""
        return self._controlled.status(stored)

    def rollout(self, stored: Stored) -> Rollout:
        return self._controlled.rollout(stored)

    def replica_sets(self, stored: Stored) -> tuple[ReplicaSet, ...]:
        """Of a Deployment, the oldest first and the one in force last."""
        return self._controlled.replica_sets(stored)

    def count_of(self, ref: ObjectRef, template_hash: str) -> tuple[int, int]:
        """(ready pods, all pods) of one of a Deployment's replica sets."""
        owned = (pod for pod in self.pods.values() if pod.identity.owner == ref)
        pods = [pod for pod in owned if pod.identity.template_hash == template_hash]
        return sum(pod.state.ready for pod in pods), len(pods)

    def is_settled(self, store: Store) -> bool:
        """All pods that should be are ready, or have come to a good end, and no rollout is under way. A Job's pods
        may fail as often as it allows."""
        pods = (pod for pod in self.pods.values() if pod.identity.owner is None or pod.identity.owner.kind is not JOB)
        if not all(pod.state.ready or pod.state.outcome == "Succeeded" for pod in pods):
            return False
        return not _is_refusal(self.problems) and self._controlled.is_settled(store)

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
            if ref not in self._kept:
                del self._offsets[ref]

    def _perform(self, stored: Stored, actions: Iterable[Action]) -> Iterator[Make | Delete]:
        """What is to change among the objects is left to the caller."""
        refused = False
        for action in actions:
            if isinstance(action, Make | Delete):
                yield action
            elif isinstance(action, Remove):
                self.remove(self.pods[action.pod])
            elif not refused:
                self._said[stored.ref] = said = self._make(stored, action)
                refused = _is_refusal(said)

    def _make(self, stored: Stored, action: Create) -> tuple[Problem, ...]:
        taken = POD.ref(stored.ref.namespace, action.name)
        if taken not in self.pods:
            return self._create(self._member(stored, action))
        message = f"there is another pod {action.name}, so its own is not made; give that one another name"
        return (Problem(stored.ref, "metadata.name", "NameTaken", message, source=stored.manifest.source),)

    def _dissolve(self, owner: ObjectRef) -> None:
        """It is gone, and its pods go."""
        self._said.pop(owner, None)
        self._news.pop(owner, None)
        for pod in self.pods.values():
            if pod.identity.owner == owner:
                self.remove(pod)
        for ref in [ref for ref in self._kept if self._kept[ref] == owner]:
            del self._kept[ref]
            if ref not in self.pods:
                self._offsets.pop(ref, None)

    def _reconcile_bare(self, store: Store) -> None:
        wanted = {stored.ref: stored for stored in store.of_kind(POD)}
        for ref, pod in list(self.pods.items()):
            stored = wanted.get(ref)
            same = stored is not None and stored.manifest.document == pod.identity.document
            if pod.identity.owner is None and not same:
                self.remove(pod)
        for ref in [ref for ref in self._said if ref.kind is POD and ref not in wanted]:
            del self._said[ref]
        for ref, stored in wanted.items():
            resource = stored.manifest.resource
            if ref not in self.pods and isinstance(resource, kubernetes.Pod):
                with self._isolate(stored):
                    self._said[ref] = self._create(self._bare(stored, resource))

    def _forget(self, store: Store) -> None:
        for ref in self._tried.difference(store.objects):
            self._faults.forget(ref)
        self._tried.intersection_update(store.objects)

    def _isolate(self, stored: Stored) -> AbstractContextManager[None]:
        self._tried.add(stored.ref)
        return self._faults.isolate(_UNMADE, stored.ref, stored.manifest.source)

    def _create(self, identity: PodIdentity) -> tuple[Problem, ...]:
        said = self._node.store.namespace(identity.namespace).annotations
        identity = replace(identity, annotations=inherit(identity.annotations, said))
        try:
            sidecar, problems = self._inject(identity)
        except Exception:
            self._offsets.pop(identity.ref, None)
            raise
        if _is_refusal(problems):
            self._offsets.pop(identity.ref, None)
            return problems
        if sidecar is not None:
            volumes = (*identity.spec.volumes, *sidecar.wishes.volumes)
            identity = replace(
                identity,
                labels={**sidecar.labels, **identity.labels},
                annotations={**identity.annotations, **sidecar.annotations},
                spec=msgspec.structs.replace(identity.spec, volumes=volumes),
                proxy_mounts=sidecar.wishes.mounts,
            )
        pod = Pod(self._node, identity, sidecar)
        self.pods[identity.ref] = pod
        pod.post(None)
        return (*problems, *describe_hidden(identity))

    def _member(self, stored: Stored, action: Create) -> PodIdentity:
        """A pod of an object that makes pods."""
        name = action.name or pod_name(action.prefix, next(self._sequence))
        ref = POD.ref(stored.ref.namespace, name)
        metadata = action.template.metadata
        identity = self._identity(ref, action.template.spec, action.document, stored.manifest)
        if stored.ref.kind is STATEFUL_SET:
            self._kept[ref] = stored.ref
        return replace(
            identity,
            labels={**metadata.labels, **action.labels},
            annotations={**metadata.annotations, **action.annotations},
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
        offset = self._offsets.get(ref)
        if offset is None:
            used = set(self._offsets.values())
            self._last_offset = next_offset(used, self._last_offset, place.subnets.v4.num_addresses)
            self._offsets[ref] = offset = self._last_offset
        v6 = place.subnets.v6 if place.ipv6 else None
        source = manifest.source
        file = Path(source.file).absolute() if source and source.is_file else None
        return PodIdentity(
            ref=ref,
            uid=str(uuid.uuid4()),
            labels={},
            annotations={},
            spec=spec,
            addresses=addresses(offset, place.subnets.v4, v6),
            host_ip=str(place.subnets.node[0]),
            node_name=place.node_name,
            directory=str(place.directory / "pods" / f"{ref.namespace}.{ref.name}"),
            folder=str(Path.cwd() if file is None else file if file.is_dir() else file.parent),
            storage=str(place.storage),
            document=document,
            source=str(source) if source else "",
        )


def _is_refusal(problems: tuple[Problem, ...]) -> bool:
    """Of what was said of a pod: whether there is none."""
    return any(problem.severity == "error" for problem in problems)


def _make_and_delete(store: Store, changes: tuple[Make | Delete, ...]) -> tuple[Store, tuple[Change, ...]]:
    """What controllers ask for; deleted first, as one may be made anew."""
    store, gone = storing.delete(store, [each.ref for each in changes if isinstance(each, Delete)])
    store, made = storing.make(store, [each.manifest for each in changes if isinstance(each, Make)], time.time())
    return store, (*gone, *made)
