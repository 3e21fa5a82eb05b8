"""The whole way of a request, from the client's connect() to the server's accept().

name ─dns─▶ address ─netfilter─▶ the pod's proxy ─proxy─▶ endpoint ─netfilter─▶ its pod's proxy ─proxy─▶ app
                        └ past the proxy ─▶ a Service's address, as the kernel serves it ─▶ endpoint ─▶ …
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from pilotfish.capture import Dropped, Unknown
from pilotfish.explain import netfilter
from pilotfish.explain.ask import Ask
from pilotfish.explain.call import Call, Direction, is_address
from pilotfish.explain.dns import Resolved, resolve
from pilotfish.explain.forward import Forwarded
from pilotfish.explain.listeners import WILDCARDS
from pilotfish.explain.proxy import walk_proxy
from pilotfish.explain.scene import Scene, Station
from pilotfish.explain.trace import Branch, End, Passed, Side, Stage, Tape, Trace, Verdict
from pilotfish.model.addresses import host_port
from pilotfish.model.frontend import Frontend
from pilotfish.model.wellknown import INBOUND_PORT, OUTBOUND_PORT, PROXY_UID

_PROXYS: Final = {OUTBOUND_PORT: Direction.OUTBOUND, INBOUND_PORT: Direction.INBOUND}
"""Where the proxy listens itself, for whoever calls it there."""
_MOST_HOPS: Final = 8
"""Proxies on one way: more is a way in a circle."""


def explain(scene: Scene, client: Station | None, ask: Ask) -> Trace:
    """`client` None: somebody outside of every pod."""
    tape = Tape()
    branch = Branch(tape, Side.CLIENT, client.name if client is not None else "")
    walk = _Walk(scene)
    if client is None and scene.entrance is not None:
        walk.enter(
            branch, scene.entrance, ask.call(ask.address or next(iter(scene.entrance.addresses), WILDCARDS[0]), ""), 0
        )
        return tape.trace()
    for at, address in _addresses(branch, scene, client, ask):
        call = ask.call(address, client.address if client is not None else "")
        if client is None:
            walk.arrive(at, call, 0)
        else:
            walk.leave(at, client, call, ask.uid, 0)
    return tape.trace()


def _addresses(branch: Branch, scene: Scene, client: Station | None, ask: Ask) -> list[tuple[Branch, str]]:
    """Those that the app may connect to, each with its part: a resolver begins with another one each time."""
    if ask.address:
        return [(branch, ask.address)]
    if client is None:
        return _entrance(branch, scene, ask)
    found = resolve(ask.host, client.namespace, client.names)
    addresses = scene.outside(found.name) if found.outside else found.addresses
    if addresses is None:
        step = branch.step(Stage.DNS, found.name, verdict=Verdict.UNKNOWN, rejected=found.rejected)
        why = f"the mesh has no name {found.name}, so the machine's resolvers decide: say its address with --resolve"
        step.end(End.UNKNOWN, why)
        return []
    usable = [address for address in addresses if ":" not in address] or list(addresses)
    if not usable:
        step = branch.step(Stage.DNS, ask.host, verdict=Verdict.REFUSED, rejected=found.rejected)
        step.end(End.REFUSED, f"{ask.host} does not resolve")
        return []
    return [(_resolved(branch, found, address, len(usable)), address) for address in usable]


def _entrance(branch: Branch, scene: Scene, ask: Ask) -> list[tuple[Branch, str]]:
    """Where names lead from outside of the mesh nobody knows here; the gateways of the port are what stands open."""
    found = [each for each in scene.frontends if each.port == ask.port and _leads_to_gateways(scene, each)]
    if not found:
        step = branch.step(Stage.DNS, ask.host, verdict=Verdict.UNKNOWN)
        step.end(End.UNKNOWN, f"no gateway listens on port {ask.port}, and who resolves {ask.host} is not known")
        return []
    why = "from outside, names lead to gateways"
    steps = ((branch.step(Stage.DNS, e.name, share=1 / len(found), evidence={"why": why}), e) for e in found)
    return [(step, each.addresses[0]) for step, each in steps]


def _leads_to_gateways(scene: Scene, frontend: Frontend) -> bool:
    found = [scene.at(address) for address, _ in frontend.endpoints]
    return any(station is not None and station.is_gateway for station in found)


def _resolved(branch: Branch, found: Resolved, address: str, count: int) -> Branch:
    evidence = {"address": address, "by": "the machine's resolvers" if found.outside else ""}
    return branch.step(Stage.DNS, found.name, share=1 / count, evidence=evidence, rejected=found.rejected)


@dataclass(frozen=True, slots=True)
class _Walk:
    scene: Scene

    def leave(self, branch: Branch, station: Station, call: Call, uid: int, hops: int) -> None:
        """A connection that somebody in a pod opens: the app, or (uid 1337) its proxy."""
        if not station.captured:
            self._depart(branch, station, call, hops)
            return
        branch, verdict = netfilter.leave(branch, station, call.address, call.port, uid)
        port, moved = netfilter.proxy_port(verdict), netfilter.translated(verdict)
        if isinstance(verdict, Unknown):
            branch.end(End.UNKNOWN, str(verdict))
        elif isinstance(verdict, Dropped):
            branch.end(End.TIMEOUT, f"{verdict.rule} drops the connection")
        elif port in _PROXYS:
            self._proxy(branch, station, replace(call, direction=_PROXYS[port]), hops)
        elif port is not None:
            self._meet(branch, station, replace(call, address="127.0.0.1", port=port))
        else:
            self._depart(branch, station, replace(call, address=moved[0], port=moved[1]) if moved else call, hops)

    def _depart(self, branch: Branch, station: Station, call: Call, hops: int) -> None:
        """Past the proxy, or from it: to the pod itself, or out of it."""
        if call.address in station.addresses or ip_address(call.address).is_loopback:
            direction = _PROXYS.get(call.port) if station.captured else None
            if direction is not None:
                self._proxy(branch, station, replace(call, direction=direction), hops)
            else:
                self._meet(branch, station, call)
            return
        self.arrive(branch, call, hops)

    def arrive(self, branch: Branch, call: Call, hops: int) -> None:
        """At an address of the network: a Service's, a pod's, or one that is nobody's here."""
        if self.scene.at(call.address) is not None:
            self._enter(branch, call, hops)
            return
        frontend = self.scene.frontend(call.address, call.port)
        if frontend is not None and not frontend.endpoints:
            step = branch.step(Stage.NETFILTER, f"service {frontend.name}", verdict=Verdict.REFUSED)
            step.end(End.REFUSED, f"service {frontend.name} has no endpoint that is ready")
        elif frontend is not None:
            for address, port in frontend.endpoints:
                step = branch.step(
                    Stage.NETFILTER,
                    f"service {frontend.name}",
                    share=1 / len(frontend.endpoints),
                    evidence={"verdict": f"translated to {address} port {port}"},
                )
                self._enter(step, replace(call, address=address, port=port), hops)
        elif self.scene.is_service(call.address):
            step = branch.step(Stage.NETFILTER, f"service address {call.address}", verdict=Verdict.REFUSED)
            step.end(End.REFUSED, f"no Service has port {call.port} of {call.address}")
        else:
            self._enter(branch, call, hops)

    def _enter(self, branch: Branch, call: Call, hops: int) -> None:
        station = self.scene.at(call.address)
        if station is None:
            place = f"{call.address}:{call.port}"
            if closed := self.scene.describe_closed(call.address):
                why = f"there is no way to {place}: {closed}"
                branch.end(End.REFUSED, why, is_slow=True)
            else:
                branch.beyond(side=branch.side, pod="").end(End.DELIVERED, self.scene.beyond.format(place))
            return
        self.enter(branch, station, call, hops)

    def enter(self, branch: Branch, station: Station, call: Call, hops: int) -> None:
        """At a pod."""
        client = self.scene.at(call.source) if call.source else None
        call = _shown(self.scene, client, call) if client is not None else call
        side = Side.GATEWAY if station.is_gateway else Side.SERVER
        branch = branch.beyond(side=side, pod=station.name)
        if station.is_gateway:
            self._proxy(branch, station, replace(call, direction=Direction.GATEWAY), hops)
            return
        if not station.captured:
            self._meet(branch, station, call)
            return
        branch, verdict = netfilter.arrive(branch, station, call.address, call.port, call.source)
        port = netfilter.proxy_port(verdict)
        if isinstance(verdict, Unknown):
            branch.end(End.UNKNOWN, str(verdict))
        elif isinstance(verdict, Dropped):
            branch.end(End.TIMEOUT, f"{verdict.rule} drops the connection")
        elif port == INBOUND_PORT:
            self._proxy(branch, station, replace(call, direction=Direction.INBOUND), hops)
        else:
            self._meet(branch, station, call if port is None else replace(call, address="127.0.0.1", port=port))

    def _proxy(self, branch: Branch, station: Station, call: Call, hops: int) -> None:
        if station.held is None:
            whose = f"machine {station.machine}" if station.machine else station.name
            branch.end(End.UNKNOWN, f"what the proxy of {whose} holds is not known")
            return
        if hops >= _MOST_HOPS:
            branch.end(End.UNKNOWN, f"the way goes on in a circle after {hops} proxies")
            return
        inside = replace(branch, machine=station.machine)
        for onward in walk_proxy(inside, station.held, call, station.netns):
            passed = Passed(station.name, onward.is_http, onward.attempt, onward.timeout, station.machine)
            at = replace(onward.branch, proxies=(*onward.branch.proxies, passed), machine="")
            self._send(at, station, onward, call.direction, hops)

    def _send(self, at: Branch, station: Station, onward: Forwarded, direction: Direction, hops: int) -> None:
        """What a proxy opens for a pod: in the pod, if it is not told otherwise."""
        call = _shown(self.scene, station, onward.call)
        opener = station if onward.netns == station.netns else self.scene.inside(onward.netns or "")
        if not is_address(call.address):
            at.beyond(side=at.side, pod="").end(End.DELIVERED, f"it leaves the mesh for {call.address}")
        elif opener is None and onward.netns != "":
            at.end(End.UNKNOWN, f"it is opened in {onward.netns or 'a network namespace'} that is not known here")
        elif opener is None:
            self.arrive(at, replace(call, source=""), hops + 1)
        elif direction is Direction.INBOUND:
            self._meet(at, opener, call)
        elif opener.captured:
            self.leave(at, opener, replace(call, source=opener.address), PROXY_UID, hops + 1)
        else:
            self._depart(at, opener, replace(call, source=opener.address), hops + 1)

    def _meet(self, branch: Branch, station: Station, call: Call) -> None:
        """Where an app should listen."""
        place = host_port(call.address, call.port)
        heard = station.hears(call.address, call.port)
        if heard is False:
            others = sorted({address for address, port in station.listening or () if port == call.port})
            why = f"it listens on {', '.join(others)} alone" if others else "nothing listens there"
            step = branch.step(Stage.APP, place, verdict=Verdict.REFUSED, evidence={"why": why})
            step.end(End.REFUSED, f"{station.name} refuses {place}: {why}")
            return
        if call.tls is not None and call.tls.of_mesh:
            why = "no proxy ends the mesh's TLS there, and the app does not"
            step = branch.step(Stage.APP, place, verdict=Verdict.REFUSED, evidence={"why": why})
            step.end(End.REFUSED, f"{station.name} does not understand what comes to {place}: {why}")
            return
        step = branch.step(Stage.APP, place, evidence={"listens": heard if heard is not None else "not known"})
        step.end(End.DELIVERED)


def _shown(scene: Scene, station: Station, call: Call) -> Call:
    """With who the proxy shows that it is: the pod itself, or whose certificate it has been told to show."""
    if call.tls is None or not call.tls.of_mesh or call.tls.identity:
        return call
    owner = scene.inside(call.tls.secret) if call.tls.secret.startswith("/") else station
    return replace(call, tls=replace(call.tls, identity=owner.identity)) if owner is not None else call
