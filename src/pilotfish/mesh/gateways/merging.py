"""The servers of all Gateways of a proxy, put together by port, as Istio's MergeGateways does.

Requests in the clear share a port, and so do connections that a server name tells apart. Nothing else does: the oldest
Gateway has the port, and the server of another has no effect there (`problems` says so).
Source: https://github.com/istio/istio/blob/master/pilot/pkg/model/gateway.go
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.selection import Front
from pilotfish.mesh.gateways.servers import Server, servers
from pilotfish.model import FieldRef

Place = tuple[str, int]
"""(address, port) of a listener."""


class Clash(StrEnum):
    """Why a server has no effect: the reason of the Problem, too."""

    PROTOCOL = "ConflictingGatewayPort"
    HOST = "ConflictingGatewayHost"


@dataclass(frozen=True, slots=True)
class Conflict:
    clash: Clash
    loser: FieldRef
    winner: FieldRef
    names: tuple[str, ...] = ()
    """The server names that the winner has, for a clash of hosts."""


@dataclass(frozen=True, slots=True)
class Merged:
    listeners: Mapping[Place, tuple[Server, ...]]
    conflicts: tuple[Conflict, ...]

    def routes(self) -> Mapping[str, tuple[Server, ...]]:
        """The servers of each name of routes."""
        found: dict[str, list[Server]] = {}
        for (_, port), merged in self.listeners.items():
            for server in merged:
                if server.has_requests:
                    found.setdefault(server.route_name(port), []).append(server)
        return {name: tuple(each) for name, each in found.items()}


@query(index=True)
def merged(db: Reads, front: Front) -> Merged:
    return merge(_placed(db, front))


def _placed(db: Reads, front: Front) -> Iterator[tuple[Server, int]]:
    for ref in front.gateways:
        for server in servers(db, ref):
            yield server, front.listener_port(server.port)


@dataclass(slots=True)
class _Held:
    servers: list[Server] = field(default_factory=list)
    names: dict[str, Server] = field(default_factory=dict)
    """By server name, "" for all: who has it."""


def merge(placed: Iterable[tuple[Server, int]]) -> Merged:
    """(server, port of its listener) pairs, the oldest first."""
    found: dict[Place, _Held] = {}
    conflicts: list[Conflict] = []
    for server, port in placed:
        held = found.setdefault((server.bind, port), _Held())
        clash = _clash(held, server)
        if clash is not None:
            conflicts.append(clash)
            continue
        held.servers.append(server)
        if server.is_tls:
            held.names.update(dict.fromkeys(server.server_names or ("",), server))
    return Merged({place: tuple(held.servers) for place, held in found.items()}, tuple(conflicts))


def _clash(held: _Held, server: Server) -> Conflict | None:
    """With those that are older, which are all alike."""
    for other in held.servers[:1]:
        both_http = other.protocol.is_http and server.protocol.is_http
        if not both_http and not (other.is_tls and server.is_tls):
            return Conflict(Clash.PROTOCOL, server.ref, other.ref)
    taken = tuple(name for name in (server.server_names or ("",)) if server.is_tls and name in held.names)
    return Conflict(Clash.HOST, server.ref, held.names[taken[0]].ref, taken) if taken else None
