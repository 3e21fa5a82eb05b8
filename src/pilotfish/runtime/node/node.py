"""One mesh on one machine, from its first namespace to its last."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pilotfish import config
from pilotfish.config.kubernetes import Service
from pilotfish.config.manifest import Loaded
from pilotfish.config.mesh import MeshConfig
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.node import services
from pilotfish.node import store as storing
from pilotfish.node.endpoints import endpoints, find_port
from pilotfish.node.identity import PodIdentity
from pilotfish.node.publish import Publish
from pilotfish.node.store import Change, Store
from pilotfish.runtime.agent import Shared, machine_resolvers
from pilotfish.runtime.control.client import process_started
from pilotfish.runtime.control.server import ControlServer
from pilotfish.runtime.control.views import MeshView, PublishView
from pilotfish.runtime.names import node_name
from pilotfish.runtime.netns import NetNs, ipv6_enabled
from pilotfish.runtime.network import MeshNetwork
from pilotfish.runtime.node.announce import Announcer, record
from pilotfish.runtime.node.describe import backend
from pilotfish.runtime.node.discovery import Discovery
from pilotfish.runtime.node.events import Changes
from pilotfish.runtime.node.inject import build_sidecar
from pilotfish.runtime.node.notes import Notes
from pilotfish.runtime.node.operations import NodeOperations
from pilotfish.runtime.node.options import CannotStart, Event, OnEvent, UpOptions
from pilotfish.runtime.node.pod import Pod
from pilotfish.runtime.node.publish import Published
from pilotfish.runtime.node.sandbox import Ground, Sidecar
from pilotfish.runtime.node.sources import Sources
from pilotfish.runtime.node.workloads import Place, Workloads

_log = logging.getLogger(__name__)
_DISCOVERY_START = 30.0
_LONGEST_GRACE = 30.0
"""Seconds that pods get when the whole mesh ends, whatever they ask for."""
_ENVOYS_AT_ONCE = 4
_PATIENCE = 5.0
"""Seconds that proxies get to acknowledge everything, once all pods are ready, before that is said."""
_FINE = ("ready", "gone", "completed")
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
        self.gone = asyncio.Event()
        """All is torn down."""
        self.mesh_config = MeshConfig()
        self.base_environment: Mapping[str, str] = _base_environment(os.environ)
        self.cluster_ips_by_ref: Mapping[ObjectRef, str] = {}
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._on_event = on_event
        self._stdin = stdin
        self._stopping = asyncio.Event()
        self._ip_problems: tuple[Problem, ...] = ()
        self._config_problems: tuple[Problem, ...] = ()
        self._scheduled = False
        self._said_ready = False
        self._patience: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._said: dict[ObjectRef, str] = {}
        self._seen_version = -1
        self._published: list[Published] = []
        self._sources: Sources | None = None
        self._network: MeshNetwork | None = None
        self._control: ControlServer | None = None
        self._shared: Shared | None = None
        self._started = False

    async def start(self) -> None:
        """Returns when the mesh stands and its pods are being made. CannotStart or MachineError if it can't be."""
        options = self.options
        (options.directory / "config").mkdir(parents=True, exist_ok=True)
        self._write_view(())
        mesh_config = (options.mesh_config,) if options.mesh_config else ()
        self._sources = Sources((*mesh_config, *options.sources), self._on_text)
        self._published = [Published(publish, self._endpoints) for publish in options.publish]
        self._sources.read(self._stdin)
        self._report_problems()
        if not self.store.objects and self.problems:
            raise CannotStart(f"nothing in {', '.join(options.sources)} can be used; mend what is said above")
        self._network = await MeshNetwork.create(options.name)
        subnets = self._network.subnets
        self._write_view(tuple(str(network) for network in (subnets.v4, subnets.v6)))
        self.event(f"network {subnets.v4} ready")
        self.discovery = Discovery(self._network.node, str(subnets.node[0]), options.directory, self.events.bump)
        self._announcer = Announcer(
            options.directory / "config" / "objects.json", self.discovery, self._discovery_changed
        )
        self._shared = Shared(resolvers=machine_resolvers())
        self.ground = Ground(
            network=self._network,
            shared=self._shared,
            discovery=self.discovery.xds,
            monitoring=self.discovery.monitoring,
            discovery_ready=asyncio.Event(),
            starting=asyncio.Semaphore(max(_ENVOYS_AT_ONCE, 2 * len(os.sched_getaffinity(0)))),
        )
        place = Place(os.uname().nodename, options.directory, subnets, ipv6_enabled())
        self.workloads = Workloads(self, place, self._inject)
        self.notes = Notes(self.workloads, self._schedule)
        self._started = True
        self._write_mesh_config()
        self._reconcile()
        self.discovery.start()
        self._control = ControlServer(NodeOperations(self), options.directory / "control.sock")
        await self._control.start()
        self._sources.watch()
        for published in self._published:
            await published.start()
            self.event(f"{published.publish.target} published on {published.address}")
        await self.discovery.wait_ready(_DISCOVERY_START)
        self.event("discovery ready")
        self._announcer.start()
        self.ground.discovery_ready.set()
        self._check_ready()

    async def run(self) -> None:
        """Until `stop`."""
        await self._stopping.wait()

    def stop(self, why: str) -> None:
        """A second call hurries what the first began."""
        if self._stopping.is_set():
            if self._started:
                self.workloads.hurry()
            return
        self.event(f"going down: {why}")
        self._stopping.set()

    async def close(self) -> None:
        """Takes down what there is."""
        self._stopping.set()
        self._cancel_patience()
        if self._look is not None:
            self._look.cancel()
        if self._sources is not None:
            self._sources.close()
        for published in self._published:
            await published.close()
        if self._started:
            await self.notes.close()
            await self.workloads.remove_all(_LONGEST_GRACE)
            await self._announcer.stop()
            await self.discovery.stop()
            self._started = False
        if self._shared is not None:
            await self._shared.close()
        if self._network is not None:
            await self._network.delete()
        shutil.rmtree(self.options.directory, ignore_errors=True)
        self.event("all gone")
        self.gone.set()
        if self._control is not None:
            await self._control.stop()

    def event(self, text: str, severity: str = "info", ready: bool = False) -> None:
        level = {"error": logging.ERROR, "warning": logging.WARNING}.get(severity, logging.INFO)
        _log.log(level, "%s", text)
        self._on_event(Event(self._loop.time() - self._began, text, severity, ready))

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def settled(self) -> bool:
        """All pods that should be are ready (or have come to a good end), and no rollout is under way."""
        pods = self.workloads.pods.values()
        if not all(pod.state.ready or pod.state.outcome == "Succeeded" for pod in pods):
            return False
        if any(p.severity == "error" for refused in self.workloads.problems.values() for p in refused):
            return False
        return all(self.workloads.rollout(stored)[1] for stored in self.store.of_kind("Deployment"))

    @property
    def ready(self) -> bool:
        """Settled, and every proxy has what discovery means it to have."""
        return self.ground.discovery_ready.is_set() and self.settled and self._announcer.synced

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Of the user's objects, as far as the node itself sees them."""
        refused: tuple[Problem, ...] = ()
        if self._started:
            refused = tuple(p for ref in sorted(self.workloads.problems) for p in self.workloads.problems[ref])
            refused += tuple(p for pod in self.workloads.pods.values() for p in pod.problems())
        unpublished = tuple(p for p in map(self._unpublished, self._published) if p is not None)
        return (*self._config_problems, *self.store.problems, *self._ip_problems, *refused, *unpublished)

    @property
    def view(self) -> MeshView:
        return self._view

    def published_views(self) -> tuple[PublishView, ...]:
        return tuple(PublishView(address=p.address, target=p.publish.target) for p in self._published)

    def cluster_ip(self, ref: ObjectRef) -> str:
        return self.cluster_ips_by_ref.get(ref, "")

    def cluster_ips(self, namespace: str) -> Mapping[str, str]:
        return {ref.name: ip for ref, ip in self.cluster_ips_by_ref.items() if ref.namespace == namespace}

    def change(self, change: Callable[[Store], tuple[Store, tuple[Change, ...]]]) -> tuple[Change, ...]:
        """Change what is stored; what follows from it begins in the same turn of the loop."""
        self.store, changes = change(self.store)
        self._schedule()
        return changes

    def pod_changed(self, pod: Pod) -> None:
        self._tell(pod)
        self._schedule()

    async def withdrawn(self, pod: Pod) -> None:
        self._reconcile()
        await self._announcer.wait_withdrawn()

    def _schedule(self) -> None:
        """Changes of one turn of the loop are one."""
        if self._started and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._reconcile)

    def _reconcile(self) -> None:
        self._scheduled = False
        if not self._started:
            return
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._allocate()
        if not self._stopping.is_set():
            look = self.workloads.reconcile(self.store)
            if look is not None:
                self._look = self._loop.call_at(look, self._schedule)
            if self.store.version != self._seen_version:
                self._seen_version = self.store.version
                for pod in list(self.workloads.pods.values()):
                    pod.refresh()
        records = [record(pod) for pod in self.workloads.pods.values() if pod.state.stage != "finished"]
        self._announcer.announce(self.store, self.cluster_ips_by_ref, records)
        self.notes.update(self.store)
        self._check_ready()
        self.events.bump()

    def _allocate(self) -> None:
        held = self.cluster_ips_by_ref
        self.cluster_ips_by_ref, self._ip_problems = services.allocate(self.store.of_kind("Service"), held)

    def _inject(self, identity: PodIdentity) -> tuple[Sidecar | None, tuple[Problem, ...]]:
        return build_sidecar(identity, self.mesh_config, ipv6_enabled())

    def _discovery_changed(self) -> None:
        self._check_ready()
        self.events.bump()

    def _check_ready(self) -> None:
        """Say once that all is up: at once when it is, or when the pods are, but proxies refuse or delay something."""
        if self._said_ready or self.stopping or not self.ground.discovery_ready.is_set():
            return
        if not self.settled:
            self._cancel_patience()
        elif self._announcer.synced:
            self._say_ready("ready", "info")
        elif self._patience is None:
            why = "pods are ready, but not every proxy has acknowledged everything: see status"
            self._patience = self._loop.call_later(_PATIENCE, self._say_ready, why, "warning")

    def _say_ready(self, text: str, severity: str) -> None:
        self._cancel_patience()
        self._said_ready = True
        self.event(text, severity, ready=True)

    def _cancel_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _on_text(self, name: str, text: str) -> None:
        """A source was read for the first time, or saved."""
        if name == self.options.mesh_config:
            loaded_config, self._config_problems = load_mesh_config(text, name)
            if loaded_config is not None:
                self._set_mesh_config(loaded_config)
        else:
            loaded = config.load(text, name, self.options.namespace)
            if loaded.mesh_config is not None and not self.options.mesh_config:
                self._set_mesh_config(loaded.mesh_config)
            self._replace_file(name, loaded)
        if self._started:
            self._report_problems()

    def _replace_file(self, name: str, loaded: Loaded) -> None:
        changes = self.change(lambda store: storing.replace_file(store, name, loaded, time.time()))
        if self._started:
            real = [change for change in changes if change.is_real]
            said = ", ".join(f"{change.ref} {change.action}" for change in real[:5])
            more = f" and {len(real) - 5} more" if len(real) > 5 else ""
            if real:
                self.event(f"{name} saved: {said}{more}")

    def _set_mesh_config(self, mesh_config: MeshConfig) -> None:
        if mesh_config != self.mesh_config:
            self.mesh_config = mesh_config
            if self._started:
                self._write_mesh_config()
                self.event("meshConfig changed; what it says of Envoy's start holds for new pods")

    def _write_mesh_config(self) -> None:
        """As JSON, which is YAML."""
        path = self.options.directory / "config" / "mesh.yaml"
        beside = path.with_suffix(".new")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(self.mesh_config, enc_hook=str)) + b"\n")
        beside.replace(path)

    def _write_view(self, pod_subnets: tuple[str, ...]) -> None:
        options = self.options
        self._view = MeshView(
            name=options.name,
            pid=os.getpid(),
            pid_started=process_started(os.getpid()) or 0,
            directory=str(options.directory.absolute()),
            started_at=time.time(),
            netns=str(NetNs.named(node_name(options.name)).path),
            pod_subnets=pod_subnets,
            sources=options.sources,
            default_namespace=options.namespace,
        )
        path = options.directory / "mesh.json"
        beside = path.with_suffix(".new")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(self._view)) + b"\n")
        beside.replace(path)

    def _endpoints(self, publish: Publish) -> tuple[tuple[str, int], ...]:
        """Where a new connection to a published port goes."""
        stored = self.store.get("Service", publish.namespace, publish.service)
        service = stored.manifest.resource if stored else None
        if not self._started or not isinstance(service, Service):
            return ()
        port = find_port(service, publish.service_port)
        backends = [backend(pod) for pod in self.workloads.pods.values() if not pod.state.deleted]
        return () if port is None else endpoints(service, publish.namespace, backends, port)

    def _unpublished(self, published: Published) -> Problem | None:
        """A port of the host that leads nowhere, for want of the Service or of its port."""
        publish = published.publish
        ref = ObjectRef("Service", publish.namespace, publish.service)
        stored = self.store.objects.get(ref)
        service = stored.manifest.resource if stored else None
        if isinstance(service, Service) and find_port(service, publish.service_port):
            return None
        lack = f"has no port {publish.service_port}" if stored else "does not exist"
        message = (
            f"connections to {published.address} are closed at once: the Service {lack}; add it, or change --publish"
        )
        return Problem(ref, "", "PublishedNothing", message, Severity.WARNING)

    def _report_problems(self) -> None:
        for problem in (*self._config_problems, *self.store.problems):
            self.event(str(problem), problem.severity.value)

    def _tell(self, pod: Pod) -> None:
        """Progress lines: a pod's readiness and its troubles, each when it changes."""
        ref = pod.identity.ref
        now = _progress(pod)
        if now and self._said.get(ref) != now:
            self._said[ref] = now
            self.event(f"pod {ref.name}.{ref.namespace} {now}", "info" if now in _FINE else "warning")
        if pod.state.stage == "gone":
            self._said.pop(ref, None)


def _progress(pod: Pod) -> str:
    state = pod.state
    if state.stage == "gone":
        return "gone"
    if state.deleted:
        return ""
    if state.ready:
        return "ready"
    if state.outcome:
        return "completed" if state.outcome == "Succeeded" else f"failed: {state.message or 'see its logs'}"
    troubles = [f"container {c.name}: {c.reason} {c.message}".strip() for c in state.containers if c.reason]
    bad = [t for t in troubles if "Completed" not in t]
    return bad[0] if bad else state.message


def _base_environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """PATH, so that `command: [python3, app.py]` finds what the user's shell finds; nothing that could be a secret."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(Path("/")), **kept}
