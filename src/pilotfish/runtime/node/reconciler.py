"""Makes what runs into what the objects ask for: pods, cluster IPs, and what discovery is told."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from pilotfish.config.desired import News
from pilotfish.config.proxying import with_proxy
from pilotfish.inject import Sidecar, build_sidecar
from pilotfish.inject.sidecar import MACHINE
from pilotfish.model import ObjectRef, Problem, Source
from pilotfish.model.frontend import Frontends
from pilotfish.model.kinds import SERVICE
from pilotfish.model.names import NameTable
from pilotfish.node import services
from pilotfish.node import store as storing
from pilotfish.node.endpoints import Backend
from pilotfish.node.events import Event
from pilotfish.node.history import History
from pilotfish.node.identity import PodIdentity
from pilotfish.node.publish import Endpoints, Publish
from pilotfish.node.store import Change, Store, proxy_configs
from pilotfish.runtime.net.names import is_shortened
from pilotfish.runtime.node.addresses import Addresses
from pilotfish.runtime.node.announce import Announcer, record
from pilotfish.runtime.node.changes import ChangeCounter
from pilotfish.runtime.node.controlled import workload_of
from pilotfish.runtime.node.describe import backend
from pilotfish.runtime.node.discovery import DiscoveryProcess
from pilotfish.runtime.node.ending import Ending
from pilotfish.runtime.node.entrances import Entrances
from pilotfish.runtime.node.faults import Faults
from pilotfish.runtime.node.machine import Machine
from pilotfish.runtime.node.notes import Notes
from pilotfish.runtime.node.pod import Pod
from pilotfish.runtime.node.progress import Progress
from pilotfish.runtime.node.publish import find_endpoints
from pilotfish.runtime.node.records import write_mesh_config
from pilotfish.runtime.node.sandbox import Ground
from pilotfish.runtime.node.storage import ClaimDirectories
from pilotfish.runtime.node.workloads import Place, Workloads

_LONGEST_GRACE = 30.0
"""Seconds that pods get when the whole mesh ends, whatever they ask for."""
_RETRY = 2.0
"""Seconds until what failed is tried again though nothing changes: nobody tells that a disk has room again."""
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ")
"""What containers get of the environment that `up` was started in."""


class Reconciler:
    """Implements `pod.Surroundings`. All that follows from a change begins in the next turns of the loop."""

    def __init__(
        self,
        store: Store,
        ground: Ground,
        place: Place,
        discovery: DiscoveryProcess,
        progress: Progress,
        changes: ChangeCounter,
        ending: Ending,
        entrances: Entrances,
        machine: Machine,
    ) -> None:
        self.store = storing.complete(store, time.time())
        self.ground = ground
        self.faults = Faults()
        self.history = History()
        self.base_environment = build_base_environment(os.environ)
        self.cluster_ips_by_ref: Mapping[ObjectRef, str] = {}
        self._ip_problems: tuple[Problem, ...] = ()
        self.workloads = Workloads(self, place, self._inject, self.faults, self.change)
        self._claims = ClaimDirectories(place.storage / "claims")
        self._place = place
        self._progress = progress
        self._changes = changes
        self._ending = ending
        self._entrances = entrances
        self._machine = machine
        self._notes = Notes(self.workloads, self._schedule)
        objects = place.directory / "config" / "objects.json"
        self._announcer = Announcer(objects, discovery, self._told, self._count_proxies, self.faults)
        self._addresses = Addresses(ground.network, ground.agents, self._told, self.faults)
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._telling = False
        self._look: asyncio.TimerHandle | None = None
        self._seen_version = -1
        self._unrefreshed = False
        self._allocated = -1
        self._seen_faults = 0
        self._retry: asyncio.TimerHandle | None = None
        self._stopped = False

    async def start(self) -> None:
        """The pods are being made when this returns, and discovery has something to read."""
        await self._addresses.start()
        self.ground.node_proxy.on_change = self.discovery_moved
        write_mesh_config(self._place.directory, self.store.desired.mesh_config)
        self._reconcile()
        self._tell()

    def discovery_started(self) -> None:
        self._announcer.start()
        self.ground.discovery_ready.set()
        self._check_ready()

    def discovery_moved(self) -> None:
        """Its process, or the machine's proxy, has started, or ended."""
        self._announcer.look()
        self._changes.bump()

    async def stop(self) -> None:
        """Returns when no pod is left."""
        self._notes.close()
        try:
            await self.workloads.remove_all(_LONGEST_GRACE, self._ending.hurried)
        finally:
            self._stopped = True
            if self._look is not None:
                self._look.cancel()
            if self._retry is not None:
                self._retry.cancel()
            await self._claims.close()
            await self._announcer.stop()
            await self._addresses.close()

    @property
    def ready(self) -> bool:
        """Every pod is, and every proxy and the kernel have what they are meant to have."""
        return self.synced and self.ground.discovery_ready.is_set() and self._is_settled

    @property
    def synced(self) -> bool:
        """Every proxy, and the kernel, have what follows from the objects as they are."""
        return not (self._scheduled or self._telling) and self._synced  # what has just changed nobody knows yet

    @property
    def _is_settled(self) -> bool:
        return not self.faults.problems and self.workloads.is_settled(self.store)

    # Changes

    def follow(self, news: News) -> None:
        """What the sources tell."""
        changes = self.change(lambda store: storing.follow(store, news, time.time()))
        self._progress.saved(news, changes)
        self._progress.problems(self.store.desired.problems)

    def change(self, change: Callable[[Store], tuple[Store, tuple[Change, ...]]]) -> tuple[Change, ...]:
        """Change what is stored."""
        before = self.store.desired.mesh_config
        changed, changes = change(self.store)
        self.store = storing.complete(changed, time.time())
        if self.store.desired.mesh_config != before:
            write_mesh_config(self._place.directory, self.store.desired.mesh_config)
            self._progress.say("meshConfig changed; what it says of Envoy's start holds for new pods")
        self._schedule()
        return changes

    def pod_changed(self, pod: Pod) -> None:
        self._announcer.look()
        self._progress.pod(pod)
        self._schedule()

    def pod_told(self, pod: Pod, event: Event | None) -> None:
        self.history.note_pod(pod.identity, event, pod.state, time.time())

    async def withdrawn(self, pod: Pod) -> None:
        """Returns when every proxy, and the kernel, knows that the pod is no endpoint any more."""
        self._reconcile()
        self._tell()
        await asyncio.gather(self._announcer.wait_withdrawn(), self._addresses.wait())

    # What there is

    @property
    def address_problems(self) -> tuple[Problem, ...]:
        return (*self._ip_problems, *self._addresses.problems)

    @property
    def node_name(self) -> str:
        return self._place.node_name

    @property
    def node_addresses(self) -> tuple[str, ...]:
        return tuple(map(str, self._place.subnets.node))

    def cluster_ips(self, namespace: str) -> Mapping[str, str]:
        """Service name → cluster IP."""
        return {ref.name: ip for ref, ip in self.cluster_ips_by_ref.items() if ref.namespace == namespace}

    def names(self, pod: ObjectRef) -> NameTable | None:
        """What answers the pod's DNS questions: its agent, or the node. None: there is no such pod."""
        found = self.workloads.pods.get(pod)
        if found is None:
            return None
        agent = found.sandbox.agent
        table = agent.names() if agent is not None else self._addresses.names()
        return replace(table, records={**table.records, **self.ground.agents.own_names})

    @property
    def frontends(self) -> Frontends:
        return self._addresses.frontends

    def backends(self) -> tuple[Backend, ...]:
        """The pods that stay, in order."""
        pods = (self.workloads.pods[ref] for ref in sorted(self.workloads.pods))
        return tuple(backend(pod) for pod in pods if not pod.state.deleted)

    def endpoints(self, publish: Publish) -> Endpoints:
        """Where a connection to a published port goes."""
        return () if self._stopped else find_endpoints(publish, self.store, self.backends(), self.frontends)

    def _inject(self, pod: PodIdentity) -> tuple[Sidecar | None, tuple[Problem, ...]]:
        namespace = self.store.namespace(pod.namespace)
        return build_sidecar(
            pod.pod,
            with_proxy(self.store.desired.mesh_config, self._place.proxy),
            workload=workload_of(pod, self.store),
            ipv6=self._place.ipv6,
            source=Source.parse(pod.source),
            namespace_labels=namespace.labels,
            namespace_annotations=namespace.annotations,
            proxy_configs=proxy_configs(self.store),
            place=replace(MACHINE, lacks_node_proxy=self._why_no_node_proxy(pod)),
        )

    def _why_no_node_proxy(self, pod: PodIdentity) -> str:
        """Why the machine's proxy can't serve it, whatever it asks for; "" if it can."""
        network = self.ground.network
        if network.userns is None:
            return "the kernel makes no user namespaces (sysctl user.max_user_namespaces), which would contain it"
        shortened = is_shortened(network.mesh, pod.namespace, pod.name)
        return "its name is too long for a file's, by which it would know the pod" if shortened else ""

    # What follows

    def _schedule(self) -> None:
        """Changes of one turn of the loop are one."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._reconcile)

    def _reconcile(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        faults = self.faults
        with faults.isolate("Services are given no cluster IPs"):
            self._allocate()
        if not self._ending.has_begun:
            with faults.isolate("ports of the host are not opened or closed"):
                self._entrances.update(self.store, self.backends, self.endpoints)
                self._machine.update(self.store)
            with faults.isolate("pods are not made or removed"):
                self._reconcile_pods()
        # In a turn of its own: each takes its time where there are thousands of objects.
        if not self._telling:
            self._telling = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        """Whoever is to know of what has changed."""
        self._telling = False
        if self._stopped:
            return
        faults = self.faults
        records = [record(pod) for pod in self.workloads.pods.values() if pod.state.stage != "finished"]
        if not self._ending.has_begun:
            with faults.isolate("what is sent to Services past the sidecars goes where it went before"):
                self._addresses.announce(self.store, self.cluster_ips_by_ref, records)
        with faults.isolate("discovery is not told what changed"):
            self._announcer.announce(self.store, self.cluster_ips_by_ref, records)
        with faults.isolate("ports that nobody listens on are not noted"):
            self._notes.update(self.store)
        with faults.isolate("whether all is ready is not known"):
            self._check_ready()
        self._changes.bump()
        if self._unrefreshed or faults.count != self._seen_faults:
            self._seen_faults = faults.count
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._loop.call_later(_RETRY, self._schedule)

    def _allocate(self) -> None:
        if self._allocated != self.store.version:
            held = self.cluster_ips_by_ref
            self.cluster_ips_by_ref, self._ip_problems = services.allocate(
                self.store.of_kind(SERVICE), held, self._place.subnets.services
            )
            self._allocated = self.store.version

    def _reconcile_pods(self) -> None:
        if self._look is not None:
            self._look.cancel()
        at = self.workloads.reconcile(self.store)
        with self.faults.isolate("directories of claims that are gone stay"):
            self._claims.sweep(self.store, (pod.identity for pod in self.workloads.pods.values()))
        self._look = None if at is None else self._loop.call_at(at, self._schedule)
        if self.store.version != self._seen_version or self._unrefreshed:
            self._seen_version = self.store.version
            self._refresh()

    def _refresh(self) -> None:
        """What pods have of ConfigMaps and Secrets. One that can't be written is tried again."""
        self._unrefreshed = False
        for pod in list(self.workloads.pods.values()):
            ref, source = pod.identity.ref, Source.parse(pod.identity.source)
            with self.faults.isolate("its volumes stay as they were", ref, source):
                pod.refresh()
            self._unrefreshed = self._unrefreshed or bool(pod.unwritten)

    def _told(self) -> None:
        """Proxies or the kernel have, or refuse, what they were told."""
        self._check_ready()
        self._changes.bump()

    def _count_proxies(self) -> int:
        """Of the pods that take traffic, as discovery is told of them; the machine's is one."""
        serving = [pod for pod in self.workloads.pods.values() if pod.state.ready and not pod.state.deleted]
        own = sum((a := pod.sandbox.agent) is not None and a.ready for pod in serving if not pod.sandbox.on_node)
        return own + (self.ground.node_proxy.ready and any(pod.sandbox.on_node for pod in serving))

    def _check_ready(self) -> None:
        if self.ground.discovery_ready.is_set():
            self._progress.readiness(self._is_settled, self.synced)

    @property
    def _synced(self) -> bool:
        return self._announcer.synced and self._addresses.settled


def build_base_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """PATH, so that `command: [python3, app.py]` finds what the user's shell finds; nothing that could be a secret."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **kept}
