"""HTTP on the monitoring port: /ready, /metrics, /version, /debug/* for people, /api/* for programs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from pilotfish.discovery import debug
from pilotfish.discovery.dump import config_dump
from pilotfish.discovery.findings import Finding
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.session import ProxySession
from pilotfish.mesh.registry.services import services
from pilotfish.runtime.discovery.api import Api
from pilotfish.runtime.discovery.authority import AuthorityKeeper
from pilotfish.runtime.discovery.driver import Driver
from pilotfish.runtime.discovery.owners import owners_page
from pilotfish.runtime.discovery.pages import NO_PROXY, Handler, Pages, add_pages, answer
from pilotfish.runtime.discovery.readers import bounded
from pilotfish.runtime.source import ObjectSource

if TYPE_CHECKING:
    from pilotfish.runtime.discovery.in_cluster import InCluster

_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of what is posted: a way with each candidate that lost."""


class Monitoring:
    def __init__(
        self,
        driver: Driver,
        authority: AuthorityKeeper | None,
        source: ObjectSource,
        operators: tuple[str, ...],
        in_cluster: InCluster | None,
    ) -> None:
        """`operators`: addresses that read everything where all pods are known."""
        self._driver = driver
        self._source = source
        self._api = Api(driver, authority, source, in_cluster)
        self._operators = operators
        self._plane = driver.plane
        self.ready = False
        """The xDS port is open."""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST, middlewares=[bounded(self._plane, self._operators)])
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/version", _version)
        add_pages(app, "debug", self._pages())
        add_pages(app, "api", self._api.pages())
        app.router.add_put("/api/health", self._api.health)
        app.router.add_post("/api/owners", owners_page(self._plane))
        return app

    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong as of now."""
        return self._api.findings()

    def _pages(self) -> Pages:
        return {
            "adsz": (self._show(debug.adsz), "connected proxies and what they ask for"),
            "config_dump": (self._config_dump, "all that one proxy should have (proxyID=)"),
            "configz": (self._show(debug.configz), "Istio's objects, as written"),
            "edsz": (self._edsz, "the load assignments of one proxy (proxyID=), or of all"),
            "endpointz": (self._show(debug.endpointz), "addresses by cluster"),
            "ndsz": (self._ndsz, "the names that a proxy's pod can resolve (proxyID=)"),
            "registryz": (self._show(debug.registryz), "services"),
            "syncz": (self._show(debug.syncz), "what each proxy was sent and has acknowledged"),
        }

    def _show(self, view: Callable[[ControlPlane], object]) -> Handler:
        async def show(request: web.Request) -> web.Response:
            return answer(view(self._plane))

        return show

    async def _ready(self, request: web.Request) -> web.Response:
        if self.ready:
            return web.Response(text="ready\n")
        lines = ("not ready", *(problem.message for problem in self._source.problems()))
        return web.Response(status=503, text="".join(f"{line}\n" for line in lines))

    async def _metrics(self, request: web.Request) -> web.Response:
        metrics = self._driver.metrics
        metrics.services.set(len(self._plane.mesh.graph.get(services)))
        found = [finding.problem.severity.value for finding in self._api.findings()]
        for severity in ("error", "warning", "info"):
            metrics.problems.labels(severity=severity).set(found.count(severity))
        metrics.source_away.set(self._source.away_since() or 0)
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _config_dump(self, request: web.Request) -> web.Response:
        return answer(config_dump(self._plane.mesh.resources(self._session(request).proxy)))

    async def _edsz(self, request: web.Request) -> web.Response:
        chosen = [self._session(request)] if "proxyID" in request.query else self._plane.roster.sessions.values()
        return answer(debug.edsz(chosen))

    async def _ndsz(self, request: web.Request) -> web.Response:
        return answer(debug.ndsz(self._plane.mesh.names(self._session(request).proxy)))

    def _session(self, request: web.Request) -> ProxySession:
        proxy_id = request.query.get("proxyID")
        if not proxy_id:
            raise web.HTTPBadRequest(text=NO_PROXY)
        session = self._plane.roster.find(proxy_id)
        if session is None:
            raise web.HTTPNotFound(text=f"proxy {proxy_id} is not connected; /debug/adsz lists those that are\n")
        return session


async def _version(request: web.Request) -> web.Response:
    return web.Response(text=f"{version('pilotfish')}\n")
