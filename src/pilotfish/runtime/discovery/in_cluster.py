"""What a discovery has in a cluster beside its objects: others like it, with which it shares an authority; whose tokens
the API server knows; and duties, which of all replicas one does.

    Lease ─Leader─▶ authority            what the user plugs in follows, in the Secret that all replicas sign with
                    root certificates    a ConfigMap in each namespace
                    webhooks             whom the API server trusts when it calls
                    status               conditions and Events
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from pilotfish.cluster.kubeconfig import Access
from pilotfish.discovery.findings import Finding
from pilotfish.discovery.plane import ControlPlane
from pilotfish.install.names import DEFAULT, OURS, Names
from pilotfish.mesh.discovery_selectors import selects
from pilotfish.model import Problem
from pilotfish.model.problem import Severity
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.authority import SharedAuthority
from pilotfish.runtime.cluster.bundles import RootMaps, WebhookBundles
from pilotfish.runtime.cluster.last_good import SharedMemory
from pilotfish.runtime.cluster.leader import Acting, Duty, Leader, beside
from pilotfish.runtime.cluster.registrar import Registrar
from pilotfish.runtime.cluster.reporter import Reporter
from pilotfish.runtime.cluster.tokens import Reviews
from pilotfish.runtime.control.views import ObjectView, ProblemView, ReplicaView
from pilotfish.runtime.discovery.authority import AuthorityKeeper
from pilotfish.runtime.discovery.driver import Driver
from pilotfish.runtime.discovery.peers import Peers, Place, places_of
from pilotfish.runtime.discovery.verdicts import report, verdicts

Findings: TypeAlias = Callable[[], Iterable[Finding]]


class InCluster:
    """`async with` opens its connections; `take_up` tells it what to do, and `run` does it."""

    def __init__(self, access: Access, namespace: str, revision: str) -> None:
        """`namespace`: the root one."""
        self._names = Names(revision if revision != DEFAULT else "", namespace)
        self._api = Api(access, "pilotfish-discovery")
        self.me = os.environ.get("POD_NAME") or socket.gethostname()
        self.authority = SharedAuthority(self._api, namespace, OURS)
        self.tokens = Reviews(self._api)
        self.memory = SharedMemory(self._api, self._names)
        self.leader: Leader | None = None
        self._registrar: Registrar | None = None
        # A process that comes after another in the same pod is another, whose proxies have not come back yet.
        self._controller = f"{self._names.label}/{self.me}_{uuid.uuid4().hex[:8]}"
        self._driver: Driver | None = None
        self._roots: RootMaps | None = None
        self._signs = False

    async def __aenter__(self) -> InCluster:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Whoever was connected has left."""
        if self._registrar is not None:
            await self._registrar.let_go()
        await self._api.__aexit__()

    def take_up(self, driver: Driver, keeper: AuthorityKeeper | None, findings: Findings) -> None:
        """`findings`: all that discovery has to say."""
        peers = self._peers(driver)
        registrar = Registrar(self._api, driver.plane, driver.moved, self._controller, self._names.label)
        self._registrar = registrar
        self._driver = driver

        async def abandoned_entries(acting: Acting) -> None:
            await registrar.lead(acting, peers.controllers)

        duties: dict[str, Duty] = {
            "status": self._reporting(driver, findings, peers),
            "abandoned entries": abandoned_entries,
        }
        if keeper is not None:
            self._signs = True
            duties |= self._of_authority(driver, keeper)
        names = self._names
        path = f"/apis/coordination.k8s.io/v1/namespaces/{names.namespace}/leases/{names.lease}"
        self.leader = Leader(self._api, path, duties, me=self.me, labels=names.labels)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if self.leader is not None:
                tasks.create_task(self.leader.run())
            if self._registrar is not None:
                tasks.create_task(self._registrar.run())
            if (driver := self._driver) is not None:
                tasks.create_task(self.memory.run(lambda: driver.plane.mesh.desired.manifests, driver.learn))
            if self._signs:
                tasks.create_task(self.authority.run())
                tasks.create_task(self.tokens.run())

    def problems(self) -> Iterator[Problem]:
        """What is wrong between this replica and the cluster."""
        if self.leader is not None and self.leader.trouble:
            message = (
                f"nobody may lead, so that no status and no new root certificate is written: {self.leader.trouble}"
            )
            yield Problem(None, "", "NoLeader", message, Severity.WARNING)
        if self._roots is not None:
            yield from self._roots.problems()
        if self._registrar is not None:
            yield from self._registrar.problems()

    def view(self, plane: ControlPlane, findings: Iterable[Finding]) -> ReplicaView:
        """What this one is to the others."""
        own = report(plane, findings)
        return ReplicaView(
            name=self.me,
            controller=self._controller,
            leader=self.leader.holder.partition("_")[0] if self.leader is not None else "",
            proxies=len(plane.roster.sessions),
            refused=tuple(ProblemView.of(problem, tuple(sorted(proxies))) for problem, proxies in own.refused),
            unsettled=tuple(map(ObjectView.of, sorted(own.unsettled))),
        )

    def _peers(self, driver: Driver) -> Peers:
        names = self._names

        def places() -> Iterator[Place]:
            return places_of(driver.plane.mesh.desired.manifests.values(), names.namespace, names.service)

        return Peers(places, self.me, driver.moved.notify)

    def _reporting(self, driver: Driver, findings: Findings, peers: Peers) -> Duty:
        """All of them have found it, and one writes it."""
        reporter = Reporter(lambda: verdicts(driver.plane, findings(), peers.reports()), driver.moved, self.me)

        async def status(acting: Acting) -> None:
            await peers.refresh()
            async with beside(peers.run()):
                await reporter.lead(acting)

        return status

    def _of_authority(self, driver: Driver, keeper: AuthorityKeeper) -> Mapping[str, Duty]:
        def roots() -> bytes:
            return keeper.state.trusted

        def is_selected(name: str, labels: Mapping[str, str]) -> bool:
            return selects(driver.plane.mesh.desired.mesh_config, name, labels)

        self._roots = RootMaps(roots, keeper.moved, OURS, is_selected)
        return {
            "authority": partial(self.authority.lead, chosen=keeper.chosen),
            "root certificates": self._roots.lead,
            "webhooks": WebhookBundles(roots, keeper.moved, self._names.marks).lead,
        }
