"""The objects of a Kubernetes cluster, as its API server tells them: an `ObjectSource` with an origin for each object.

    Collection ─Reflector─▶ an object's JSON ─cluster.reading─▶ Loaded ─debounce─▶ Batch

All kinds that discovery reads are followed, and Nodes, which tell where pods are. Of ConfigMaps the one with the
meshConfig is, and those that a Gateway or a DestinationRule names; of Secrets those of types that can hold a
certificate. Endpoints are not: a cluster's controllers keep an EndpointSlice for each of them.

While the API server is away, what is known stays, and `problems` says since when nothing new is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from pilotfish.cluster.kubeconfig import Access
from pilotfish.cluster.reading import UNREAD_SECRETS, Reader, config_maps_in, node_of, placed, read_node
from pilotfish.config.injection import revised
from pilotfish.config.manifest import Loaded
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import (
    CONFIG_MAP,
    ENDPOINTS,
    INGRESS,
    INGRESS_CLASS,
    NODE,
    POD,
    SECRET,
    SUPPORTED,
)
from pilotfish.model.wellknown import MESH_CONFIG_MAP, ROOT_NAMESPACE
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import Forbidden
from pilotfish.runtime.cluster.reflector import Collection, Reflector, Served, Trouble
from pilotfish.runtime.source import Batch
from pilotfish.runtime.source.debounce import Debounce

_log = logging.getLogger(__name__)
_RUNNING: Final = "status.phase!=Succeeded,status.phase!=Failed"
_SECRETS: Final = ",".join(f"type!={each}" for each in UNREAD_SECRETS)
_OPTIONAL: Final = (INGRESS, INGRESS_CLASS, NODE)
"""Without them there is less traffic, or it goes farther, but nothing that is forbidden is let through."""
_APART: Final = (CONFIG_MAP, ENDPOINTS, POD, SECRET)


def collections(revision: str = "", root_namespace: str = ROOT_NAMESPACE) -> tuple[Collection, ...]:
    """All that is read of a cluster."""
    plain = (kind for kind in SUPPORTED if kind.discovery and kind not in _APART)
    return (
        Collection(CONFIG_MAP, root_namespace, f"metadata.name={revised(MESH_CONFIG_MAP, revision)}"),
        *(Collection(kind, is_optional=kind in _OPTIONAL) for kind in (NODE, *plain)),
        Collection(POD, field_selector=_RUNNING),
        # Its own authority may stand in the root namespace: without it another would be made.
        Collection(SECRET, root_namespace, _SECRETS),
        Collection(SECRET, field_selector=f"metadata.namespace!={root_namespace},{_SECRETS}", is_optional=True),
    )


class Cluster:
    """An `ObjectSource`."""

    def __init__(self, access: Access, *, revision: str = "", root_namespace: str = ROOT_NAMESPACE) -> None:
        self._api = Api(access, "pilotfish-discovery")
        self._reader = Reader(CONFIG_MAP.ref(root_namespace, revised(MESH_CONFIG_MAP, revision)))
        self._debounce = Debounce()
        self._news: dict[str, Loaded | None] = {}
        self._nodes: dict[str, Mapping[str, str]] = {}
        """By name, the labels that tell where one is."""
        self._on: dict[str, dict[str, Loaded]] = {}
        """By node and origin: the pods there, as they were told."""
        self._node_of: dict[str, str] = {}
        """By origin of a pod."""
        self._named: dict[str, frozenset[ObjectRef]] = {}
        """By origin: the ConfigMaps that an object names, if it does."""
        self._followed: dict[ObjectRef, tuple[Reflector, asyncio.Task[None]]] = {}
        """Of all ConfigMaps that are named, each by itself."""
        self._served = Served()
        self._reflectors = tuple(map(self._reflector, collections(revision, root_namespace)))
        self._settled = asyncio.Event()
        self._said: frozenset[str] = frozenset()
        """Problems that the log has."""
        self._task: asyncio.Task[None] | None = None

    async def next(self) -> Batch:
        """At first, once the API server has told all. It is waited for as long as it takes."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run())
            self._task.add_done_callback(self._on_end)
            await self._settled.wait()
            self._check()
            return Batch(self._drain(), loop.time())
        while True:
            since = await self._debounce.wait()
            self._check()
            if news := self._drain():
                return Batch(news, since)

    def _on_end(self, _: object) -> None:
        """It ends by a fault of ours alone, which whoever waits is to hear of."""
        self._settled.set()
        self._debounce.poke()

    def _check(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()

    def _drain(self) -> Mapping[str, Loaded | None]:
        news, self._news = self._news, {}
        return news

    def notes(self) -> tuple[str, ...]:
        return ()

    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems())

    def away_since(self) -> float | None:
        return min((each.since for each in self._troubles(is_forbidden=False)), default=None)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _reflector(self, of: Collection) -> Reflector:
        return Reflector(self._api, of, self._served, self._take, self._look)

    async def _run(self) -> None:
        async with self._api, asyncio.TaskGroup() as self._tasks:
            for each in self._reflectors:
                self._tasks.create_task(each.run())

    def _take(self, ref: ObjectRef, data: bytes | None, version: str) -> None:
        if ref.kind is NODE:
            self._take_node(ref.name, data)
            return
        origin = _origin(ref)
        if ref.kind.is_istio:
            self._refer(origin, config_maps_in(data or b""))
        loaded = None if data is None else self._reader.read(ref.kind, ref, data, version)
        if ref.kind is POD:
            loaded = self._place(origin, loaded)
        self._tell(origin, loaded)

    def _tell(self, origin: str, loaded: Loaded | None) -> None:
        self._news[origin] = loaded
        self._debounce.poke()

    def _place(self, origin: str, loaded: Loaded | None) -> Loaded | None:
        """A pod, with the labels of its node."""
        node = node_of(loaded) if loaded is not None else ""
        before = self._node_of.pop(origin, "")
        if before and before != node:
            self._on[before].pop(origin)
        if loaded is None or not node:
            return loaded
        self._node_of[origin] = node
        self._on.setdefault(node, {})[origin] = loaded
        return placed(loaded, self._nodes.get(node, {}))

    def _refer(self, origin: str, named: frozenset[ObjectRef]) -> None:
        """An object names these ConfigMaps now, and no others."""
        if named == self._named.get(origin, frozenset()):
            return
        self._named[origin] = named
        wanted = frozenset[ObjectRef]().union(*self._named.values()) - {self._reader.mesh_config}
        for ref in wanted - self._followed.keys():
            of = Collection(ref.kind, ref.namespace, f"metadata.name={ref.name}", is_optional=True)
            reflector = self._reflector(of)
            self._followed[ref] = reflector, self._tasks.create_task(reflector.run())
        for ref in self._followed.keys() - wanted:
            _, task = self._followed.pop(ref)
            task.cancel()
            self._tell(_origin(ref), None)

    def _take_node(self, name: str, data: bytes | None) -> None:
        labels = read_node(data) if data is not None else {}
        if labels == self._nodes.get(name, {}):
            return
        self._nodes[name] = labels
        if data is None:
            del self._nodes[name]
        for origin, loaded in self._on.get(name, {}).items():
            self._tell(origin, placed(loaded, labels))

    def _look(self) -> None:
        """Something of the reflectors is another."""
        if all(each.is_settled for each in self._reflectors):
            self._settled.set()
        found = {each.message: each for each in self._problems()}
        for message in found.keys() - self._said:
            waits = "" if self._settled.is_set() else "; nothing is served until then"
            _log.warning("%s%s", message, waits)
        if self._said and not found:
            _log.info("the API server tells all that is asked again")
        self._said = frozenset(found)

    def _problems(self) -> Iterator[Problem]:
        for trouble in self._troubles(is_forbidden=True):
            message = f"{trouble.error} (list and watch are needed); until then, what was known of them stays in force"
            yield Problem(None, "", "Forbidden", message)
        others = sorted(self._troubles(is_forbidden=False), key=lambda trouble: trouble.since)
        if others:
            since = f"{datetime.fromtimestamp(others[0].since, UTC):%Y-%m-%d %H:%M:%S} UTC"
            kept = f"since {since} no change of the cluster is known, and what was known stays in force"
            yield Problem(None, "", "ApiServerAway", f"{others[0].error}; {kept}")

    def _troubles(self, is_forbidden: bool) -> Iterator[Trouble]:
        """Those by a missing permission, or all others."""
        for each in (*self._reflectors, *(reflector for reflector, _ in self._followed.values())):
            if each.trouble is not None and isinstance(each.trouble.error, Forbidden) is is_forbidden:
                yield each.trouble


def _origin(ref: ObjectRef) -> str:
    return f"{ref.kind.qualified_plural}/{ref.namespace}/{ref.name}"
