"""The ports of the host that lead into the mesh: those that the user chose, gateways' and Services'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from pilotfish.config.kubernetes import ServicePort
from pilotfish.config.manifest import Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import SERVICE
from pilotfish.model.wellknown import ROOT_NAMESPACE
from pilotfish.node.endpoints import Backend
from pilotfish.node.entrances import Entrance, find_entrances, host_ports, leads_to
from pilotfish.node.node_ports import LOOPBACK, NodePort, find_node_ports
from pilotfish.node.publish import Endpoints, Publish, Resolve, Transport
from pilotfish.node.store import Store
from pilotfish.runtime.node.openings import Openings, Tried
from pilotfish.runtime.node.progress import Progress
from pilotfish.runtime.node.publish import Port, Published, find_problem, find_service

_REACHED_AT = {"0.0.0.0": LOOPBACK, "::": "::1"}
_Key = tuple[ObjectRef, int, Transport]
"""The gateway or the Service, and its port."""


class Entrances:
    """A gateway's or a Service's port is where the user published it, or has one of its own, which stays its own."""

    def __init__(self, chosen: Iterable[Port], progress: Progress) -> None:
        """`chosen`: by the user."""
        self._progress = progress
        self._chosen = [Published(port, self._resolve_chosen) for port in chosen]
        self._opened = Openings[_Key](self._endpoints)
        self._datagrams = Openings[_Key](self._endpoints)
        """Of the same numbers, where a gateway takes UDP, too."""
        self._entrances: dict[_Key, Entrance] = {}
        self._node_ports: dict[_Key, NodePort] = {}
        self._said: set[str] = set()
        self._seen: tuple[int, MeshConfig] | None = None
        self._store = Store()
        self._resolve: Resolve = lambda _: ()
        self._backends: Callable[[], tuple[Backend, ...]] = tuple

    def update(self, store: Store, backends: Callable[[], tuple[Backend, ...]], resolve: Resolve) -> None:
        """Opens and closes what follows from the objects. `backends`: the pods, and `resolve`: where what is published
        goes, whenever somebody connects."""
        config = store.desired.mesh_config
        seen = store.version, config
        if self._seen == seen:
            return
        self._seen, self._store, self._backends, self._resolve = seen, store, backends, resolve
        manifests: Mapping[ObjectRef, Manifest] = {ref: stored.manifest for ref, stored in store.objects.items()}
        self._entrances = {(e.gateway, e.port, "TCP"): e for e in find_entrances(manifests, config)}
        node_ports = {(each.service, each.port.port, each.protocol): each for each in find_node_ports(manifests)}
        self._node_ports = {key: each for key, each in node_ports.items() if not self._is_gateways(each)}
        asked = {each.service: each for each in node_ports.values() if each.port.node_port}
        entrances = sorted(self._entrances.items(), key=lambda each: _rank(each[1]))
        wanted = {key: self._places(each, asked.values()) for key, each in entrances if self._by_user(each) is None}
        wanted |= {key: each.publishes for key, each in self._node_ports.items() if self._chosen_for(each) is None}
        for tried in self._opened.update(wanted):
            self._say(tried)
        self._take_datagrams()
        self._tell()

    async def start(self) -> None:
        """Those that were chosen are served."""
        for each in self._chosen:
            await each.start()

    async def publish(self, publish: Publish) -> Published:
        """One more that the user chooses. Raises CannotStart if it can't be had."""
        published = Published(Port(publish), self._resolve_chosen)
        self._chosen.append(published)
        await published.start()
        self._progress.say(f"{publish.target} published on {published.address}")
        self._look_again()
        return published

    async def unpublish(self, address: str, protocol: Transport) -> Published | None:
        """One that the user chose, by its address `127.0.0.1:8080`; None if there is none."""
        for each in self._chosen:
            if (each.address, each.publish.protocol) == (address, protocol):
                self._chosen.remove(each)
                await each.close()
                self._progress.say(f"{each.publish.target} is not published on {each.address} any more")
                self._look_again()
                return each
        return None

    @property
    def chosen(self) -> tuple[Published, ...]:
        return tuple(self._chosen)

    @property
    def published(self) -> tuple[Published, ...]:
        """Those that nobody asked for by hand."""
        return tuple(found for key in sorted(self._opened) if (found := self._opened.get(key)) is not None)

    @property
    def problems(self) -> Iterator[Problem]:
        """Ports that lead nowhere, and such that are not where they were asked to be."""
        backends = self._backends() if any(each.publish.is_pod for each in self._chosen) else ()
        for chosen in self._chosen:
            if problem := find_problem(replace(chosen.publish, port=chosen.port.number), self._store, backends):
                yield problem
        for key, each in self._node_ports.items():
            opened, stored = self._opened.get(key), self._store.objects.get(each.service)
            number = opened.port.number if opened is not None else None
            if problem := each.find_problem(number, stored.manifest if stored is not None else None):
                yield problem

    def trials(self, port: Port) -> tuple[str, ...]:
        """Commands that try what is routed there."""
        address = _REACHED_AT.get(port.publish.address, port.publish.address)
        found = (each for key, each in sorted(self._entrances.items()) if self._at(key, each) is port)
        return tuple(trial.render(address, port.number) for each in found for trial in each.trials)

    def host_port(self, service: ObjectRef, port: ServicePort) -> Port | None:
        """The host's port that leads to a Service's."""
        if port.protocol == "SCTP":
            return None
        opened = self._opened.get((service, port.port, port.protocol))
        if opened is not None:
            return opened.port
        wanted = Publish(LOOPBACK, 0, service.name, service.namespace, str(port.port), port.protocol)
        for key, entrance in self._entrances.items():
            if leads_to(wanted, find_service(wanted, self._store), entrance):
                return self._at(key, entrance)
        return self._chosen_for(NodePort(service, port, port.protocol, False, ""))

    async def close(self) -> None:
        await self._datagrams.close()
        await self._opened.close()
        for each in self._chosen:
            await each.close()

    def _look_again(self) -> None:
        """What the user publishes is not opened twice."""
        self._seen = None
        self.update(self._store, self._backends, self._resolve)

    def _resolve_chosen(self, publish: Publish) -> Endpoints:
        return self._resolve(publish)

    def _is_gateways(self, node_port: NodePort) -> bool:
        """A gateway listens on the ports of its Gateways alone, and these have entrances."""
        service, at = find_service(node_port.publishes[0], self._store), node_port.service.namespace
        labels = service.spec.selector if service is not None else {}
        gateways = (each for each in self._entrances.values() if each.gateway.namespace == at)
        return any(labels and labels.items() <= each.labels.items() for each in gateways)

    def _places(self, entrance: Entrance, asked: Iterable[NodePort]) -> tuple[Publish, ...]:
        """Where a Service asks for it first."""
        gateway, port = entrance.gateway, str(entrance.port)
        theirs = (each for each in asked if each.port.port == entrance.port and each.protocol == "TCP")
        numbers = [
            each.port.node_port
            for each in theirs
            if leads_to(each.publishes[0], find_service(each.publishes[0], self._store), entrance)
        ]
        return tuple(
            Publish(LOOPBACK, number, gateway.name, gateway.namespace, port)
            for number in (*numbers, *host_ports(entrance.port))
        )

    def _by_user(self, entrance: Entrance) -> Port | None:
        fits = (
            each.port
            for each in self._chosen
            if leads_to(each.publish, find_service(each.publish, self._store), entrance)
        )
        return next(fits, None)

    def _chosen_for(self, node_port: NodePort) -> Port | None:
        """Where the user published a Service's port, unless it says its own number."""
        if node_port.port.node_port:
            return None
        ref, port = node_port.service, node_port.port
        for each in self._chosen:
            publish = each.publish
            is_it = SERVICE.ref(publish.namespace, publish.name) == ref and not publish.is_pod
            if is_it and publish.protocol == port.protocol and publish.target_port in (str(port.port), port.name):
                return each.port
        return None

    def _at(self, key: _Key, entrance: Entrance) -> Port | None:
        opened = self._opened.get(key)
        return opened.port if opened is not None else self._by_user(entrance)

    def _say(self, tried: Tried[_Key]) -> None:
        """Where it is, and why not where it should be."""
        target = tried.taken[0].target if tried.published is None else tried.published.publish.target
        if tried.published is None:
            self._progress.say(f"{target} has no port on {LOOPBACK}: none is free", "warning")
            return
        said = f"{target} published on {tried.published.address}"
        ports = ", ".join(dict.fromkeys(str(each.port) for each in tried.taken))
        if ports:
            said = f"{said}, as {ports} of {LOOPBACK} is taken; choose another: --publish PORT:{target}"
        self._progress.say(said, "warning" if ports else "info")

    def _take_datagrams(self) -> None:
        ports = {key: port for key, each in self._entrances.items() if each.http3 and (port := self._at(key, each))}
        wanted: dict[_Key, tuple[Publish, ...]] = {
            (gateway, number, "UDP"): (replace(port.publish, port=port.number, protocol="UDP"),)
            for (gateway, number, _), port in ports.items()
        }
        for tried in self._datagrams.update(wanted):
            gateway, number, _ = tried.key
            target, port = self._entrances[gateway, number, "TCP"].target, ports[gateway, number, "TCP"]
            if tried.published is None:
                what = f"{target} is not published for HTTP/3 on {port.address}: its number is taken for UDP"
                self._progress.say(f"{what}; HTTPS is", "warning")
            else:
                self._progress.say(f"{target} published on {port.address} for HTTP/3 as well")

    def _endpoints(self, key: _Key) -> Endpoints:
        ref, port, _ = key
        entrance = self._entrances.get((ref, port, "TCP"))
        if entrance is not None:
            return entrance.endpoints(self._backends())
        node_port = self._node_ports.get(key)
        return self._resolve(node_port.publishes[0]) if node_port is not None else ()

    def _tell(self) -> None:
        """How to try it, each way once."""
        for published in (*self._chosen, *self.published):
            for trial in self.trials(published.port):
                if trial not in self._said:
                    self._said.add(trial)
                    self._progress.say(f"try: {trial}")


def _rank(entrance: Entrance) -> tuple[bool, bool, ObjectRef, int]:
    """Istio's own gateway for what comes in gets the best ports: it is the one that everybody tries."""
    is_ingress = entrance.labels.get("istio") == "ingressgateway"
    return not is_ingress, entrance.gateway.namespace != ROOT_NAMESPACE, entrance.gateway, entrance.port
