"""The gateways' ports on the host's loopback, for as long as there are such."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial

from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import ObjectRef
from pilotfish.model.wellknown import ROOT_NAMESPACE
from pilotfish.node.endpoints import Backend
from pilotfish.node.entrances import Entrance, find_entrances, host_ports, leads_to
from pilotfish.node.publish import Publish
from pilotfish.node.store import Store
from pilotfish.runtime.node.datagrams import DatagramPort
from pilotfish.runtime.node.options import CannotStart
from pilotfish.runtime.node.progress import Progress
from pilotfish.runtime.node.publish import Port, Published, find_service

_LOOPBACK = "127.0.0.1"
_REACHED_AT = {"0.0.0.0": _LOOPBACK, "::": "::1"}
_Key = tuple[ObjectRef, int]
"""The gateway, and its port."""


class Entrances:
    """Each has the port that the user published it on, or one of its own, which stays its own."""

    def __init__(self, chosen: Sequence[Port], progress: Progress) -> None:
        self._chosen = chosen
        """By the user."""
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self._open: dict[_Key, Published] = {}
        self._datagrams: dict[_Key, DatagramPort] = {}
        """Of the same numbers, where a gateway takes UDP, too."""
        self._entrances: dict[_Key, Entrance] = {}
        self._ports: dict[_Key, int] = {}
        """Of the host, also of those that are closed."""
        self._said: set[str] = set()
        self._seen: tuple[int, MeshConfig] | None = None
        self._store = Store()
        self._backends: Callable[[], tuple[Backend, ...]] = tuple
        self._tasks: set[asyncio.Task[None]] = set()

    def update(self, store: Store, backends: Callable[[], tuple[Backend, ...]]) -> None:
        """Opens and closes what follows from the objects. `backends`: the pods, whenever somebody connects."""
        config = store.desired.mesh_config
        seen = store.version, config
        if self._seen == seen:
            return
        self._seen, self._store, self._backends = seen, store, backends
        manifests: Mapping[ObjectRef, Manifest] = {ref: stored.manifest for ref, stored in store.objects.items()}
        self._entrances = {(each.gateway, each.port): each for each in find_entrances(manifests, config)}
        wanted = {key for key, each in self._entrances.items() if self._by_user(each) is None}
        for key in self._open.keys() - wanted:
            self._keep(self._open.pop(key).close())
        for each in sorted((self._entrances[key] for key in wanted - self._open.keys()), key=_rank):
            self._open_port((each.gateway, each.port), each)
        self._take_datagrams()
        self._tell()

    @property
    def published(self) -> tuple[Published, ...]:
        """Those that nobody asked for by hand."""
        return tuple(self._open[key] for key in sorted(self._open))

    def trials(self, port: Port) -> tuple[str, ...]:
        """Commands that try what is routed there."""
        address = _REACHED_AT.get(port.publish.address, port.publish.address)
        found = (each for key, each in sorted(self._entrances.items()) if self._at(key, each) is port)
        return tuple(trial.render(address, port.number) for each in found for trial in each.trials)

    async def close(self) -> None:
        for opened in self._datagrams.values():
            opened.close()
        for each in self.published:
            await each.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _by_user(self, entrance: Entrance) -> Port | None:
        fits = (p for p in self._chosen if leads_to(p.publish, find_service(p.publish, self._store), entrance))
        return next(fits, None)

    def _at(self, key: _Key, entrance: Entrance) -> Port | None:
        opened = self._open.get(key)
        return opened.port if opened is not None else self._by_user(entrance)

    def _open_port(self, key: _Key, entrance: Entrance) -> None:
        """On the one that it had before, or the best that is free."""
        before = self._ports.get(key)
        tried: list[int] = []
        for number in (*((before,) if before else ()), *host_ports(entrance.port)):
            publish = Publish(_LOOPBACK, number, entrance.gateway.name, entrance.gateway.namespace, str(entrance.port))
            try:
                port = Port(publish)
            except CannotStart:
                tried.append(number)
                continue
            self._open[key] = opened = Published(port, partial(self._endpoints, key))
            self._ports[key] = port.number
            self._keep(opened.start())
            self._progress.say(_describe(opened, tried), "warning" if tried else "info")
            return
        self._progress.say(f"{entrance.target} has no port on {_LOOPBACK}: none is free", "warning")

    def _take_datagrams(self) -> None:
        wanted = {key: port for key, each in self._entrances.items() if each.http3 and (port := self._at(key, each))}
        for key in self._datagrams.keys() - wanted.keys():
            self._datagrams.pop(key).close()
        for key in sorted(wanted.keys() - self._datagrams.keys()):
            port, target = wanted[key], self._entrances[key].target
            endpoints = partial(self._endpoints, key, port.publish)
            try:
                self._datagrams[key] = DatagramPort(port.publish.address, port.number, endpoints)
            except OSError as error:
                what = f"{target} is not published for HTTP/3 on {port.address}: UDP {error.strerror}"
                self._progress.say(f"{what}; HTTPS is", "warning")
            else:
                self._progress.say(f"{target} published on {port.address} for HTTP/3 as well")

    def _endpoints(self, key: _Key, _: Publish) -> tuple[tuple[str, int], ...]:
        entrance = self._entrances.get(key)
        return entrance.endpoints(self._backends()) if entrance is not None else ()

    def _tell(self) -> None:
        """How to try it, each way once."""
        for port in (*self._chosen, *(each.port for each in self.published)):
            for trial in self.trials(port):
                if trial not in self._said:
                    self._said.add(trial)
                    self._progress.say(f"try: {trial}")

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _rank(entrance: Entrance) -> tuple[bool, bool, _Key]:
    """Istio's own gateway for what comes in gets the best ports: it is the one that everybody tries."""
    is_ingress = entrance.labels.get("istio") == "ingressgateway"
    return not is_ingress, entrance.gateway.namespace != ROOT_NAMESPACE, (entrance.gateway, entrance.port)


def _describe(published: Published, taken: Iterable[int]) -> str:
    said = f"{published.publish.target} published on {published.address}"
    ports = ", ".join(map(str, dict.fromkeys(taken)))
    if not ports:
        return said
    return f"{said}, as {ports} of {_LOOPBACK} is taken; choose another: --publish PORT:{published.publish.target}"
