"""15020: readiness, merged metrics, the app's probes, and the way to end a sidecar from inside its pod."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from pilotfish.agent.metrics import AgentFigures, ScrapeTarget, merge, render_figures
from pilotfish.agent.probes import HEALTH_PREFIX, HOOK_PREFIX, ProbeTable
from pilotfish.model.addresses import is_loopback
from pilotfish.runtime.agent.probing import Prober
from pilotfish.runtime.agent.sockets import listen
from pilotfish.runtime.agent.spec import AgentStatus
from pilotfish.runtime.http.message import Answer
from pilotfish.runtime.http.small import Asked, SmallServer, text
from pilotfish.runtime.linux.netns import NetNs

_SCRAPE_TIMEOUT = 5.0
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Subject(Protocol):
    """The agent, as its server sees it."""

    prober: Prober
    probes: ProbeTable
    prometheus: ScrapeTarget | None

    @property
    def status(self) -> AgentStatus: ...

    def figures(self) -> AgentFigures: ...

    async def scrape(self, timeout: float) -> str: ...

    def quit(self) -> None: ...

    def begin_drain(self) -> None: ...


class StatusServer:
    """One pod's."""

    def __init__(self, agent: Subject) -> None:
        self.scrapes = 0
        self.scrape_failures = {"application": 0, "envoy": 0}
        self._agent = agent
        self._servers: list[SmallServer] = []
        self._routes: dict[str, Callable[[Asked], Awaitable[Answer]]] = {
            "/healthz/ready": self._ready,
            "/stats/prometheus": self._metrics,
            "/metrics": self._metrics,
            "/quitquitquit": self._quit,
            "/drain": self._drain,
        }

    async def start(self, netns: NetNs | None, ports: Iterable[int]) -> None:
        """AgentError if a port is taken."""
        for port in ports:
            try:
                bound = listen(netns, "::", port)
            except OSError:
                bound = listen(netns, "0.0.0.0", port)
            self._servers.append(server := SmallServer(self._handle))
            await server.start(bound)

    async def close(self) -> None:
        for server in self._servers:
            await server.close()

    async def _handle(self, asked: Asked) -> Answer:
        if asked.path.startswith((HEALTH_PREFIX, HOOK_PREFIX)):
            return await self._probe(asked)
        route = self._routes.get(asked.path)
        return await route(asked) if route else text("not found\n", status=404)

    async def _ready(self, asked: Asked) -> Answer:
        status = self._agent.status
        if status.ready:
            return text("ready\n")
        return text(f"not ready: {status.message}\n", status=503)

    async def _probe(self, asked: Asked) -> Answer:
        probe = self._agent.probes.get(asked.path)
        if probe is None:
            return text("no such probe\n", status=404)
        result = await self._agent.prober.probe(probe, asked.fields)
        return text(f"{result.message}\n", status=200 if result.ok else 500)

    async def _metrics(self, asked: Asked) -> Answer:
        self.scrapes += 1
        envoy, app = await asyncio.gather(self._scrape_envoy(), self._scrape_app())
        page = merge(render_figures(self._agent.figures()), envoy, app)
        return Answer(200, page.encode(), {"content-type": _METRICS})

    async def _scrape_envoy(self) -> str:
        try:
            return await self._agent.scrape(_SCRAPE_TIMEOUT)
        except OSError:
            self.scrape_failures["envoy"] += 1
            return ""

    async def _scrape_app(self) -> str:
        target = self._agent.prometheus
        if target is None:
            return ""
        host = self._agent.prober.address
        url = f"{target.scheme}://{f'[{host}]' if ':' in host else host}:{target.port}{target.path}"
        try:
            return await self._agent.prober.fetch(url, _SCRAPE_TIMEOUT)
        except OSError:
            self.scrape_failures["application"] += 1
            return ""

    async def _quit(self, asked: Asked) -> Answer:
        return self._do(asked, self._agent.quit)

    async def _drain(self, asked: Asked) -> Answer:
        return self._do(asked, self._agent.begin_drain)

    def _do(self, asked: Asked, what: Callable[[], None]) -> Answer:
        if not is_loopback(asked.address):
            return text("only the pod itself may ask for that, over loopback\n", status=403)
        if asked.method != "POST":
            return text("use POST\n", status=405, allow="POST")
        what()
        return text("OK\n")
