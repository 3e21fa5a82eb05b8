"""The machine's proxy, as a pod's agent has it: in the place of an Envoy of the pod's own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from socket import AF_INET
from typing import TYPE_CHECKING
from urllib.parse import quote

from pilotfish.agent.draining import Draining
from pilotfish.agent.intake import connections_filter, count_connections, inbound_listener
from pilotfish.agent.metrics import as_own
from pilotfish.agent.taken import Taken
from pilotfish.identity.sds import Secrets
from pilotfish.model.wellknown import ADMIN_PORT, HEALTH_PORT, INBOUND_PORT, OUTBOUND_PORT, PROMETHEUS_PORT
from pilotfish.runtime.agent import AgentError, AgentHost, AgentSpec, AgentStatus
from pilotfish.runtime.agent.admin import Admin
from pilotfish.runtime.agent.certificates import Certificates
from pilotfish.runtime.agent.envoy import count_workers, envoy_user
from pilotfish.runtime.agent.holding import HeldPorts
from pilotfish.runtime.agent.identity import describe_lack, make_certificates
from pilotfish.runtime.agent.spec import CertificateStatus
from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.logs import LogFile
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.reuseport import SOCK_DIAG, listens
from pilotfish.runtime.tasks import Tasks

if TYPE_CHECKING:
    from pilotfish.runtime.node.node_proxy import NodeProxy

_CAPTURED = (OUTBOUND_PORT, INBOUND_PORT)
_LOOK = 0.01
"""Seconds between looks whether Envoy listens in a new pod; it tells nobody when it begins to."""
_LONGEST_LOOK = 0.5
_POLL_DRAINING = 0.05
_FLUSH = 0.15
"""Seconds after which Envoy has written what it logs of a pod (`--file-flush-interval-msec`)."""


class PodBehindNode:
    """Implements `agent.proxying.PodProxy`."""

    left_ports: tuple[int, ...] = (HEALTH_PORT, PROMETHEUS_PORT)

    def __init__(self, spec: AgentSpec, host: AgentHost, on_change: Callable[[], None], node: NodeProxy) -> None:
        if spec.netns is None:
            raise ValueError("a machine's proxy listens in its pods' own network namespaces")
        self.spec = spec
        self.taken = Taken()
        self.draining: Draining | None = None
        self.stopped = False
        self.epoch = 0
        self.restarts = 0
        self._netns: NetNs = spec.netns
        self._node = node
        self._on_change = on_change
        self._begun = False
        self._listening = False
        self._log: LogFile | None = None
        self._tasks = Tasks()
        user, _ = envoy_user(spec)
        self._held = HeldPorts(spec.netns, user, count_workers(node.workers), transparent=False, by_source=True)
        self._certificates: Certificates | None = None
        if spec.authority is not None:
            self._certificates = make_certificates(spec, spec.authority, host, self._certified, str(self._netns.path))

    @property
    def name(self) -> str:
        return str(self.spec.proxy)

    @property
    def admin(self) -> Admin:
        """The machine's."""
        agent = self._node.agent
        return agent.admin if agent is not None else Admin(self._netns, ADMIN_PORT)

    @property
    def secrets(self) -> Secrets:
        """Its certificate, by the name of its network namespace; whom to trust is the same for all."""
        held = self._certificates.secrets if self._certificates is not None else {}
        return {name: secret for name, secret in held.items() if name == str(self._netns.path)}

    @property
    def lack(self) -> str:
        return describe_lack(self._certificates.status) if self._certificates is not None else ""

    @property
    def drained(self) -> bool:
        return self.draining is not None and self.draining.over

    def describe(self, lacks: str) -> AgentStatus:
        agent = self._node.agent
        status = AgentStatus(
            certificate=self._certificates.status if self._certificates else CertificateStatus(),
            # It sees what the machine does, as a proxy of the pod's own would that is given no volume.
            unusable_files=agent.status.unusable_files if agent is not None else (),
        )
        if self.stopped:
            return replace(status, state="terminated", reason="Completed", message="the pod is served no more")
        if not self._begun:
            return replace(status, message="its machine's proxy has not been asked to serve it")
        if self.draining is not None:
            return replace(status, state="running", reason="Draining", message="the pod ends: inbound work drains")
        why = "" if agent is not None and agent.ready else agent.status.message if agent is not None else "it is gone"
        of_node = f"its machine's proxy: {why}" if why else ""
        own = "" if self._listening else "its machine's proxy does not listen in it yet"
        message = lacks or of_node or own
        return replace(status, state="running", message=message, ready=not message)

    async def prepare(self) -> None:
        try:
            await self._node.started()
            if self.spec.log is not None:
                self._log = LogFile(Path(self.spec.log))
                self._node.sorter.add(str(self._netns.path), self._log.write)
        except OSError as error:
            raise AgentError(f"{self.spec.log} can't be written: {error.strerror}", "free the disk") from error
        self._node.join(self)
        if self._certificates is not None:
            self._certificates.start()

    def begin(self) -> None:
        self._begun = True
        self._tasks.keep(self._await_listeners())
        self._on_change()

    def node_changed(self) -> None:
        """The machine's proxy is as it was not before."""
        self._on_change()

    def hold(self) -> None:
        """Envoy listens in the pod."""
        if not self.stopped:
            self._held.hold(_CAPTURED if self.draining is None else (OUTBOUND_PORT,))

    def release(self) -> None:
        self._held.release(_CAPTURED)

    async def restart(self) -> None:
        machine = self._node.proxy
        raise AgentError(f"{self.name} has no Envoy of its own", f"its machine's is {machine}: restart that")

    def drain(self, until: float, earliest: float = 0.0) -> None:
        """Discovery is told of it, and takes the inbound listener away: each answer ends its connection then."""
        if self.draining is not None:
            self.draining = self.draining.hurry(until)
            return
        now = asyncio.get_running_loop().time()
        self.draining = Draining(now, until, earliest, over=not self._listening)
        self._held.release((INBOUND_PORT,))
        if not self.drained:
            self._tasks.keep(self._drain())
        self._on_change()

    def stop(self, deadline: float) -> None:
        """What the pod's apps still have open ends with them."""
        self.stopped = True
        if self.draining is not None:
            self.draining = replace(self.draining, over=True)
        self._on_change()

    async def close(self) -> None:
        await self._tasks.cancel()
        self._node.held.remove(self)
        self._held.close()
        self._node.leave(self)
        if self._certificates is not None:
            await self._certificates.close()
        self._node.take_back(str(self._netns.path))
        if self._listening:
            await asyncio.sleep(_FLUSH)
        self._node.sorter.remove(str(self._netns.path))
        if self._log is not None:
            self._log.close()

    async def scrape(self, timeout: float) -> str:
        """What its listeners count."""
        pattern = rf"^listener\.{re.escape(self.name)}_"
        path = f"/stats/prometheus?usedonly&filter={quote(pattern, safe='')}"
        answer = await self.admin.request("GET", path, timeout)
        return as_own(answer.body.decode(errors="replace"), self.name)

    def _certified(self) -> None:
        self._node.lend(self)
        self._on_change()

    async def _await_listeners(self) -> None:
        pause = _LOOK
        with netlink.opened(self._netns, SOCK_DIAG) as diag:
            while not all(listens(diag, AF_INET, port) for port in _CAPTURED):
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, _LONGEST_LOOK)
        self._listening = True
        self._node.held.add(self)
        self._on_change()

    async def _drain(self) -> None:
        listener = inbound_listener(self.spec.proxy.name, self.spec.proxy.namespace)
        loop = asyncio.get_running_loop()
        while self.draining is not None and not self.draining.over:
            stats = await self._node.ask(connections_filter(listener))
            active = count_connections(listener, stats) if stats is not None else None
            self.draining = self.draining.observe(active, loop.time())
            if not self.draining.over:
                await asyncio.sleep(min(_POLL_DRAINING, max(0.0, self.draining.until - loop.time())))
        self._on_change()
