"""What the command line may ask of a running mesh (`control.server.Operations`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import msgspec

from pilotfish import config
from pilotfish.capture import RuleSet
from pilotfish.capture.spec import Family
from pilotfish.config.piece import identify
from pilotfish.config.workloads import pod_field
from pilotfish.model import FieldRef, Kind, ObjectRef
from pilotfish.model.frontend import Frontend
from pilotfish.model.kinds import POD, ROLLED
from pilotfish.model.names import NameTable
from pilotfish.node import store as storing
from pilotfish.node.document import timestamp
from pilotfish.node.patching import BadPatch, patch
from pilotfish.node.publish import Endpoints, Publish, Transport
from pilotfish.node.store import Change, Scaled, Store
from pilotfish.runtime import capture
from pilotfish.runtime.control.client import Unstructured
from pilotfish.runtime.control.views import (
    ChangesView,
    ChangeView,
    OwnerView,
    ProblemView,
    PublishView,
    RolloutView,
    StatusView,
)
from pilotfish.runtime.node.changes import ChangeCounter
from pilotfish.runtime.node.controlled import workload_of
from pilotfish.runtime.node.describe import describe_change
from pilotfish.runtime.node.discovery import DiscoveryProcess
from pilotfish.runtime.node.ending import Ending
from pilotfish.runtime.node.entrances import Entrances
from pilotfish.runtime.node.objects import Objects
from pilotfish.runtime.node.options import CannotStart
from pilotfish.runtime.node.reconciler import Reconciler
from pilotfish.runtime.node.status import Status
from pilotfish.runtime.turns import in_turns


class NodeOperations:
    def __init__(
        self,
        reconciler: Reconciler,
        discovery: DiscoveryProcess,
        objects: Objects,
        status: Status,
        entrances: Entrances,
        changes: ChangeCounter,
        ending: Ending,
    ) -> None:
        self._reconciler = reconciler
        self._discovery = discovery
        self._objects = objects
        self._status = status
        self._entrances = entrances
        self._changes = changes
        self._ending = ending

    async def status(self) -> StatusView:
        return await self._status.view()

    def objects(self, kind: Kind | None, namespace: str, name: str) -> list[Unstructured]:
        return self._objects.find(kind, namespace, name)

    def names(self, namespace: str, name: str) -> NameTable | None:
        return self._reconciler.names(POD.ref(namespace, name))

    async def rules(self, namespace: str, name: str, family: Family) -> RuleSet | None:
        pod = self._reconciler.workloads.pods.get(POD.ref(namespace, name))
        return None if pod is None else await capture.read(pod.sandbox.netns, family)

    def frontends(self) -> list[Frontend]:
        return list(self._reconciler.frontends.values())

    async def owners(self, trace: bytes) -> list[OwnerView] | None:
        """Discovery knows whose they are, and the node what makes a pod, and where that was written."""
        found = await self._discovery.owners(trace)
        return None if found is None else [self._located(each) for each in found]

    def _located(self, owner: OwnerView) -> OwnerView:
        pod = self._reconciler.workloads.pods.get(owner.ref)
        if pod is not None:
            author = workload_of(pod.identity, self._reconciler.store)
            owner = OwnerView.of(owner.step, FieldRef(author, pod_field(author.kind, owner.field)))
        stored = self._reconciler.store.objects.get(owner.ref)
        source = stored.manifest.at(owner.field) if stored is not None else None
        return msgspec.structs.replace(owner, source=str(source) if source is not None else "")

    async def apply(self, text: str, file: str, namespace: str) -> ChangesView:
        loaded = await in_turns(config.load_in_pieces(text, file, namespace))
        changes = self._reconciler.change(lambda store: storing.apply(store, loaded, time.time()))
        refused = tuple(Change(ref, "refused") for ref in sorted(loaded.broken))
        problems = tuple(ProblemView.of(problem) for problem in loaded.problems)
        return ChangesView(changes=tuple(describe_change(c) for c in (*changes, *refused)), problems=problems)

    async def delete(self, text: str, file: str, namespace: str) -> ChangesView:
        """What the text's objects are called is enough: they need not be valid."""
        loaded = await in_turns(config.load_in_pieces(text, file, namespace))
        refs = dict.fromkeys((*(m.ref for m in loaded.manifests), *sorted(loaded.broken)))
        unnamed = tuple(ProblemView.of(p) for p in loaded.problems if p.ref is None)
        return ChangesView(changes=self._delete(tuple(refs)), problems=unnamed)

    def delete_object(self, ref: ObjectRef) -> ChangesView:
        return ChangesView(changes=self._delete((ref,)))

    async def patch(self, ref: ObjectRef, change: object, how: str) -> ChangesView:
        """Raises BadPatch, or LookupError with what to say where there is no such object."""
        written = self._objects.written(ref)
        if written is None:
            raise LookupError(self._not_stored(ref))
        document = patch(written, change, how)
        if identify(document, ref.namespace or "default") != ref:
            raise BadPatch("its kind, name and namespace can't be changed")
        text = msgspec.json.encode(document).decode()
        loaded = await in_turns(config.load_in_pieces(text, "-", ref.namespace or "default"))
        # What it says is the user's, and stands where it stood; nothing of the change is written anywhere.
        stored = self._reconciler.store.objects.get(ref)
        source = stored.manifest.source if stored is not None else None
        said = tuple(replace(problem, source=source) for problem in loaded.problems)
        problems = tuple(ProblemView.of(problem) for problem in said)
        if not loaded.manifests:
            return ChangesView(changes=(describe_change(Change(ref, "refused")),), problems=problems)
        manifest = replace(loaded.manifests[0], source=source, lines=b"")
        changed = replace(loaded, manifests=(manifest,), problems=said)
        changes = self._reconciler.change(lambda store: storing.apply(store, changed, time.time()))
        return ChangesView(changes=tuple(map(describe_change, changes)), problems=problems)

    def _not_stored(self, ref: ObjectRef) -> str:
        pod = self._reconciler.workloads.pods.get(ref)
        if pod is not None and pod.identity.owner is not None:
            owner = pod.identity.owner
            return f'pods "{ref.name}" is one of {owner}, and as its template says: change that'
        place = f' in namespace "{ref.namespace}"' if ref.namespace else ""
        return f'{ref.kind.qualified_plural} "{ref.name}" not found{place}'

    def scale(self, ref: ObjectRef, replicas: int, current: int | None) -> ChangesView:
        stored = self._reconciler.store.objects.get(ref)
        resource = stored.manifest.resource if stored else None
        if isinstance(resource, Scaled) and current is not None and resource.spec.replicas != current:
            return ChangesView(changes=(describe_change(Change(ref, "refused")),))
        return self._change_one(lambda store: storing.scale(store, ref, replicas))

    def restart(self, ref: ObjectRef) -> ChangesView:
        return self._change_one(lambda store: storing.restart(store, ref, timestamp(time.time())))

    async def restart_proxy(self, namespace: str, name: str) -> bool:
        """False if there is none of this name. Raises MachineError if no other took over."""
        pod = self._reconciler.workloads.pods.get(POD.ref(namespace, name))
        machine = self._reconciler.ground.node_proxy
        agent = pod.sandbox.agent if pod is not None else None
        if agent is None and (machine.proxy.namespace, machine.proxy.name) == (namespace, name):
            agent = machine.agent
        if agent is None:
            return False
        await agent.restart()
        return True

    async def rollout(self, ref: ObjectRef, said: str, wait: float) -> RolloutView | None:
        """None if there is no such object."""
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            seen = self._changes.counter
            view = self._rollout(ref)
            left = deadline - asyncio.get_running_loop().time()
            if view is None or view.done or view.message != said or left <= 0:
                return view
            # Deadlines pass without an event.
            await self._changes.wait(seen, min(left, 1.0))

    async def events(self, since: int, wait: float) -> int:
        return await self._changes.wait(since, wait)

    async def synced(self, wait: float) -> bool:
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            seen = self._changes.counter
            left = deadline - asyncio.get_running_loop().time()
            if self._reconciler.synced or left <= 0:
                return self._reconciler.synced
            await self._changes.wait(seen, left)

    def endpoints(self, text: str, namespace: str) -> Endpoints:
        """Raises ValueError with words for the user."""
        return self._reconciler.endpoints(Publish.parse(text, namespace))

    async def publish(self, text: str, namespace: str) -> PublishView:
        """Raises ValueError with words for the user."""
        publish = Publish.parse(text, namespace)
        try:
            published = await self._entrances.publish(publish)
        except CannotStart as error:
            raise ValueError(str(error)) from error
        self._changes.bump()
        return self._status.describe(published)

    async def unpublish(self, address: str, protocol: Transport) -> PublishView | None:
        published = await self._entrances.unpublish(address, protocol)
        self._changes.bump()
        return self._status.describe(published) if published is not None else None

    async def down(self) -> None:
        self._ending.ask("asked by `down`")
        await self._ending.gone.wait()

    def _rollout(self, ref: ObjectRef) -> RolloutView | None:
        stored = self._reconciler.store.objects.get(ref)
        if stored is None or ref.kind not in ROLLED:
            return None
        found = self._reconciler.workloads.rollout(stored)
        return RolloutView(
            namespace=ref.namespace, name=ref.name, done=found.done, message=found.message, failed=found.failed
        )

    def _delete(self, refs: tuple[ObjectRef, ...]) -> tuple[ChangeView, ...]:
        """A pod that was made for another object is no stored one: it goes, and another one comes."""
        changes: list[Change] = []
        for ref in refs:
            pod = self._reconciler.workloads.pods.get(ref)
            if pod is not None and pod.identity.owner is not None:
                self._reconciler.workloads.remove(pod)
                changes.append(Change(ref, "deleted"))
            else:
                changes += self._reconciler.change(partial(storing.delete, refs=(ref,)))
        return tuple(describe_change(change) for change in changes)

    def _change_one(self, change: Callable[[Store], tuple[Store, Change]]) -> ChangesView:
        def changed(store: Store) -> tuple[Store, tuple[Change, ...]]:
            store, one = change(store)
            return store, (one,)

        return ChangesView(changes=tuple(describe_change(c) for c in self._reconciler.change(changed)))
