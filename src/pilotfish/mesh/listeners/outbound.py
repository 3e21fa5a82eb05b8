"""Which listener takes a client's traffic to which port of which service.

HTTP services of one port share the listener 0.0.0.0_PORT, where requests are told apart by their host. TCP needs an
address to be told apart by: a service with virtual addresses has the listener ADDRESS_PORT, a headless one a listener
for each pod. So has HTTP on a port on which Envoy itself listens. What has neither shares 0.0.0.0_PORT, told apart by
address range (CIDR) or server name (TLS); of several that nothing tells apart the oldest has the port (`problems` says
so). Where an address is discovery's own (`allocation`), requests and TLS are taken at any other as well, by their name.

A Sidecar's listeners have services of their own choice: one with a port that port of them, spoken as it says, the last
one all ports that no other has. At an address that it says (`bind`) services share what they share at 0.0.0.0 else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.registry.endpoints import endpoints
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.registry.visibility import heard, home
from pilotfish.mesh.scope import Scope
from pilotfish.model import ObjectRef
from pilotfish.model.egress import EgressListener, is_socket, listeners_of
from pilotfish.model.service import Service, ServicePort
from pilotfish.model.wellknown import PROXY_PORTS

WILDCARD: Final = "0.0.0.0"
RESERVED: Final = frozenset(PROXY_PORTS)
"""Ports on which every Envoy listens itself; a wildcard listener there would be refused as a duplicate."""


class Role(Enum):
    """How a service port wants to be served by a listener."""

    HTTP = auto()
    TCP = auto()
    SNIFFED = auto()
    """HTTP and TCP, by the first bytes."""
    SERVER_NAME = auto()
    """TCP, by the name in the TLS handshake."""
    RANGE = auto()
    """TCP, by destination range."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a Sidecar says of its listener, beside what comes there."""

    bind: str = ""
    """The address that its services share; "" where each has its own, or none."""
    is_bound: bool = False
    """Connections come to the address itself, and are not captured."""
    ref: ObjectRef | None = None


CAPTURED: Final = Place()


@dataclass(frozen=True, slots=True)
class PortUse:
    """What one port of a service wants of one listener."""

    address: str
    port: int
    role: Role
    host: str
    ranges: tuple[str, ...] = ()
    place: Place = CAPTURED
    target: int = 0
    """The service's port, where it is another."""

    @property
    def listener(self) -> str:
        return f"{self.address}_{self.port}" if self.port else self.address

    @property
    def is_shared(self) -> bool:
        """By services that their requests tell apart."""
        return self.address in (WILDCARD, self.place.bind)

    @property
    def route(self) -> str:
        """The RouteConfiguration that it shares."""
        return str(self.port) if self.port else self.address


@dataclass(frozen=True, slots=True)
class Binding:
    """What one listener serves. Of every role it has what is set; `tcp` takes all that nothing else does."""

    address: str
    port: int
    route: str = ""
    """The RouteConfiguration for HTTP; "" where HTTP is not looked for."""
    opened_by: str = ""
    """The oldest host whose requests come here."""
    tcp: str = ""
    tcp_port: int = 0
    """The port of that service."""
    server_names: tuple[str, ...] = ()
    ranges: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(host, CIDR blocks)."""
    undeclared: bool = False
    """A service here does not say what it speaks."""
    place: Place = CAPTURED

    @property
    def name(self) -> str:
        """Of a socket its own."""
        return f"{self.address}_{self.port}" if self.port else self.address

    @property
    def is_shared(self) -> bool:
        """By services that their requests tell apart."""
        return self.address in (WILDCARD, self.place.bind)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The services that the listener names, the oldest HTTP one first."""
        named = (self.opened_by, self.tcp, *self.server_names, *(host for host, _ in self.ranges))
        return tuple(dict.fromkeys(host for host in named if host))


@dataclass(frozen=True, slots=True)
class Conflict:
    """A host that came too late for all that it wants of a listener."""

    listener: str
    host: str


@query(index=True)
def binding_names(db: Reads, scope: Scope) -> tuple[str, ...]:
    """The names of all listeners for services, sorted."""
    return tuple(sorted(_bindings(db, scope)[0]))


@query
def binding(db: Reads, scope: Scope, name: str) -> Binding | None:
    """One listener's. The services that it names are read: they, not all that the index saw, are what it comes from."""
    found = _binding(db, scope, name)
    if found is not None and found.place.ref is not None:
        resource(db, found.place.ref, istio.Sidecar)
    for host in found.hosts if found is not None else ():
        service_at(db, host, home(db, scope, host) or "")
    return found


@query(index=True)
def _binding(db: Reads, scope: Scope, name: str) -> Binding | None:
    return _bindings(db, scope)[0].get(name)


@query(index=True)
def conflicts(db: Reads, scope: Scope) -> tuple[Conflict, ...]:
    return _bindings(db, scope)[1]


@query(index=True)
def _bindings(db: Reads, scope: Scope) -> tuple[Mapping[str, Binding], tuple[Conflict, ...]]:
    """All listeners for services, by name; and who came too late."""
    found: dict[str, Binding] = {}
    late: list[Conflict] = []
    for listener in listeners_of(scope.egress):
        locked = frozenset(found)
        for use in _uses(db, scope, listener):
            if use.listener in locked:
                continue
            held = found.get(use.listener) or Binding(use.address, use.port, place=use.place)
            found[use.listener], fits = _add(held, use)
            if not fits:
                late.append(Conflict(use.listener, use.host))
    return found, tuple(late)


def _uses(db: Reads, scope: Scope, listener: EgressListener) -> Iterator[PortUse]:
    """What the services want whose calls go through a listener, the oldest first."""
    place = Place(listener.bind, listener.bound, listener.ref)
    for host, at in heard(db, scope, listener).items():
        uses = port_uses(db, host, at) if place == CAPTURED else _placed_uses(db, host, at, listener, place)
        yield from uses


@query(index=True)
def _placed_uses(db: Reads, host: str, home: str, listener: EgressListener, place: Place) -> tuple[PortUse, ...]:
    """What one service wants of a listener that a Sidecar says more of than its hosts."""
    found = service_at(db, host, home)
    wanted: list[PortUse] = []
    for port in found.ports if found is not None else ():
        if found is None or not (listener.has_every_port or listener.port in (0, port.number)):
            continue
        spoken = replace(port, protocol=listener.protocol) if listener.port or is_socket(place.bind) else port
        if place.bind or listener.has_every_port:
            number = 0 if is_socket(place.bind) else listener.port or port.number
            wanted.append(PortUse(place.bind or WILDCARD, number, _role(spoken), host, (), place, port.number))
        else:
            wanted += (replace(use, place=place) for use in _uses_of(db, found, home, spoken))
    return tuple(dict.fromkeys(u for u in wanted if u.address != WILDCARD or u.port not in RESERVED))


def _role(port: ServicePort) -> Role:
    return Role.SNIFFED if port.protocol.is_sniffed else Role.HTTP if port.protocol.is_http else Role.TCP


@query(index=True)
def shared_routes(db: Reads, scope: Scope) -> tuple[str, ...]:
    """The names of the RouteConfigurations that services share, sorted: ports, and sockets."""
    return tuple(sorted(_http_hosts(db, scope)))


@query(index=True)
def http_hosts(db: Reads, scope: Scope, port: int) -> tuple[str, ...]:
    """The services whose requests come to 0.0.0.0_PORT, the oldest first."""
    return tuple(dict.fromkeys(host for host, _ in http_targets(db, scope, str(port))))


@query(index=True)
def http_targets(db: Reads, scope: Scope, route: str) -> tuple[tuple[str, int], ...]:
    """The ports of services that share a RouteConfiguration, the oldest service's first."""
    return _http_hosts(db, scope).get(route, ())


@query(index=True)
def _http_hosts(db: Reads, scope: Scope) -> Mapping[str, tuple[tuple[str, int], ...]]:
    found: dict[str, dict[tuple[str, int], None]] = {}
    for listener in listeners_of(scope.egress):
        taken = frozenset(found)
        for use in _uses(db, scope, listener):
            if use.is_shared and use.role in (Role.HTTP, Role.SNIFFED) and use.route not in taken:
                found.setdefault(use.route, {})[use.host, use.target or use.port] = None
    return {route: tuple(named) for route, named in found.items()}


@query(index=True)
def port_uses(db: Reads, host: str, home: str) -> tuple[PortUse, ...]:
    """What one service wants of listeners."""
    found = service_at(db, host, home)
    if found is None:
        return ()
    wanted = (use for port in found.ports for use in _uses_of(db, found, home, port))
    return tuple(dict.fromkeys(u for u in wanted if u.address != WILDCARD or u.port not in RESERVED))


def _uses_of(db: Reads, found: Service, home: str, port: ServicePort) -> Iterator[PortUse]:
    if port.protocol.is_http and port.number not in RESERVED:
        yield PortUse(WILDCARD, port.number, Role.HTTP, found.host)
        return
    role = Role.SNIFFED if port.protocol.is_sniffed or port.protocol.is_http else Role.TCP
    blocks = tuple(a for a in found.addresses if "/" in a)
    single = _own_addresses(db, found, home, port)
    yield from (PortUse(address, port.number, role, found.host) for address in single)
    if blocks:
        yield PortUse(WILDCARD, port.number, Role.RANGE, found.host, blocks)
        if role is Role.SNIFFED:
            yield PortUse(WILDCARD, port.number, Role.HTTP, found.host)
    by_name = port.protocol.is_tls and found.host != "*"
    if found.allocated and role is Role.SNIFFED:
        yield PortUse(WILDCARD, port.number, Role.HTTP, found.host)
    if found.allocated and by_name:
        yield PortUse(WILDCARD, port.number, Role.SERVER_NAME, found.host)
    if not single and not blocks and not found.headless:
        yield PortUse(WILDCARD, port.number, Role.SERVER_NAME if by_name else role, found.host)


def _own_addresses(db: Reads, found: Service, home: str, port: ServicePort) -> tuple[str, ...]:
    if found.headless:
        ready = (e for e in endpoints(db, found.host, home, port.number) if e.ready)
        return tuple(dict.fromkeys(e.address for e in ready))
    return tuple(a for a in found.addresses if "/" not in a)


def _add(held: Binding, use: PortUse) -> tuple[Binding, bool]:
    """The binding with what a younger service still gets of it, and whether that is all it wants."""
    match use.role:
        case Role.HTTP | Role.SNIFFED if use.is_shared:
            return _add_requests(held, use)
        case Role.SNIFFED | Role.TCP if held.tcp:
            return held, False
        case Role.SNIFFED:
            route = f"{use.host}:{use.port}"
            return _with_tcp(replace(held, route=route, opened_by=use.host, undeclared=True), use), True
        case Role.SERVER_NAME:
            return replace(held, server_names=(*held.server_names, use.host)), True
        case Role.RANGE:
            taken = {block for _, blocks in held.ranges for block in blocks}
            free = tuple(block for block in use.ranges if block not in taken)
            added = replace(held, ranges=(*held.ranges, (use.host, free))) if free else held
            return added, free == use.ranges
        case _:
            return _with_tcp(held, use), True


def _add_requests(held: Binding, use: PortUse) -> tuple[Binding, bool]:
    """Requests have room for everyone; what else a sniffed port gets goes to the oldest."""
    opened = replace(held, route=use.route, opened_by=held.opened_by or use.host)
    if use.role is Role.HTTP:
        return opened, True
    sniffed = replace(opened, undeclared=True)
    return (sniffed, False) if held.tcp else (_with_tcp(sniffed, use), True)


def _with_tcp(held: Binding, use: PortUse) -> Binding:
    return replace(held, tcp=use.host, tcp_port=use.target or use.port)
