"""The machine's one Envoy, for all pods of a mesh that have none of their own: started with the first of them.

pods' agents ──PodBehindNode──▶ NodeProxy ──▶ an Agent, with an Envoy and without a pod
                                    │            certificate of the machine, and its pods' beside it: by SDS
                                    ├─ held ports of all pods, while Envoy is away
                                    └─ access logs, sorted by pod
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pilotfish.agent.intake import inbound_listener
from pilotfish.agent.readiness import Stats
from pilotfish.agent.taken import TAKEN_FILTER, count_taken
from pilotfish.config.mesh import MeshConfig
from pilotfish.envoy.node_limits import FAIR, NodeLimits, count_node_workers
from pilotfish.model import Proxy
from pilotfish.model.proxy import NETNS_PREFIX, ProxyType
from pilotfish.model.wellknown import MACHINE_ACCOUNT
from pilotfish.node.sorting import OutputSorter
from pilotfish.runtime.agent import Agent, AgentHost, AgentSpec
from pilotfish.runtime.agent.envoy import count_workers
from pilotfish.runtime.agent.own_envoy import OwnEnvoy
from pilotfish.runtime.linux.netns import DIRECTORY
from pilotfish.runtime.net.names import pod_prefix
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.node.pod_behind_node import PodBehindNode
from pilotfish.runtime.node.sharing import Sharing
from pilotfish.runtime.node.tokens import TokenMaker
from pilotfish.runtime.tasks import Tasks

_LOOK = 5.0
"""Seconds between looks at what pods have taken."""
_END = 1.0
"""Seconds for Envoy to end: none of its pods is left."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a machine's proxy is."""

    machine: str
    """Its name, as pods have it in `spec.nodeName`."""
    directory: Path
    """Of the mesh."""
    network: MeshNetwork
    discovery: str
    monitoring: str
    tokens: TokenMaker

    @property
    def netns_prefix(self) -> str:
        """How the files of pods' network namespaces begin: NAMESPACE.POD follows."""
        return f"{DIRECTORY}/{pod_prefix(self.network.mesh)}"


class NodeProxy:
    def __init__(self, site: Site, agents: AgentHost, mesh_config: MeshConfig) -> None:
        """`mesh_config`: as the mesh starts with it; what it says of Envoy's start holds until its end."""
        self.agent: Agent | None = None
        """None before the first pod that it serves."""
        self.held = HeldByPods()
        self.sorter = OutputSorter(site.netns_prefix)
        self.on_change: Callable[[], None] = lambda: None
        self._site = site
        self._agents = agents
        self._mesh_config = mesh_config
        self._pods: set[PodBehindNode] = set()
        self._starting = asyncio.Lock()
        self._own: OwnEnvoy | None = None
        self._limits = NodeLimits.of(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._sharing: Sharing | None = None
        self._looking: asyncio.Task[None] | None = None

    def behind(self, spec: AgentSpec, host: AgentHost, on_change: Callable[[], None]) -> PodBehindNode:
        """What stands for it in a pod's agent."""
        return PodBehindNode(spec, host, on_change, self)

    @property
    def proxy(self) -> Proxy:
        site, root = self._site, self._mesh_config.root_namespace
        address = str(site.network.subnets.node[0])
        made = Proxy.of_pod(site.machine, root, (address,), type=ProxyType.NODE)
        return replace(made, netns_prefix=site.netns_prefix)

    @property
    def ready(self) -> bool:
        return self.agent is not None and self.agent.ready

    @property
    def pods(self) -> tuple[str, ...]:
        """Those that it serves: NAME.NAMESPACE."""
        return tuple(sorted(pod.name for pod in self._pods))

    @property
    def workers(self) -> int:
        """Unless the mesh says another number, enough for all of the machine."""
        said = self._mesh_config.default_config.concurrency
        return count_node_workers(count_workers(0)) if said is None else said

    async def started(self) -> Agent:
        """Its agent, which is started by whoever asks first. AgentError or MachineError if that can't be."""
        async with self._starting:
            if self.agent is None:
                agent = Agent(self._spec(), self._agents, self._changed, self._make_envoy)
                await agent.start()
                self.agent = agent
                self._sharing = Sharing(self._limits, agent, lambda: self.pods)
                self._looking = asyncio.get_running_loop().create_task(self._look_on())
            return self.agent

    def join(self, pod: PodBehindNode) -> None:
        self._pods.add(pod)
        self._look()

    def leave(self, pod: PodBehindNode) -> None:
        self._pods.discard(pod)
        self._look()

    def lend(self, pod: PodBehindNode) -> None:
        """Its certificate to Envoy."""
        if self._own is not None:
            for name, secret in pod.secrets.items():
                self._own.identity.server.lend(name, secret)

    def take_back(self, name: str) -> None:
        if self._own is not None:
            self._own.identity.server.take_back(name)

    async def ask(self, pattern: str) -> Stats | None:
        """Envoy's stats whose names fit; None if it does not answer."""
        return await self.agent.admin.stats(pattern) if self.agent is not None else None

    async def close(self) -> None:
        """After the pods."""
        if self._sharing is not None:
            await self._sharing.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self.agent is not None:
            await self.agent.stop(asyncio.get_running_loop().time() + _END)

    def _make_envoy(self, spec: AgentSpec, host: AgentHost, on_change: Callable[[], None]) -> OwnEnvoy:
        self._own = OwnEnvoy(spec, host, on_change, self.held, self.sorter)
        return self._own

    def _spec(self) -> AgentSpec:
        site, config, proxy = self._site, self._mesh_config.default_config, self.proxy
        settings = config.connection_settings
        if settings.global_downstream_connection_limit is None:
            most = self._limits.connections
            settings = msgspec.structs.replace(settings, global_downstream_connection_limit=most)
        return AgentSpec(
            proxy=proxy,
            netns=site.network.node,
            directory=site.directory / "proxy",
            discovery=site.discovery,
            monitoring=site.monitoring,
            log=site.directory / "proxy.log",
            proxy_config=msgspec.structs.replace(
                config,
                concurrency=self.workers,
                connection_settings=settings,
                runtime_values={**FAIR, **config.runtime_values},
            ),
            metadata={
                "SERVICE_ACCOUNT": MACHINE_ACCOUNT,
                # It listens in its pods' namespaces; where it is itself, nothing is captured.
                "INTERCEPTION_MODE": "",
                NETNS_PREFIX: proxy.netns_prefix,
            },
            authority=site.tokens.machines(site.machine, proxy.namespace, proxy.addresses),
            userns=site.network.userns,
            takes_over=True,
        )

    def _changed(self, agent: Agent) -> None:
        for pod in tuple(self._pods):
            pod.node_changed()
        self._look()

    def _look(self) -> None:
        """It, or what it serves, became another."""
        if self._sharing is not None:
            self._sharing.look()
        self.on_change()

    async def _look_on(self) -> None:
        """What its pods have taken."""
        while True:
            await asyncio.sleep(_LOOK)
            stats = await self.ask(TAKEN_FILTER) if self._pods else None
            for pod in self._pods if stats is not None else ():
                pod.taken = count_taken(stats or {}, inbound_listener(pod.spec.proxy.name, pod.spec.proxy.namespace))


class HeldByPods:
    """Implements `holding.Holding`: what Envoy has in its pods' namespaces is held there."""

    def __init__(self) -> None:
        self._pods: set[PodBehindNode] = set()
        self._is_holding = False
        self._tasks = Tasks()

    def add(self, pod: PodBehindNode) -> None:
        """Envoy listens there."""
        self._pods.add(pod)
        if self._is_holding:
            pod.hold()

    def remove(self, pod: PodBehindNode) -> None:
        self._pods.discard(pod)

    def hold(self, ports: Iterable[int]) -> None:
        self._is_holding = True
        self._tasks.keep(self._hold())

    def release(self, ports: Iterable[int]) -> None:
        self._is_holding = False
        for pod in self._pods:
            pod.release()

    def close(self) -> None:
        self.release(())

    async def _hold(self) -> None:
        """A millisecond for each pod, after which others have their turn."""
        for pod in tuple(self._pods):
            if not self._is_holding:
                return
            if pod in self._pods:
                pod.hold()
            await asyncio.sleep(0)
