"""15020: readiness, merged metrics, the app's probes, and the way to end a sidecar from inside its pod."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from pilotfish.agent.metrics import AgentFigures, ScrapeTarget, merge, render_figures
from pilotfish.agent.probes import HEALTH_PREFIX, HOOK_PREFIX, ProbeTable
from pilotfish.runtime.agent.admin import Admin
from pilotfish.runtime.agent.probing import Prober
from pilotfish.runtime.agent.sockets import listen
from pilotfish.runtime.agent.spec import AgentStatus
from pilotfish.runtime.linux.netns import NetNs

_SCRAPE_TIMEOUT = 5.0
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Subject(Protocol):
    """The agent, as its server sees it."""

    admin: Admin
    prober: Prober
    probes: ProbeTable
    prometheus: ScrapeTarget | None

    @property
    def status(self) -> AgentStatus: ...

    def figures(self) -> AgentFigures: ...

    def quit(self) -> None: ...

    def begin_drain(self) -> None: ...


class StatusServer:
    """One pod's. A bare aiohttp server: an application with its router would cost each pod a hundred kilobytes."""

    def __init__(self, agent: Subject) -> None:
        self.scrapes = 0
        self.scrape_failures = {"application": 0, "envoy": 0}
        self._agent = agent
        self._server = web.Server(self._handle, access_log=None)
        self._listener: asyncio.Server | None = None
        self._routes: dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/healthz/ready": self._ready,
            "/stats/prometheus": self._metrics,
            "/metrics": self._metrics,
            "/quitquitquit": self._quit,
            "/drain": self._drain,
        }

    async def start(self, netns: NetNs | None, port: int) -> None:
        """AgentError if the port is taken."""
        try:
            bound = listen(netns, "::", port)
        except OSError:
            bound = listen(netns, "0.0.0.0", port)
        self._listener = await asyncio.get_running_loop().create_server(self._server, sock=bound)

    async def close(self) -> None:
        if self._listener:
            self._listener.close()
        # Ends the idle connections, for which `shutdown` would wait.
        self._server.pre_shutdown()
        await self._server.shutdown(timeout=1)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        if request.path.startswith((HEALTH_PREFIX, HOOK_PREFIX)):
            return await self._probe(request)
        route = self._routes.get(request.path)
        return await route(request) if route else web.Response(status=404, text="not found\n")

    async def _ready(self, request: web.BaseRequest) -> web.Response:
        status = self._agent.status
        if status.ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"not ready: {status.message}\n")

    async def _probe(self, request: web.BaseRequest) -> web.Response:
        probe = self._agent.probes.get(request.path)
        if probe is None:
            return web.Response(status=404, text="no such probe\n")
        result = await self._agent.prober.probe(probe, request.headers)
        return web.Response(status=200 if result.ok else 500, text=f"{result.message}\n")

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        self.scrapes += 1
        envoy, app = await asyncio.gather(self._scrape_envoy(), self._scrape_app())
        page = merge(render_figures(self._agent.figures()), envoy, app)
        return web.Response(text=page, headers={"content-type": _METRICS})

    async def _scrape_envoy(self) -> str:
        try:
            response = await self._agent.admin.request("GET", "/stats/prometheus?usedonly", _SCRAPE_TIMEOUT)
        except OSError:
            self.scrape_failures["envoy"] += 1
            return ""
        return response.body.decode(errors="replace")

    async def _scrape_app(self) -> str:
        target = self._agent.prometheus
        if target is None:
            return ""
        host = self._agent.prober.address
        url = f"{target.scheme}://{f'[{host}]' if ':' in host else host}:{target.port}{target.path}"
        try:
            return await self._agent.prober.fetch(url, _SCRAPE_TIMEOUT)
        except (OSError, aiohttp.ClientError):
            self.scrape_failures["application"] += 1
            return ""

    async def _quit(self, request: web.BaseRequest) -> web.Response:
        return self._do(request, self._agent.quit)

    async def _drain(self, request: web.BaseRequest) -> web.Response:
        return self._do(request, self._agent.begin_drain)

    def _do(self, request: web.BaseRequest, what: Callable[[], None]) -> web.Response:
        if not _is_loopback(request.transport):
            return web.Response(status=403, text="only the pod itself may ask for that, over loopback\n")
        if request.method != "POST":
            return web.Response(status=405, headers={"allow": "POST"}, text="use POST\n")
        what()
        return web.Response(text="OK\n")


def _is_loopback(transport: Any) -> bool:
    peer = transport.get_extra_info("peername") if transport else None
    if not peer:
        return False
    address = ipaddress.ip_address(peer[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
