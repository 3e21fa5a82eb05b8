"""All that there is to be told of a running mesh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import msgspec

from pilotfish.config.kubernetes import Service
from pilotfish.config.manifest import locate
from pilotfish.model import ObjectRef, Problem, Source
from pilotfish.model.kinds import KINDS, SERVICE
from pilotfish.node import gateways
from pilotfish.node.store import Store
from pilotfish.runtime.control.views import (
    InboundView,
    MeshView,
    ProblemView,
    PublishView,
    ServiceView,
    StatusView,
    SyncView,
)
from pilotfish.runtime.net.egress import Egress
from pilotfish.runtime.node.describe import (
    certificate_problem,
    describe_machine,
    describe_pod,
    describe_proxy,
    describe_service,
)
from pilotfish.runtime.node.discovery import DiscoveryProcess
from pilotfish.runtime.node.entrances import Entrances
from pilotfish.runtime.node.pod import Pod
from pilotfish.runtime.node.publish import Published
from pilotfish.runtime.node.reconciler import Reconciler
from pilotfish.runtime.source import ObjectSource


class Status:
    def __init__(
        self,
        mesh: MeshView,
        reconciler: Reconciler,
        discovery: DiscoveryProcess,
        entrances: Entrances,
        source: ObjectSource,
        egress: Egress | None,
    ) -> None:
        self._mesh = mesh
        self._reconciler = reconciler
        self._discovery = discovery
        self._entrances = entrances
        self._source = source
        self._egress = egress

    async def view(self) -> StatusView:
        syncs, said = await asyncio.gather(self._discovery.syncs(), self._discovery.problems())
        by_proxy = _worst_by_proxy(syncs or ())
        workloads = self._reconciler.workloads
        pods = tuple(workloads.pods[ref] for ref in sorted(workloads.pods))
        machine = self._reconciler.ground.node_proxy
        of_machine = by_proxy.get(str(machine.proxy))
        of_pods = (
            describe_proxy(pod, of_machine if pod.sandbox.on_node else by_proxy.get(_name(pod)))
            for pod in pods
            if pod.sandbox.agent is not None and pod.state.stage != "finished"
        )
        proxies = tuple(filter(None, (*of_pods, describe_machine(machine, of_machine))))
        store = self._reconciler.store
        ours = tuple(ProblemView.of(_located(problem, store)) for problem in self.problems)
        merged = _merge(ours, tuple(_relocated(problem, store) for problem in said or ()))
        problems = tuple(once(merged, {pod.identity.ref: pod.identity.owner for pod in pods}))
        in_sync = (
            said is not None
            and syncs is not None
            and all(proxy.sync is not None and proxy.sync.synced for proxy in proxies)
        )
        is_fine = in_sync and not any(problem.severity == "error" for problem in problems)
        return StatusView(
            mesh=self._mesh,
            ready=self._reconciler.ready and is_fine,
            discovery=msgspec.structs.replace(self._discovery.view, answering=syncs is not None),
            pods=tuple(describe_pod(pod) for pod in pods),
            proxies=proxies,
            services=self._services(),
            published=tuple(self._describe_published()),
            problems=problems,
            inbound=_sum(proxy.inbound for proxy in proxies),
            access_log=bool(store.desired.mesh_config.access_log_file),
        )

    def _describe_published(self) -> Iterator[PublishView]:
        chosen = self._entrances.chosen
        yield from (self.describe(each) for each in (*chosen, *self._entrances.published))

    def describe(self, published: Published) -> PublishView:
        return PublishView(
            address=published.address,
            target=published.publish.target,
            trials=self._entrances.trials(published.port),
            protocol=published.publish.protocol,
            chosen=published in self._entrances.chosen,
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """As far as the node itself sees them."""
        reconciler = self._reconciler
        workloads, store = reconciler.workloads, reconciler.store
        waiting = tuple(problem for pod in workloads.pods.values() for problem in pod.problems())
        agents = [(pod.sandbox.agent, pod.identity.ref) for pod in workloads.pods.values()]
        held = (*agents, (reconciler.ground.node_proxy.agent, None))
        expiring = tuple(p for agent, ref in held if (p := certificate_problem(agent, ref, time.time())))
        manifests = {ref: stored.manifest for ref, stored in store.objects.items()}
        unheld = (limit,) if (limit := reconciler.ground.limiter.problem) is not None else ()
        ours = (*unheld, *reconciler.faults.problems, *reconciler.address_problems, *gateways.find_problems(manifests))
        ports = (*(self._egress.problems if self._egress is not None else ()), *self._entrances.problems)
        said = (*self._source.problems(), *store.problems, *ours, *workloads.problems)
        found = (*said, *waiting, *expiring, *ports)
        return tuple(dict.fromkeys(found))

    def _services(self) -> tuple[ServiceView, ...]:
        reconciler = self._reconciler
        backends = reconciler.backends()
        return tuple(
            describe_service(
                stored,
                stored.manifest.resource,
                reconciler.cluster_ips_by_ref.get(stored.ref, ""),
                backends,
                partial(self._entrances.host_port, stored.ref),
            )
            for stored in reconciler.store.of_kind(SERVICE)
            if isinstance(stored.manifest.resource, Service)
        )


def _name(pod: Pod) -> str:
    return f"{pod.identity.name}.{pod.identity.namespace}"


def _sum(views: Iterable[InboundView]) -> InboundView:
    found = tuple(views)
    return InboundView(connections=sum(each.connections for each in found), mutual=sum(each.mutual for each in found))


def _located(problem: Problem, store: Store) -> Problem:
    stored = store.objects.get(problem.ref) if problem.ref is not None else None
    return locate(problem, stored.manifest if stored is not None else None)


def _relocated(view: ProblemView, store: Store) -> ProblemView:
    """The same of one that discovery says: it knows the field, and the node its line."""
    kind = next((kind for kind in KINDS if (kind.name, kind.group) == (view.kind, view.group)), None)
    if kind is None:
        return view
    told = Problem(kind.ref(view.namespace, view.name), view.field, view.reason, "", source=Source.parse(view.source))
    source = _located(told, store).source
    return msgspec.structs.replace(view, source=str(source) if source is not None else "")


def _worst_by_proxy(syncs: Iterable[SyncView]) -> dict[str, SyncView]:
    """A proxy may have several streams, and whoever else is in its pod may have opened one as it."""
    found: dict[str, SyncView] = {}
    for sync in syncs:
        if sync.proxy not in found or not sync.synced:
            found[sync.proxy] = sync
    return found


def once(problems: Iterable[ProblemView], owners: Mapping[ObjectRef, ObjectRef | None]) -> Iterator[ProblemView]:
    """What is said of a pod and of its owner, or of several pods of one owner, stands once: of the first."""
    said: set[tuple[object, ...]] = set()
    for view in problems:
        ref = view.problem.ref
        whose = owners.get(ref) or ref if ref is not None else None
        what = whose, view.reason, view.message, view.field.removeprefix("spec.template."), view.proxies
        if whose is ref or what not in said:
            yield view
        said.add(what)


def _merge(ours: tuple[ProblemView, ...], discoverys: tuple[ProblemView, ...]) -> tuple[ProblemView, ...]:
    """Discovery reads the same objects and says the same of them."""

    def subject(problem: ProblemView) -> tuple[str, ...]:
        return problem.group, problem.kind, problem.namespace, problem.name, problem.field, problem.reason

    said = {subject(problem) for problem in ours}
    return (*ours, *(problem for problem in discoverys if subject(problem) not in said))
