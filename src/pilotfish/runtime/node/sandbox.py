"""What a pod needs before its first container: a namespace, capture rules, an agent with a ready Envoy."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from pilotfish.inject import Sidecar
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType
from pilotfish.model.wellknown import PROXY_CONTAINER
from pilotfish.node.identity import PodIdentity
from pilotfish.node.launch import render_hostname, render_hosts, render_resolv_conf
from pilotfish.node.volumes import build_identity_mounts, build_proxy_mounts
from pilotfish.runtime import capture
from pilotfish.runtime.agent import Agent, AgentHost, AgentSpec
from pilotfish.runtime.agent.own_envoy import OwnEnvoy
from pilotfish.runtime.agent.proxying import MakeProxy
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.images.store import Images
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.pidns import PidNs
from pilotfish.runtime.net.names import pod_name
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.node.limiter import Limiter
from pilotfish.runtime.node.node_proxy import NodeProxy
from pilotfish.runtime.node.tokens import TokenMaker
from pilotfish.runtime.node.volumes import bind_mount
from pilotfish.runtime.thread import in_thread

_END = 2.0
"""Seconds for what was killed to be gone."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all sandboxes of a mesh stand on."""

    network: MeshNetwork
    agents: AgentHost
    discovery: str
    monitoring: str
    tokens: TokenMaker
    discovery_ready: asyncio.Event
    """An Envoy that started before would wait long for its second try."""
    starting: asyncio.Semaphore
    """How many Envoys start side by side: more of them than there are cores only makes each of them late."""
    images: Images
    limiter: Limiter
    node_proxy: NodeProxy
    writable: Path
    """Where containers made from images have what they change; each pod has a directory there."""
    private: tuple[str, ...] = ()
    """Directories of the machine that no container sees: what meshes keep on the disk, and their control sockets."""


class Sandbox:
    def __init__(
        self,
        identity: PodIdentity,
        sidecar: Sidecar | None,
        ground: Ground,
        on_change: Callable[[], None],
        left: Callable[[], Awaitable[None]],
    ) -> None:
        """`left`: returns when the machine's proxy, which served it, has let go of its network namespace: what is in
        it will never be in another of the same name."""
        self._identity = identity
        self._sidecar = sidecar
        self._ground = ground
        self._on_change = on_change
        self._left = left
        self._directory = Path(identity.directory)
        self.netns = NetNs.named(pod_name(ground.network.mesh, identity.namespace, identity.name))
        self.proxy = Proxy.of_pod(
            identity.name,
            identity.namespace,
            identity.addresses,
            labels=identity.labels,
            type=sidecar.type if sidecar is not None else ProxyType.SIDECAR,
        )
        self._is_there = False
        self.agent: Agent | None = None
        self._pidns: PidNs | None = None
        self._making = asyncio.Lock()
        self._removed = False

    async def build(self) -> None:
        """Returns when containers may start. MachineError or AgentError if not; then nothing is left."""
        identity = self._identity
        self._removed = False
        self._write_etc()
        try:
            await self._ground.network.add_pod(identity.namespace, identity.name, identity.addresses, self.on_node)
            self._is_there = True
            await self.enter()
            if self._sidecar is None:
                return
            if self._sidecar.capture is not None:
                await capture.apply(self.netns, self._sidecar.capture)
            self.agent = self._make_agent(self._sidecar)
            await self._ground.discovery_ready.wait()
            # Behind the machine's proxy there is none to start, and it waits for the certificates of all its pods.
            async with nullcontext() if self.on_node else self._ground.starting:
                await self.agent.start()
                await self.agent.wait_ready()
        except BaseException:
            await self.stop_proxy(asyncio.get_running_loop().time())
            await self.remove(keep_files=True)
            raise

    async def enter(self) -> int:
        """The PID namespace of its containers, as a descriptor. Where somebody killed its first process, and all others
        with it, it is a new one.

        Envoy is not in it: an app, even as root, neither sees nor signals its own sidecar, as another container in
        Kubernetes; and the launcher that waits for a killed Envoy waits for that of any pod.
        """
        async with self._making:
            if self._removed:
                raise MachineError(f"pod {self._identity.name} is being removed", "nothing starts in it any more")
            if self._pidns is None or not self._pidns.alive:
                self._leave()
                self._pidns = await PidNs.create(self.netns, self._ground.private)
            return self._pidns.descriptor

    @property
    def is_placed(self) -> bool:
        """Its machine's proxy may be told of it: it has a network namespace and a certificate. An Envoy that starts
        waits for the certificates of all of its pods."""
        return self._is_there and self.agent is not None and self.agent.certified

    @property
    def on_node(self) -> bool:
        """The machine's proxy serves it."""
        return self._sidecar is not None and self._sidecar.on_node

    @property
    def private(self) -> tuple[str, ...]:
        """Directories of the machine that its containers do not see."""
        return self._ground.private

    @property
    def writable(self) -> Path:
        """What its containers change of their images, each in a directory."""
        return self._ground.writable / self._identity.uid

    @property
    def limiter(self) -> Limiter:
        return self._ground.limiter

    def _leave(self) -> None:
        if self._pidns is not None:
            self._pidns.close()
            self._pidns = None

    async def drain(self, deadline: float) -> None:
        if self.agent is not None:
            await self.agent.drain(deadline)

    async def stop_proxy(self, deadline: float) -> None:
        if self.agent is not None:
            await self.agent.stop(deadline)

    async def remove(self, keep_files: bool) -> None:
        """The namespace and all that still runs in it, and the pod's directory unless its logs may be wanted."""
        self._removed = True
        was_placed, self._is_there = self.is_placed, False
        if was_placed and self.on_node:
            await self._left()
        if self._pidns is not None:
            self._pidns.kill()
        if self.netns.exists():
            for pid in self.netns.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self._pidns is not None:
            # One that the kernel can't end now (a file system that hangs) holds up nobody.
            with suppress(TimeoutError):
                async with asyncio.timeout(_END):
                    await self._pidns.ended()
        self._leave()
        await self._ground.network.remove_pod(self._identity.namespace, self._identity.name)
        if self.writable.exists():
            await in_thread(lambda: shutil.rmtree(self.writable, ignore_errors=True))
        if not keep_files:
            await in_thread(lambda: shutil.rmtree(self._directory, ignore_errors=True))

    def _write_etc(self) -> None:
        etc = self._directory / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        (self._directory / "logs").mkdir(exist_ok=True)
        (etc / "resolv.conf").write_text(render_resolv_conf(self._identity.namespace, self._ground.network.subnets.dns))
        (etc / "hosts").write_text(render_hosts(self._identity))
        (etc / "hostname").write_text(render_hostname(self._identity))

    def _make_agent(self, sidecar: Sidecar) -> Agent:
        make_proxy: MakeProxy = OwnEnvoy
        if sidecar.on_node:
            make_proxy = self._ground.node_proxy.behind
        spec = self._agent_spec(sidecar)
        return Agent(spec, self._ground.agents, lambda _: self._on_change(), make_proxy)

    def _agent_spec(self, sidecar: Sidecar) -> AgentSpec:
        ground = self._ground
        return AgentSpec(
            proxy=self.proxy,
            netns=self.netns,
            directory=self._directory,
            discovery=ground.discovery,
            monitoring=ground.monitoring,
            authority=ground.tokens.authority(self._identity),
            log=self._directory / "logs" / f"{PROXY_CONTAINER}.log",
            proxy_config=sidecar.proxy_config,
            metadata=sidecar.metadata,
            takes_over=True,
            transparent=sidecar.transparent,
            probes=sidecar.probes,
            prometheus=sidecar.prometheus,
            log_level=sidecar.wishes.log_level,
            component_log_level=sidecar.wishes.component_log_level,
            mounts=tuple(bind_mount(mount) for mount in build_proxy_mounts(self._identity)),
            identities=tuple(bind_mount(mount) for mount in build_identity_mounts(self._identity)),
        )
