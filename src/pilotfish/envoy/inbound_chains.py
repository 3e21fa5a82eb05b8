"""The filter chains of one inbound port: by what its clients may speak, and what the port declares.

    DISABLE      raw                          what comes is the app's, TLS of its own included
    PERMISSIVE   TLS of the mesh's proxies,   known by its ALPN
                 raw,
                 other TLS                    the app's, where no HTTP is declared
    STRICT       TLS

HTTP comes in two kinds by TLS of the mesh: what the client's proxy has read, which is passed on as it is unless there
is a reason to read it again (`mesh.security.reading`), and all other.

Where the protocol is not declared, HTTP and TCP are told apart: within TLS of the mesh by the ALPN, else by sniffing.
A Sidecar may end TLS for clients outside of the mesh, at any port that is not STRICT.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from envoy.config.core.v3.base_pb2 import Metadata, TransportSocket
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.envoy.authorization import build_connection_filters
from pilotfish.envoy.connection_route import build_passing
from pilotfish.envoy.filters import SNIFFED_HTTP, build_tcp
from pilotfish.envoy.http_manager import Direction, HttpManager, build_http_manager
from pilotfish.envoy.jwt_authn import name_rules
from pilotfish.envoy.message import seconds
from pilotfish.envoy.mutual_tls import MESH, MESH_HTTP, build_server, tls_socket
from pilotfish.envoy.naming import (
    BLACK_HOLE,
    INBOUND_PASSTHROUGH,
    OURS,
    READ_GRPC,
    READ_HTTP,
    READS,
    VIRTUAL_INBOUND,
    inbound_cluster,
)
from pilotfish.envoy.routes import build_inbound_route
from pilotfish.envoy.server_tls import build_server_tls
from pilotfish.mesh.listeners.inbound import InboundPort
from pilotfish.mesh.listeners.outbound import WILDCARD
from pilotfish.model import Protocol
from pilotfish.model.authentication import Authentication
from pilotfish.model.authorization import Authorization
from pilotfish.model.gateway import ServerTLS
from pilotfish.model.mutual_tls import MutualTLS
from pilotfish.model.route import Retries, Timeouts
from pilotfish.model.settings import MeshSettings

_BACKOFF: Final = 25
"""Milliseconds between the first two calls of an app, as Envoy has it between the tries of a request; ten times as much
at the most."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a port takes from its clients."""

    mode: MutualTLS
    certified: bool
    """The proxy can end mutual TLS. Else it takes none, and nothing at all where nothing else is to be taken."""
    tls: ServerTLS | None = None
    """Of a Sidecar's own, for clients that are not of the mesh."""

    @property
    def is_mutual(self) -> bool:
        return self.certified and self.mode is not MutualTLS.DISABLE

    @property
    def is_tls(self) -> bool:
        """Some TLS is ended here, so that it must be told from other bytes."""
        return self.is_mutual or (self.tls is not None and not self.is_strict)

    @property
    def is_strict(self) -> bool:
        return self.mode is MutualTLS.STRICT

    @property
    def is_either(self) -> bool:
        """Clients may speak TLS or not."""
        return self.is_mutual and not self.is_strict


@dataclass(frozen=True, slots=True)
class Common:
    """What all chains of a listener have alike."""

    mesh: MeshSettings
    requests: Authorization
    connections: Authorization
    authentication: Authentication
    retries: Retries | None
    """Of requests to the app, but for gRPC."""
    tries: Timeouts
    """Of each of them."""


@dataclass(frozen=True, slots=True)
class _End:
    """What a chain has, whatever it is chosen by."""

    name: str
    filters: tuple[Filter, ...]
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where the connections of a port go once they have been told apart."""

    port: int | None
    http: _End
    tcp: _End
    read: _End | None = None
    """For HTTP that has been read; None: it is read again, for a reason."""
    reason: str = ""


def build_chains(
    common: Common, port: InboundPort, protocol: Protocol, taken: Taken, counted: str = "", reason: str = ""
) -> Iterator[FilterChain]:
    """Of a port that a service or a Sidecar has. `counted`: what its TCP connections are counted under. `reason`: to
    read what the clients' proxies have read."""
    address = port.listener.bind if port.listener is not None else WILDCARD
    name, cluster = f"{address}_{port.number}", inbound_cluster(port.number)
    passing = port.pool.passing if port.pool is not None else None
    again = (None, Timeouts()) if protocol.is_grpc else (common.retries, common.tries)
    route = build_inbound_route(cluster, port.service_port, cluster, f"{port.host}:{port.service_port}", *again)
    http = _http(common, name, f"inbound_{name}", route)
    tcp = _tcp(common, name, cluster, build_passing(passing) if passing is not None else TcpProxy(), counted)
    read = _tcp(common, name, cluster, _build_read(again[0]), counted) if not reason else None
    return _tell_apart(common.mesh, _Ends(port.number, http, tcp, read, reason), protocol, taken)


def build_passthrough_chains(common: Common, port: int | None, taken: Taken) -> Iterator[FilterChain]:
    """Of a port that nobody has declared; None: of all of them."""
    route = build_inbound_route(INBOUND_PASSTHROUGH, 0, INBOUND_PASSTHROUGH, ":0", common.retries, common.tries)
    http = _http(common, f"{VIRTUAL_INBOUND}-catchall-http", INBOUND_PASSTHROUGH, route)
    tcp = _tcp(common, VIRTUAL_INBOUND, INBOUND_PASSTHROUGH, TcpProxy())
    return _tell_apart(common.mesh, _Ends(port, http, tcp), Protocol.AUTO, taken)


def _tell_apart(mesh: MeshSettings, ends: _Ends, protocol: Protocol, taken: Taken) -> Iterator[FilterChain]:
    if taken.is_mutual:
        yield from _of_mesh(mesh, ends, protocol, taken.is_strict)
    if taken.is_strict:
        if not taken.certified:
            yield _chain(replace(ends.tcp, filters=(build_tcp(mesh.access_log, BLACK_HOLE),)), _match(ends.port))
        return
    if taken.tls is not None:
        yield from _by_protocol(ends, protocol, "tls", build_server_tls(taken.tls, mesh.mutual))
        return
    yield from _by_protocol(ends, protocol, "raw_buffer")
    if taken.is_mutual and not protocol.is_http:
        yield _chain(ends.tcp, _match(ends.port, "tls"))


def _of_mesh(mesh: MeshSettings, ends: _Ends, protocol: Protocol, is_strict: bool) -> Iterator[FilterChain]:
    socket = tls_socket(build_server(mesh.mutual))
    if ends.read is not None:
        yield _chain(ends.read, _match(ends.port, "tls", (READ_GRPC if protocol.is_grpc else READ_HTTP,)), socket)
    if protocol.is_sniffed:
        yield _chain(ends.http, _match(ends.port, "tls", MESH_HTTP), socket)
    rest = _explained(ends.http, ends.reason) if protocol.is_http else ends.tcp
    spoken = () if is_strict else tuple(each for each in MESH if not (protocol.is_sniffed and each in MESH_HTTP))
    yield _chain(rest, _match(ends.port, "tls", spoken), socket)


def _by_protocol(
    ends: _Ends, protocol: Protocol, transport: str, socket: TransportSocket | None = None
) -> Iterator[FilterChain]:
    """HTTP, TCP, or HTTP where it is found and TCP otherwise."""
    if protocol.is_http or protocol.is_sniffed:
        found = SNIFFED_HTTP if protocol.is_sniffed else ()
        yield _chain(ends.http, _match(ends.port, transport, found), socket)
    if not protocol.is_http:
        yield _chain(ends.tcp, _match(ends.port, transport), socket)


def _chain(end: _End, match: FilterChainMatch, socket: TransportSocket | None = None) -> FilterChain:
    return FilterChain(
        name=end.name, filter_chain_match=match, filters=end.filters, transport_socket=socket, metadata=end.metadata
    )


def _match(port: int | None, transport: str = "", protocols: tuple[str, ...] = ()) -> FilterChainMatch:
    return FilterChainMatch(
        destination_port=UInt32Value(value=port) if port is not None else None,
        transport_protocol=transport,
        application_protocols=protocols,
    )


def _http(common: Common, name: str, stat_prefix: str, route: RouteConfiguration) -> _End:
    manager = HttpManager(
        Direction.INBOUND,
        stat_prefix,
        route,
        common.mesh.access_log,
        headers=common.mesh.headers,
        paths=common.mesh.paths,
        bears=common.mesh.at_sidecars,
        authorization=common.requests,
        authentication=common.authentication,
    )
    return _End(name, (build_http_manager(manager),), name_rules(common.authentication))


def _explained(end: _End, reason: str) -> _End:
    """With why requests are read, for people to see."""
    if not reason:
        return end
    metadata = Metadata()
    metadata.MergeFrom(end.metadata or Metadata())
    metadata.filter_metadata[OURS].update({READS: reason})
    return replace(end, metadata=metadata)


def _build_read(retries: Retries | None) -> TcpProxy:
    """Such connections are ended by the clients' proxies, which know what is under way on them. An app that does not
    listen yet is called again as it is for a request (`retries`)."""
    proxy = TcpProxy(idle_timeout=seconds(0))
    if retries is not None:
        proxy.max_connect_attempts.value = 1 + retries.attempts
        proxy.backoff_options.base_interval.FromMilliseconds(_BACKOFF)
    return proxy


def _tcp(common: Common, name: str, cluster: str, treatment: TcpProxy, counted: str = "") -> _End:
    passed = build_tcp(common.mesh.access_log, cluster, treatment, counted)
    return _End(name, (*build_connection_filters(common.connections), passed))
