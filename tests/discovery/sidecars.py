"""Sidecars of a control plane that is driven by hand: no sockets, and time passes only when it is told to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pilotfish.ads import DeltaRequest, Node, Send
from pilotfish.ads.wire import Payload
from pilotfish.config import load
from pilotfish.config.desired import DesiredState
from pilotfish.config.mesh import MeshConfig
from pilotfish.discovery.admission import Caller
from pilotfish.discovery.effects import Disconnect, Effect, Failed, Remember, Settled
from pilotfish.discovery.memory import Remembered
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.types import CLUSTER, ENDPOINT, ORDER, xds_type
from pilotfish.envoy.values import Resource
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType


def desired(text: str, config: MeshConfig | None = None) -> DesiredState:
    loaded = load(text, "mesh.yaml")
    assert not loaded.problems
    return DesiredState(manifests={m.ref: m for m in loaded.manifests}, mesh_config=config or MeshConfig())


@dataclass
class Sidecar:
    """A delta client. It refuses what holds one of some texts, and asks for what its clusters and listeners name."""

    name: str = "web-0"
    machine: str = ""
    """It is the proxy of this machine's pods."""
    refuses: tuple[str, ...] = ()
    is_silent: bool = False
    """It never answers."""
    has: dict[str, dict[str, Resource]] = field(default_factory=lambda: {type_url: {} for type_url in ORDER})
    inbox: list[Payload] = field(default_factory=list)
    session: ProxySession | None = None

    def holds(self, text: str) -> bool:
        return any(text.encode() in r.body for found in self.has.values() for r in found.values())


class World:
    """A control plane, what it has said, and those who are connected to it."""

    def __init__(self, text: str = "", remembered: Iterable[Remembered] = ()) -> None:
        self.now = 0.0
        self.plane = ControlPlane(remembered)
        self.settled: list[float | None] = []
        self.failed: list[Exception] = []
        self.remembered: tuple[Remembered, ...] | None = None
        """What it last asked to keep."""
        self.sent = 0
        self.refusals = 0
        self._sidecars: dict[str, Sidecar] = {}
        if text:
            self.change(text)

    def change(self, text: str, config: MeshConfig | None = None) -> None:
        self._take(self.plane.change(desired(text, config), self.now))

    def learn(self, other: World) -> None:
        """What another replica asked to keep."""
        self._take(self.plane.learn(other.remembered or (), self.now))

    def connect(self, sidecar: Sidecar) -> None:
        """It says in its first requests what it has."""
        self.join(sidecar)
        for type_url, has in sidecar.has.items():
            if has or xds_type(type_url).wildcard:
                self.ask(sidecar, type_url)

    def join(self, sidecar: Sidecar) -> None:
        proxy = Proxy.of_pod(sidecar.name, "vm", ("10.0.0.1",))
        if sidecar.machine:
            own = Proxy.of_pod(sidecar.machine, "istio-system", ("10.0.0.1",), type=ProxyType.NODE)
            proxy = replace(own, netns_prefix="/run/netns/pf-test.")
        node = Node(proxy.id, version="1.40.0")
        sidecar.session = self.plane.join(
            node, proxy, delta=True, caller=Caller("ipv4:10.0.0.1:1"), at=0.0, now=self.now
        )
        sidecar.inbox = []
        self._sidecars[sidecar.session.id] = sidecar

    def ask(self, sidecar: Sidecar, type_url: str) -> None:
        """The first request for a type."""
        has = {name: resource.version for name, resource in sidecar.has[type_url].items()}
        names = () if xds_type(type_url).wildcard else tuple(has)
        self.say(sidecar, DeltaRequest(type_url, subscribe=names, initial=has))

    def disconnect(self, sidecar: Sidecar) -> None:
        assert sidecar.session is not None
        del self._sidecars[sidecar.session.id]
        self._take(self.plane.leave(sidecar.session, self.now))

    def say(self, sidecar: Sidecar, request: DeltaRequest) -> None:
        assert sidecar.session is not None
        self._take(self.plane.receive(sidecar.session, request, self.now), sidecar.session)

    def push(self) -> None:
        session, effects = self.plane.push(self.now)
        self._take(effects, session)

    def settle(self) -> None:
        """Until nobody has anything to do or to say any more."""
        for _ in range(1000):
            if self.plane.roster.is_behind:
                self.push()
            elif (sidecar := next((s for s in self._talking() if s.inbox), None)) is not None:
                self.answer(sidecar)
            elif not self._pass_time():
                return
        raise AssertionError("it never ends")

    def _talking(self) -> list[Sidecar]:
        return [sidecar for sidecar in self._sidecars.values() if not sidecar.is_silent]

    @property
    def sidecars(self) -> tuple[Sidecar, ...]:
        """Those that are connected."""
        return tuple(self._sidecars.values())

    def is_gone(self, sidecar: Sidecar) -> bool:
        return all(other is not sidecar for other in self._sidecars.values())

    def has_all(self, sidecar: Sidecar) -> bool:
        """Of what it asked for it has all that it should have, and nothing else."""
        assert sidecar.session is not None
        resources = self.plane.mesh.resources(sidecar.session.proxy)
        for type_url, watch in sidecar.session.stream.watches.items():
            due = {r.name: r.version for r in resources.resources(type_url) if watch.selects(r.name)}
            has = {name: r.version for name, r in sidecar.has[type_url].items() if watch.selects(name)}
            if due != has:
                return False
        return True

    def step(self, times: int) -> None:
        """Some of what there is to do or to say."""
        for _ in range(times):
            if self.plane.roster.is_behind:
                self.push()
            elif (sidecar := next((s for s in self._talking() if s.inbox), None)) is not None:
                self.answer(sidecar)

    def pass_time(self, seconds: float) -> None:
        """And all that comes of it."""
        until = self.now + seconds
        while (at := self.plane.look_at) is not None and at <= until:
            self.now = max(self.now, at)
            self._take(self.plane.look(self.now))
            self.settle()
        self.now = max(self.now, until)

    def answer(self, sidecar: Sidecar) -> None:
        """Take the oldest response."""
        payload = sidecar.inbox.pop(0)
        bad = [r for r in payload.resources if any(text.encode() in r.body for text in sidecar.refuses)]
        self.refusals += bool(bad)
        if not bad:
            sidecar.has[payload.type_url].update((r.name, r) for r in payload.resources)
            for name in payload.removed:
                sidecar.has[payload.type_url].pop(name, None)
            self._follow_up(sidecar, payload)
        self.say(sidecar, DeltaRequest(payload.type_url, payload.nonce, "it is bad" if bad else None))

    def _follow_up(self, sidecar: Sidecar, payload: Payload) -> None:
        """Ask for what the new resources name."""
        named = {reference for r in payload.resources for reference in r.references}
        if payload.type_url == CLUSTER:
            assert sidecar.session is not None
            assignments = self.plane.mesh.resources(sidecar.session.proxy).resources(ENDPOINT)
            named |= {(ENDPOINT, r.name) for r in assignments if r.name in sidecar.has[CLUSTER]}
        for type_url in ORDER:
            names = tuple(sorted(name for kind, name in named if kind == type_url and name not in sidecar.has[kind]))
            if names and not xds_type(type_url).wildcard:
                self.say(sidecar, DeltaRequest(type_url, subscribe=names))

    def _pass_time(self) -> bool:
        waiting = [s for s in self.plane.roster.sessions.values() if s.stream.wake_at is not None]
        for session in waiting:
            self.now = max(self.now, session.stream.wake_at or 0.0)
            self._take(self.plane.tick(session, self.now), session)
        return bool(waiting)

    def _take(self, effects: tuple[Effect, ...], session: ProxySession | None = None) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                assert session is not None
                self.sent += 1
                self._sidecars[session.id].inbox.append(effect.payload)
            elif isinstance(effect, Settled):
                self.settled.append(effect.took)
            elif isinstance(effect, Remember):
                self.remembered = effect.remembered
            elif isinstance(effect, Disconnect):
                self.disconnect(self._sidecars[effect.session.id])
            elif isinstance(effect, Failed):
                self.failed.append(effect.error)
