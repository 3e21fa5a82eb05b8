"""/api/*: what other programs ask discovery, in pilotfish's own forms.

/api/problems                                        [ProblemView, ...]
/api/syncs                                           [SyncView, ...]
/api/synced?resourceVersion=N&proxies=COUNT&wait=S   SyncedView: 200, or 504 if it is not so within S seconds
/api/told?resourceVersion=N&proxies=COUNT&wait=S     the same, but for the proxies that do not answer, or refuse
/api/configured?proxyID=ID&wait=S                     200 when this proxy has taken all that it should have, or 504
POST /api/owners                                     whose the steps of a way are (`owners`)
PUT /api/health?proxyID=ID&healthy=true|false         what the agent of a registered workload found: 204, or 404
/api/identity                                        IdentityView, or 404 where no certificates are signed
/api/replica                                         ReplicaView: what other replicas do not know, or 404
/api/names?proxyID=ID&version=V&wait=S               NameTable, or 304 if it is still V after S seconds
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from pilotfish.discovery.findings import Finding, findings, pod_of
from pilotfish.discovery.standing import Standing, standings
from pilotfish.model import Proxy
from pilotfish.runtime.control.views import ProblemView, SyncedView, SyncView
from pilotfish.runtime.discovery.authority import AuthorityKeeper
from pilotfish.runtime.discovery.driver import Driver
from pilotfish.runtime.discovery.pages import NO_PROXY, Pages, answer, number, wait
from pilotfish.runtime.source import ObjectSource

if TYPE_CHECKING:
    from pilotfish.runtime.discovery.in_cluster import InCluster

_ELSEWHERE = 0.5
"""Seconds for a proxy that is about to come."""


class Api:
    def __init__(
        self,
        driver: Driver,
        authority: AuthorityKeeper | None,
        source: ObjectSource,
        in_cluster: InCluster | None,
    ) -> None:
        self._driver = driver
        self._authority = authority
        self._source = source
        self._in_cluster = in_cluster
        self._plane = driver.plane

    def pages(self) -> Pages:
        identity = {"identity": (self._identity, "what signs certificates, and whom to trust")}
        replica = {"replica": (self._show_replica, "what this replica knows, and the others do not")}
        return {
            **(identity if self._authority is not None else {}),
            **(replica if self._in_cluster is not None else {}),
            "configured": (self._configured, "200 when one proxy has taken all that it should have (proxyID=, wait=)"),
            "names": (self._names, "the names that a proxy's pod can resolve (proxyID=, version=, wait=)"),
            "problems": (self._problems, "what is wrong with the user's objects"),
            "synced": (
                self._synced,
                "200 when all, at least proxies=, have acknowledged resourceVersion=, within wait=",
            ),
            "told": (self._told, "as synced, but for the proxies that do not answer, or refuse"),
            "syncs": (self._syncs, "where each proxy stands"),
        }

    async def health(self, request: web.Request) -> web.Response:
        """Believed is who comes from where the proxy does."""
        said = request.query.get("healthy", "")
        if said not in ("true", "false"):
            raise web.HTTPBadRequest(text="give healthy=true or healthy=false\n")
        known = self._driver.report_health(request.query.get("proxyID", ""), request.remote or "", said == "true")
        return web.Response(status=204 if known else 404)

    async def _problems(self, request: web.Request) -> web.Response:
        return answer([_problem_view(finding) for finding in self.findings()])

    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong as of now."""
        now = time.time()
        of_authority = self._authority.problems(now) if self._authority is not None else ()
        around = (*self._source.problems(), *(self._in_cluster.problems() if self._in_cluster is not None else ()))
        return (*map(Finding, around), *findings(self._plane, now), *map(Finding, of_authority))

    async def _show_replica(self, request: web.Request) -> web.Response:
        known = self._in_cluster
        return answer(known.view(self._plane, self.findings()) if known is not None else None)

    async def _identity(self, request: web.Request) -> web.Response:
        return answer(self._authority.view if self._authority is not None else None)

    async def _syncs(self, request: web.Request) -> web.Response:
        return answer([_sync_view(standing) for standing in standings(self._plane)])

    async def _synced(self, request: web.Request) -> web.Response:
        plane = self._plane
        return await self._when(request, lambda: plane.is_settled, lambda: len(plane.serving))

    async def _told(self, request: web.Request) -> web.Response:
        """Who was cut off counts as if it were there: nobody waits for it."""
        plane = self._plane
        return await self._when(
            request, lambda: plane.roster.is_told, lambda: len(plane.serving | {cut.proxy for cut in plane.door.cut})
        )

    async def _when(self, request: web.Request, holds: Callable[[], bool], count: Callable[[], int]) -> web.Response:
        version, proxies = number(request, "resourceVersion"), number(request, "proxies")
        plane = self._plane

        def is_so() -> bool:
            return count() >= proxies and plane.mesh.desired.resource_version >= version and holds()

        synced = await self._driver.moved.wait_for(is_so, wait(request))
        view = SyncedView(
            synced=synced,
            resource_version=plane.mesh.desired.resource_version,
            connected=len(plane.roster.sessions),
            behind=tuple(str(session.proxy) for session in plane.roster.unsettled),
        )
        return answer(view, 200 if synced else 504)

    async def _configured(self, request: web.Request) -> web.Response:
        """In a cluster the proxy may be another replica's. One that is not here is not waited for: who asks again,
        comes to the next."""
        proxy_id, patience = request.query.get("proxyID", ""), wait(request)
        plane, moved, in_cluster = self._plane, self._driver.moved, self._plane.door.in_cluster

        def is_away() -> bool:
            return in_cluster and plane.is_away(proxy_id)

        await moved.wait_for(lambda: not is_away(), min(patience, _ELSEWHERE))
        await moved.wait_for(lambda: plane.has_taken_all(proxy_id) or is_away(), patience)
        taken = plane.has_taken_all(proxy_id)
        return answer(taken, 200 if taken else 504)

    async def _names(self, request: web.Request) -> web.Response:
        """The table as soon as it is another than `version`; 304 if it stays the same for `wait` seconds."""
        proxy = self._proxy(request.query.get("proxyID", ""))
        known = request.query.get("version")
        names = self._plane.mesh.names
        if known and not await self._driver.moved.wait_for(lambda: names(proxy).version != known, wait(request)):
            return web.Response(status=304)
        return answer(names(proxy))

    def _proxy(self, proxy_id: str) -> Proxy:
        """Also one that is not connected yet: its agent wants names before its Envoy runs."""
        session = self._plane.roster.find(proxy_id)
        proxy = session.proxy if session else Proxy.parse(proxy_id, {})
        name, _, namespace = proxy_id.rpartition(".")
        if proxy is None and not namespace:
            raise web.HTTPBadRequest(text=NO_PROXY)
        return proxy or Proxy(proxy_id, name, namespace, "", ())


def _problem_view(finding: Finding) -> ProblemView:
    return ProblemView.of(finding.problem, tuple(sorted(map(pod_of, finding.proxies))))


def _sync_view(standing: Standing) -> SyncView:
    return SyncView(proxy=standing.proxy, types=dict(standing.types), error=standing.error)
