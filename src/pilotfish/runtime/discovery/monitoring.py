"""HTTP on the monitoring port: /ready, /metrics, /debug/*."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from pilotfish.envoy.types import ENDPOINT
from pilotfish.mesh.services import services
from pilotfish.model import Proxy
from pilotfish.runtime.discovery import debug, dump, problems
from pilotfish.runtime.discovery.connection import Connection
from pilotfish.runtime.discovery.hub import Hub

_LONGEST_WAIT = 60.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Monitoring:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.ready = False
        """The xDS port is open."""

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/debug", self._index)
        for name, (handler, _) in self._pages().items():
            app.router.add_get(f"/debug/{name}", handler)
        return app

    def _pages(self) -> dict[str, tuple[Handler, str]]:
        return {
            "adsz": (self._show(debug.adsz), "connected proxies and what they ask for"),
            "config_dump": (self._config_dump, "all that one proxy should have (proxyID=)"),
            "configz": (self._show(debug.configz), "Istio's objects, as written"),
            "edsz": (self._edsz, "the load assignments of one proxy (proxyID=), or of all"),
            "endpointz": (self._show(debug.endpointz), "addresses by cluster"),
            "ndsz": (self._ndsz, "the names that a proxy's pod can resolve (proxyID=, version=, wait=)"),
            "problemz": (self._show(problems.all_views), "what is wrong with the user's objects"),
            "registryz": (self._show(debug.registryz), "services"),
            "synced": (
                self._synced,
                "200 when all, at least proxies=, have acknowledged resourceVersion=, within wait=",
            ),
            "syncz": (self._syncz, "where each proxy stands (format=view for pilotfish's own form)"),
        }

    def _show(self, view: Callable[[Hub], object]) -> Handler:
        async def show(request: web.Request) -> web.Response:
            return _json(view(self._hub))

        return show

    async def _ready(self, request: web.Request) -> web.Response:
        return web.Response(text="ready\n") if self.ready else web.Response(status=503, text="not ready\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        metrics = self._hub.metrics
        metrics.services.set(len(self._hub.mesh.graph.get(services)))
        found = [problem.severity for problem in problems.all_views(self._hub)]
        for severity in ("error", "warning", "info"):
            metrics.problems.labels(severity=severity).set(found.count(severity))
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _index(self, request: web.Request) -> web.Response:
        lines = [f"/debug/{name:12} {what}" for name, (_, what) in self._pages().items()]
        return web.Response(text="\n".join(lines) + "\n")

    async def _config_dump(self, request: web.Request) -> web.Response:
        connection = self._connection(request)
        return _json(dump.config_dump(self._hub.mesh.resources(connection.proxy)))

    async def _edsz(self, request: web.Request) -> web.Response:
        chosen = [self._connection(request)] if "proxyID" in request.query else list(self._hub.connections.values())
        return _json(dump.load_assignments(debug.served(chosen, ENDPOINT)))

    async def _syncz(self, request: web.Request) -> web.Response:
        return _json(debug.syncs(self._hub) if request.query.get("format") == "view" else debug.syncz(self._hub))

    async def _ndsz(self, request: web.Request) -> web.Response:
        """The table as soon as it is another than `version`; 304 if it stays the same for `wait` seconds."""
        namespace = self._namespace(request.query.get("proxyID", ""))
        known = request.query.get("version")
        names = self._hub.mesh.names
        if known and not await self._hub.moved.wait_for(lambda: names(namespace).version != known, _wait(request)):
            return web.Response(status=304)
        table = names(namespace)
        return _json({"version": table.version, "records": table.records})

    def _namespace(self, proxy_id: str) -> str:
        """Also of a proxy that is not connected yet: its agent wants names before its Envoy runs."""
        connection = self._hub.find(proxy_id)
        proxy = connection.proxy if connection else Proxy.parse(proxy_id, {})
        namespace = proxy.namespace if proxy else proxy_id.rpartition(".")[2]
        if not namespace:
            raise web.HTTPBadRequest(text="give proxyID=, a node id or NAME.NAMESPACE\n")
        return namespace

    async def _synced(self, request: web.Request) -> web.Response:
        wanted, proxies, hub = _number(request, "resourceVersion"), _number(request, "proxies"), self._hub

        def synced() -> bool:
            enough = len({connection.proxy.id for connection in hub.connections.values()}) >= proxies
            return enough and hub.mesh.desired.resource_version >= wanted and hub.is_settled

        if await hub.moved.wait_for(synced, _wait(request)):
            return web.Response(text="synced\n")
        behind = [str(c.proxy) for c in hub.unsettled.values()]
        return web.Response(
            status=504,
            text=f"applied: {hub.mesh.desired.resource_version}; connected: {len(hub.connections)}; "
            f"behind: {', '.join(behind) or 'none'}\n",
        )

    def _connection(self, request: web.Request) -> Connection:
        proxy_id = request.query.get("proxyID")
        if not proxy_id:
            raise web.HTTPBadRequest(text="give proxyID=, a node id or NAME.NAMESPACE\n")
        connection = self._hub.find(proxy_id)
        if connection is None:
            raise web.HTTPNotFound(text=f"proxy {proxy_id} is not connected; /debug/adsz lists those that are\n")
        return connection


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not text.isdecimal():
        raise web.HTTPBadRequest(text=f"{name}={text} is not a number\n")
    return int(text)


def _wait(request: web.Request) -> float:
    text = request.query.get("wait", "0")
    try:
        return max(0.0, min(float(text), _LONGEST_WAIT))
    except ValueError:
        raise web.HTTPBadRequest(text=f"wait={text} is not a number of seconds\n") from None


def _json(value: Any) -> web.Response:
    compact = msgspec.json.encode(value, enc_hook=str)
    return web.Response(body=msgspec.json.format(compact, indent=2), content_type="application/json")
