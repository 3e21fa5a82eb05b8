"""What the command line may ask of a running mesh (`control.server.Operations`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pilotfish import config
from pilotfish.config.kubernetes import Deployment, Service
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import DEPLOYMENT, POD, SERVICE
from pilotfish.node import store as storing
from pilotfish.node.document import render, render_pod, timestamp
from pilotfish.node.store import Change, Store, Stored
from pilotfish.runtime.control.client import Unstructured
from pilotfish.runtime.control.views import ChangesView, ChangeView, ProblemView, RolloutView, StatusView
from pilotfish.runtime.node.announce import record
from pilotfish.runtime.node.describe import (
    backend,
    describe_change,
    describe_pod,
    describe_proxy,
    describe_service,
)
from pilotfish.runtime.node.meshconfig import APPLIED

if TYPE_CHECKING:
    from pilotfish.runtime.node.node import Node


class NodeOperations:
    def __init__(self, node: Node) -> None:
        self._node = node

    async def status(self) -> StatusView:
        node = self._node
        syncs, said = await asyncio.gather(node.discovery.syncs(), node.discovery.problems())
        by_proxy = {sync.proxy: sync for sync in syncs or ()}
        pods = tuple(node.workloads.pods[ref] for ref in sorted(node.workloads.pods))
        proxies = tuple(
            describe_proxy(pod, by_proxy.get(f"{pod.identity.name}.{pod.identity.namespace}"))
            for pod in pods
            if pod.sandbox.agent is not None and pod.state.stage != "finished"
        )
        backends = tuple(backend(pod) for pod in pods if not pod.state.deleted)
        services = tuple(
            describe_service(stored, stored.manifest.resource, node.cluster_ips_by_ref.get(stored.ref, ""), backends)
            for stored in node.store.of_kind(SERVICE)
            if isinstance(stored.manifest.resource, Service)
        )
        problems = _merge(tuple(ProblemView.of(problem) for problem in node.problems), said or ())
        in_sync = syncs is not None and all(proxy.sync is not None and proxy.sync.synced for proxy in proxies)
        return StatusView(
            mesh=node.view,
            ready=node.ready and in_sync and not any(problem.severity == "error" for problem in problems),
            discovery=msgspec.structs.replace(node.discovery.view, answering=syncs is not None),
            pods=tuple(describe_pod(pod) for pod in pods),
            proxies=proxies,
            services=services,
            published=node.published_views(),
            problems=problems,
        )

    def objects(self, kind: Kind | None, namespace: str, name: str) -> list[Unstructured]:
        node = self._node
        stored = [ref for ref in sorted(node.store.objects) if ref.kind is not POD]
        pods = sorted(node.workloads.pods)
        return [
            *(self._document(node.store.objects[ref]) for ref in stored if _matches(ref, kind, namespace, name)),
            *(render_pod(record(node.workloads.pods[ref])) for ref in pods if _matches(ref, kind, namespace, name)),
        ]

    def apply(self, text: str, file: str, namespace: str) -> ChangesView:
        loaded = config.load(text, file, namespace)
        self._node.mesh_configs.take(APPLIED, loaded)
        changes = self._node.change(lambda store: storing.upsert(store, loaded.manifests, time.time()))
        refused = tuple(Change(ref, "refused") for ref in sorted(loaded.broken))
        problems = tuple(ProblemView.of(problem) for problem in loaded.problems)
        return ChangesView(changes=tuple(describe_change(c) for c in (*changes, *refused)), problems=problems)

    def delete(self, text: str, file: str, namespace: str) -> ChangesView:
        """What the text's objects are called is enough: they need not be valid."""
        loaded = config.load(text, file, namespace)
        refs = dict.fromkeys((*(m.ref for m in loaded.manifests), *sorted(loaded.broken)))
        unnamed = tuple(ProblemView.of(p) for p in loaded.problems if p.ref is None)
        return ChangesView(changes=self._delete(tuple(refs)), problems=unnamed)

    def delete_object(self, ref: ObjectRef) -> ChangesView:
        return ChangesView(changes=self._delete((ref,)))

    def scale(self, namespace: str, name: str, replicas: int, current: int | None) -> ChangesView:
        ref = DEPLOYMENT.ref(namespace, name)
        stored = self._node.store.objects.get(ref)
        resource = stored.manifest.resource if stored else None
        if isinstance(resource, Deployment) and current is not None and resource.spec.replicas != current:
            return ChangesView(changes=(describe_change(Change(ref, "refused")),))
        return self._change_one(lambda store: storing.scale(store, ref, replicas))

    def restart(self, namespace: str, name: str) -> ChangesView:
        ref = DEPLOYMENT.ref(namespace, name)
        return self._change_one(lambda store: storing.restart(store, ref, timestamp(time.time())))

    async def rollout(self, namespace: str, name: str, said: str, wait: float) -> RolloutView | None:
        """None if there is no such Deployment."""
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            seen = self._node.events.counter
            view = self._rollout(namespace, name)
            left = deadline - asyncio.get_running_loop().time()
            if view is None or view.done or view.message != said or left <= 0:
                return view
            # Deadlines pass without an event.
            await self._node.events.wait(seen, min(left, 1.0))

    async def events(self, since: int, wait: float) -> int:
        return await self._node.events.wait(since, wait)

    async def down(self) -> None:
        self._node.stop("asked by `down`")
        await self._node.gone.wait()

    def _rollout(self, namespace: str, name: str) -> RolloutView | None:
        stored = self._node.store.objects.get(DEPLOYMENT.ref(namespace, name))
        if stored is None:
            return None
        message, done, failed = self._node.workloads.rollout(stored)
        return RolloutView(namespace=namespace, name=name, done=done, message=message, failed=failed)

    def _delete(self, refs: tuple[ObjectRef, ...]) -> tuple[ChangeView, ...]:
        """A pod of a Deployment is no stored object: it goes, and another one comes."""
        changes: list[Change] = []
        for ref in refs:
            pod = self._node.workloads.pods.get(ref)
            if pod is not None and pod.identity.owner is not None:
                self._node.workloads.remove(pod)
                changes.append(Change(ref, "deleted"))
            else:
                changes += self._node.change(partial(storing.delete, refs=(ref,)))
        return tuple(describe_change(change) for change in changes)

    def _change_one(self, change: Callable[[Store], tuple[Store, Change]]) -> ChangesView:
        def changed(store: Store) -> tuple[Store, tuple[Change, ...]]:
            store, one = change(store)
            return store, (one,)

        return ChangesView(changes=tuple(describe_change(c) for c in self._node.change(changed)))

    def _document(self, stored: Stored) -> Unstructured:
        node = self._node
        document = render(stored, node.cluster_ips_by_ref)
        if isinstance(stored.manifest.resource, Deployment):
            counts = node.workloads.counts(stored)
            document["status"] = {
                "replicas": counts.total,
                "updatedReplicas": counts.updated,
                "readyReplicas": counts.ready,
                "availableReplicas": counts.available,
                "observedGeneration": stored.generation,
            }
        return document


def _matches(ref: ObjectRef, kind: Kind | None, namespace: str, name: str) -> bool:
    return kind in (None, ref.kind) and namespace in ("", ref.namespace) and name in ("", ref.name)


def _merge(ours: tuple[ProblemView, ...], discoverys: tuple[ProblemView, ...]) -> tuple[ProblemView, ...]:
    """Discovery reads the same objects and says the same of them, but knows the object's line alone."""

    def subject(problem: ProblemView) -> tuple[str, ...]:
        return problem.group, problem.kind, problem.namespace, problem.name, problem.field, problem.reason

    said = {subject(problem) for problem in ours}
    return (*ours, *(problem for problem in discoverys if subject(problem) not in said))
