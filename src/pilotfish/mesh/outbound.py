"""Which listener takes a client's traffic to which port of which service.

HTTP services of one port share the listener 0.0.0.0_PORT, where requests are told apart by their host. TCP needs an
address to be told apart by: a service with virtual addresses has the listener ADDRESS_PORT, a headless one a listener
for each pod. What has neither shares 0.0.0.0_PORT, told apart by address range (CIDR) or server name (TLS); of several
that nothing tells apart the oldest has the port (`problems` says so).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from pilotfish.derive import Reads, query
from pilotfish.mesh.endpoints import endpoints
from pilotfish.mesh.services import hosts, service
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
class Bid:
    address: str
    port: int
    role: Role
    host: str
    ranges: tuple[str, ...] = ()


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
    server_names: tuple[str, ...] = ()
    ranges: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(host, CIDR blocks)."""
    undeclared: bool = False
    """A service here does not say what it speaks."""

    @property
    def name(self) -> str:
        return f"{self.address}_{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The services that the listener names, the oldest HTTP one first."""
        named = (self.opened_by, self.tcp, *self.server_names, *(host for host, _ in self.ranges))
        return tuple(dict.fromkeys(host for host in named if host))


@query(index=True)
def binding_names(db: Reads) -> tuple[str, ...]:
    """The names of all listeners for services, sorted."""
    return tuple(sorted(bindings(db)))


@query(index=True)
def binding(db: Reads, name: str) -> Binding | None:
    return bindings(db).get(name)


@query(index=True)
def bindings(db: Reads) -> Mapping[str, Binding]:
    """All listeners for services, by name."""
    return _granted(db)[0]


@query(index=True)
def contested(db: Reads) -> tuple[tuple[str, str], ...]:
    """(listener, host) for each host that came too late."""
    return _granted(db)[1]


@query(index=True)
def _granted(db: Reads) -> tuple[Mapping[str, Binding], tuple[tuple[str, str], ...]]:
    found: dict[str, Binding] = {}
    lost: list[tuple[str, str]] = []
    for host in hosts(db):
        for bid in bids(db, host):
            name = f"{bid.address}_{bid.port}"
            held = found.get(name) or Binding(bid.address, bid.port)
            found[name], won = _grant(held, bid)
            if not won:
                lost.append((name, host))
    return found, tuple(lost)


@query(index=True)
def http_ports(db: Reads) -> tuple[int, ...]:
    """The ports of the listeners whose RouteConfiguration is the port's own, sorted."""
    return tuple(sorted(_http_hosts(db)))


@query(index=True)
def http_hosts(db: Reads, port: int) -> tuple[str, ...]:
    """The services whose requests come to 0.0.0.0_PORT, the oldest first."""
    return _http_hosts(db).get(port, ())


@query(index=True)
def _http_hosts(db: Reads) -> Mapping[int, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for host in hosts(db):
        for bid in bids(db, host):
            if bid.address == WILDCARD and bid.role in (Role.HTTP, Role.SNIFFED):
                found.setdefault(bid.port, []).append(host)
    return {port: tuple(named) for port, named in found.items()}


@query(index=True)
def bids(db: Reads, host: str) -> tuple[Bid, ...]:
    """What one service asks of listeners."""
    found = service(db, host)
    if found is None:
        return ()
    wanted = (bid for port in found.ports for bid in _port_bids(db, found, port))
    return tuple(dict.fromkeys(b for b in wanted if b.address != WILDCARD or b.port not in RESERVED))


def _port_bids(db: Reads, found: Service, port: ServicePort) -> Iterator[Bid]:
    if port.protocol.is_http:
        yield Bid(WILDCARD, port.number, Role.HTTP, found.host)
        return
    role = Role.SNIFFED if port.protocol.is_sniffed else Role.TCP
    blocks = tuple(a for a in found.addresses if "/" in a)
    single = _own_addresses(db, found, port)
    yield from (Bid(address, port.number, role, found.host) for address in single)
    if blocks:
        yield Bid(WILDCARD, port.number, Role.RANGE, found.host, blocks)
        if role is Role.SNIFFED:
            yield Bid(WILDCARD, port.number, Role.HTTP, found.host)
    if not single and not blocks and not found.headless:
        by_name = port.protocol.is_tls and found.host != "*"
        yield Bid(WILDCARD, port.number, Role.SERVER_NAME if by_name else role, found.host)


def _own_addresses(db: Reads, found: Service, port: ServicePort) -> tuple[str, ...]:
    if found.headless:
        ready = (e for e in endpoints(db, found.host, port.number) if e.ready)
        return tuple(dict.fromkeys(e.address for e in ready))
    return tuple(a for a in found.addresses if "/" not in a)


def _grant(held: Binding, bid: Bid) -> tuple[Binding, bool]:
    """The binding with what a younger bid still gets of it, and whether that is all it asked for."""
    match bid.role:
        case Role.HTTP | Role.SNIFFED if bid.address == WILDCARD:
            return _grant_requests(held, bid)
        case Role.SNIFFED | Role.TCP if held.tcp:
            return held, False
        case Role.SNIFFED:
            route = f"{bid.host}:{bid.port}"
            return replace(held, route=route, opened_by=bid.host, tcp=bid.host, undeclared=True), True
        case Role.SERVER_NAME:
            return replace(held, server_names=(*held.server_names, bid.host)), True
        case Role.RANGE:
            taken = {block for _, blocks in held.ranges for block in blocks}
            free = tuple(block for block in bid.ranges if block not in taken)
            granted = replace(held, ranges=(*held.ranges, (bid.host, free))) if free else held
            return granted, free == bid.ranges
        case _:
            return replace(held, tcp=bid.host), True


def _grant_requests(held: Binding, bid: Bid) -> tuple[Binding, bool]:
    """Requests have room for everyone; what else a sniffed port gets goes to the oldest."""
    opened = replace(held, route=str(bid.port), opened_by=held.opened_by or bid.host)
    if bid.role is Role.HTTP:
        return opened, True
    sniffed = replace(opened, undeclared=True)
    return (sniffed, False) if held.tcp else (replace(sniffed, tcp=bid.host), True)
