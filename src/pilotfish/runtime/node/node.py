"""One mesh on one machine, from its first namespace to its last."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from pilotfish import config
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import SERVICE
from pilotfish.node import services
from pilotfish.node import store as storing
from pilotfish.node.publish import Publish
from pilotfish.node.store import Change, Store
from pilotfish.runtime.agent import AgentHost, machine_resolvers
from pilotfish.runtime.control.server import ControlServer
from pilotfish.runtime.control.views import PublishView
from pilotfish.runtime.linux.loopback import ipv6_enabled
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.node.announce import Announcer, record
from pilotfish.runtime.node.claim import remove_directory
from pilotfish.runtime.node.describe import backend
from pilotfish.runtime.node.discovery import Discovery
from pilotfish.runtime.node.events import Changes
from pilotfish.runtime.node.inject import build_sidecar
from pilotfish.runtime.node.meshconfig import MeshConfigs
from pilotfish.runtime.node.notes import Notes
from pilotfish.runtime.node.operations import NodeOperations
from pilotfish.runtime.node.options import CannotStart, OnEvent, UpOptions
from pilotfish.runtime.node.pod import Pod
from pilotfish.runtime.node.progress import Progress
from pilotfish.runtime.node.publish import Published, find_endpoints, find_problem
from pilotfish.runtime.node.records import write_mesh_config, write_view
from pilotfish.runtime.node.sandbox import Ground
from pilotfish.runtime.node.sources import Sources
from pilotfish.runtime.node.workloads import Place, Workloads

_DISCOVERY_START = 30.0
_LONGEST_GRACE = 30.0
"""Seconds that pods get when the whole mesh ends, whatever they ask for."""
_ENVOYS_AT_ONCE = 4
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ")
"""What containers get of the environment that `up` was started in."""


class Node:
    """`start`, then `run` until somebody calls `stop`; `close` in any case, however far `start` came."""

    store: Store
    ground: Ground

    def __init__(self, options: UpOptions, on_event: OnEvent, stdin: str | None = None) -> None:
        self.options = options
        self.store = Store()
        self.events = Changes()
        self.progress = Progress(on_event)
        self.gone = asyncio.Event()
        """All is torn down."""
        self.mesh_configs = MeshConfigs(options.mesh_config, self._mesh_config_changed)
        self.base_environment: Mapping[str, str] = build_base_environment(os.environ)
        self.cluster_ips_by_ref: Mapping[ObjectRef, str] = {}
        self.published: list[Published] = []
        self._loop = asyncio.get_running_loop()
        self._stdin = stdin
        self._control: ControlServer | None = None
        self._stopping = asyncio.Event()
        self._ip_problems: tuple[Problem, ...] = ()
        self._scheduled = False
        self._look: asyncio.TimerHandle | None = None
        self._seen_version = -1
        self._standing = False
        """The parts below `start` exist, and what is stored is acted upon."""
        self._parts = AsyncExitStack()
        """How to take down what there is, the last first."""

    async def start(self) -> None:
        """Returns when the mesh stands and its pods are being made. CannotStart or MachineError if it can't be."""
        options = self.options
        (options.directory / "config").mkdir(parents=True, exist_ok=True)
        self._parts.callback(remove_directory, options.directory)
        self.view = write_view(options, ())
        sources = self._read_sources()
        network = await MeshNetwork.create(options.name)
        self._parts.callback(self.progress.event, "all gone")
        self._parts.push_async_callback(network.delete)
        subnets = network.subnets
        self.view = write_view(options, (str(subnets.v4), str(subnets.v6)))
        self.progress.event(f"network {subnets.v4} ready")
        self._lay_ground(network)
        control = ControlServer(NodeOperations(self), options.directory / "control.sock")
        await control.start()
        self._control = control
        sources.watch()
        for published in self.published:
            await published.start()
            self.progress.event(f"{published.publish.target} published on {published.address}")
            if problem := find_problem(published, self.store):
                self.progress.event(str(problem), problem.severity.value)
        await self.discovery.wait_ready(_DISCOVERY_START)
        self.progress.event("discovery ready")
        self._announcer.start()
        self.ground.discovery_ready.set()
        self._check_ready()

    async def run(self) -> None:
        """Until `stop`."""
        await self._stopping.wait()

    def stop(self, why: str) -> None:
        """A second call hurries what the first began."""
        if not self.stopping:
            self.progress.event(f"going down: {why}")
            self._stopping.set()
        elif self._standing:
            self.workloads.hurry()

    async def close(self) -> None:
        """Takes down what there is. Whoever asked for it over the control socket is answered last."""
        self._stopping.set()
        self.progress.close()
        if self._look is not None:
            self._look.cancel()
        try:
            await self._parts.aclose()
        finally:
            self.gone.set()
            if self._control is not None:
                await self._control.stop()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def ready(self) -> bool:
        """Every pod is, and every proxy has what discovery means it to have."""
        return self.ground.discovery_ready.is_set() and self.workloads.is_settled(self.store) and self._announcer.synced

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of the user's objects, as far as the node itself sees them."""
        refused: tuple[Problem, ...] = ()
        if self._standing:
            refused = tuple(p for ref in sorted(self.workloads.problems) for p in self.workloads.problems[ref])
            refused += tuple(p for pod in self.workloads.pods.values() for p in pod.problems())
        unpublished = tuple(p for each in self.published if (p := find_problem(each, self.store)))
        return (*self.mesh_configs.problems, *self.store.problems, *self._ip_problems, *refused, *unpublished)

    def published_views(self) -> tuple[PublishView, ...]:
        return tuple(PublishView(address=p.address, target=p.publish.target) for p in self.published)

    def cluster_ips(self, namespace: str) -> Mapping[str, str]:
        """Service name → cluster IP."""
        return {ref.name: ip for ref, ip in self.cluster_ips_by_ref.items() if ref.namespace == namespace}

    def change(self, change: Callable[[Store], tuple[Store, tuple[Change, ...]]]) -> tuple[Change, ...]:
        """Change what is stored; what follows from it begins in the same turn of the loop."""
        self.store, changes = change(self.store)
        self._schedule()
        return changes

    def pod_changed(self, pod: Pod) -> None:
        self.progress.pod(pod)
        self._schedule()

    async def withdrawn(self, pod: Pod) -> None:
        self._reconcile()
        await self._announcer.wait_withdrawn()

    def _read_sources(self) -> Sources:
        """All that was given, read; and the ports that were asked for, taken, before anything is built."""
        options = self.options
        mesh_config = (options.mesh_config,) if options.mesh_config else ()
        sources = Sources((*mesh_config, *options.sources), self._on_text)
        self._parts.callback(sources.close)
        for publish in options.publish:
            published = Published(publish, self._endpoints)
            self._parts.push_async_callback(published.close)
            self.published.append(published)
        sources.read(self._stdin)
        self._report_problems()
        if not self.store.objects and self.problems:
            raise CannotStart(f"nothing in {', '.join(options.sources)} can be used; mend what is said above")
        return sources

    def _lay_ground(self, network: MeshNetwork) -> None:
        """Everything that pods need; the pods are being made when this returns."""
        options, node = self.options, network.subnets.node[0]
        agents = AgentHost(resolvers=machine_resolvers())
        self._parts.push_async_callback(agents.close)
        self.discovery = Discovery(network.node, str(node), options.directory, self.events.bump)
        self._parts.push_async_callback(self.discovery.stop)
        objects = options.directory / "config" / "objects.json"
        self._announcer = Announcer(objects, self.discovery, self._discovery_changed, self._count_proxies)
        self._parts.push_async_callback(self._announcer.stop)
        self.ground = Ground(
            network=network,
            agents=agents,
            discovery=self.discovery.xds,
            monitoring=self.discovery.monitoring,
            discovery_ready=asyncio.Event(),
            starting=asyncio.Semaphore(max(_ENVOYS_AT_ONCE, 2 * len(os.sched_getaffinity(0)))),
        )
        ipv6 = ipv6_enabled()
        place = Place(os.uname().nodename, options.directory, network.subnets, ipv6)
        self.workloads = Workloads(self, place, lambda pod: build_sidecar(pod, self.mesh_configs.current, ipv6))
        self.notes = Notes(self.workloads, self._schedule)
        self._parts.push_async_callback(self._stop_pods)
        self._standing = True
        write_mesh_config(options.directory, self.mesh_configs.current)
        self._reconcile()
        self.discovery.start()

    async def _stop_pods(self) -> None:
        self.notes.close()
        await self.workloads.remove_all(_LONGEST_GRACE)
        self._standing = False

    def _schedule(self) -> None:
        """Changes of one turn of the loop are one."""
        if self._standing and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._reconcile)

    def _reconcile(self) -> None:
        self._scheduled = False
        if not self._standing:
            return
        held = self.cluster_ips_by_ref
        self.cluster_ips_by_ref, self._ip_problems = services.allocate(self.store.of_kind(SERVICE), held)
        if not self.stopping:
            self._reconcile_pods()
        records = [record(pod) for pod in self.workloads.pods.values() if pod.state.stage != "finished"]
        self._announcer.announce(self.store, self.cluster_ips_by_ref, records)
        self.notes.update(self.store)
        self._check_ready()
        self.events.bump()

    def _reconcile_pods(self) -> None:
        if self._look is not None:
            self._look.cancel()
        at = self.workloads.reconcile(self.store)
        self._look = None if at is None else self._loop.call_at(at, self._schedule)
        if self.store.version != self._seen_version:
            self._seen_version = self.store.version
            for pod in list(self.workloads.pods.values()):
                pod.refresh()

    def _discovery_changed(self) -> None:
        self._check_ready()
        self.events.bump()

    def _count_proxies(self) -> int:
        agents = (pod.sandbox.agent for pod in self.workloads.pods.values())
        return sum(agent is not None and agent.ready for agent in agents)

    def _check_ready(self) -> None:
        if self.ground.discovery_ready.is_set():
            self.progress.readiness(self.workloads.is_settled(self.store), self._announcer.synced)

    def _on_text(self, name: str, text: str) -> None:
        """A source was read for the first time, or saved."""
        if name == self.options.mesh_config:
            self.mesh_configs.read(text)
        else:
            loaded = config.load(text, name, self.options.namespace)
            self.mesh_configs.take(name, loaded)
            changes = self.change(lambda store: storing.replace_file(store, name, loaded, time.time()))
            if self._standing:
                self.progress.saved(name, changes)
        if self._standing:
            self._report_problems()

    def _mesh_config_changed(self) -> None:
        if self._standing:
            write_mesh_config(self.options.directory, self.mesh_configs.current)
            self.progress.event("meshConfig changed; what it says of Envoy's start holds for new pods")

    def _endpoints(self, publish: Publish) -> tuple[tuple[str, int], ...]:
        if not self._standing:
            return ()
        backends = [backend(pod) for pod in self.workloads.pods.values() if not pod.state.deleted]
        return find_endpoints(publish, self.store, backends)

    def _report_problems(self) -> None:
        for problem in (*self.mesh_configs.problems, *self.store.problems):
            self.progress.event(str(problem), problem.severity.value)


def build_base_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """PATH, so that `command: [python3, app.py]` finds what the user's shell finds; nothing that could be a secret."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", **kept}
