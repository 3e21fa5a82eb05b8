"""`virtualInbound`: what reaches a pod, by the port that it was sent to.

    15006 itself            → BlackHoleCluster                a loop
    a service's port        → its own chain, or two of them where the protocol is sniffed
    any other port          → InboundPassthroughCluster       HTTP and TCP

Each chain matches `raw_buffer`: beside it will stand its twin for mutual TLS.

A listener whose listener filters change is drained whole, with every connection of whatever port; where chains alone
change, only theirs are drained. So the HTTP inspector leaves out no more ports than it must: those where the wait for
first bytes would stall a server that speaks first. Any other new port is a new chain, and cuts nobody's connections.
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from pilotfish.derive import Reads, query
from pilotfish.envoy.access_log import build_listener_logs
from pilotfish.envoy.connection_route import build_passing
from pilotfish.envoy.filters import (
    HTTP_INSPECTOR,
    ORIGINAL_DST,
    ORIGINAL_SRC,
    SNIFFED_HTTP,
    TLS_INSPECTOR,
    build_tcp,
    http_inspector_except,
)
from pilotfish.envoy.http_manager import Direction, HttpManager, build_http_manager
from pilotfish.envoy.listeners import also_ipv6
from pilotfish.envoy.message import duration, serialise, socket_address
from pilotfish.envoy.naming import BLACK_HOLE, INBOUND_PASSTHROUGH, VIRTUAL_INBOUND, inbound_cluster
from pilotfish.envoy.routes import build_inbound_route
from pilotfish.envoy.server_tls import build_server_tls
from pilotfish.envoy.types import CLUSTER, LISTENER
from pilotfish.envoy.values import Resource
from pilotfish.mesh.listeners.inbound import InboundPort, inbound_protocol
from pilotfish.mesh.listeners.outbound import WILDCARD
from pilotfish.mesh.routes.retries import inbound_retries
from pilotfish.mesh.settings import settings
from pilotfish.model import Protocol
from pilotfish.model.gateway import ServerTLS
from pilotfish.model.route import Retries
from pilotfish.model.settings import MeshSettings
from pilotfish.model.wellknown import INBOUND_PORT


@query
def virtual_inbound(db: Reads, ports: tuple[InboundPort, ...], transparent: bool) -> Resource:
    """0.0.0.0:15006, for a workload with these ports: replicas share it.

    `transparent`: connections come by TPROXY, with the addresses that they had, and go on with their source.
    """
    mesh, retries = settings(db), inbound_retries(db)
    protocols = {port: inbound_protocol(db, port) for port in ports if not is_bound(port)}
    chains = [_loop_chain(mesh), *_passthrough_chains(mesh, retries)]
    chains += [chain for port, protocol in protocols.items() for chain in _port_chains(mesh, port, protocol, retries)]
    unsniffed = tuple(port.number for port, protocol in protocols.items() if protocol.is_server_first)
    listener = Listener(
        name=VIRTUAL_INBOUND,
        address=socket_address(WILDCARD, INBOUND_PORT),
        additional_addresses=also_ipv6(INBOUND_PORT),
        filter_chains=chains,
        transparent=BoolValue(value=True) if transparent else None,
        listener_filters=[
            ORIGINAL_DST,
            *((ORIGINAL_SRC,) if transparent else ()),
            *((TLS_INSPECTOR,) if any(port.listener and port.listener.tls for port in protocols) else ()),
            http_inspector_except((*unsniffed, INBOUND_PORT)),
        ],
        listener_filters_timeout=duration(mesh.detection_timeout),
        continue_on_listener_filters_timeout=True,
        traffic_direction=TrafficDirection.INBOUND,
        max_connections_to_accept_per_socket_event=UInt32Value(value=1),
        access_log=build_listener_logs(mesh.access_log),
    )
    names = (BLACK_HOLE, INBOUND_PASSTHROUGH, *(inbound_cluster(port.number) for port in protocols))
    references = ((CLUSTER, name) for name in names)
    return Resource.make(LISTENER, listener.name, serialise(listener), references, db.origin)


def is_bound(port: InboundPort) -> bool:
    """Whether a Sidecar gives the port a listener of its own."""
    return port.listener is not None and port.listener.bound


@query
def bound_inbound(db: Reads, port: InboundPort) -> Resource:
    """`10.244.0.2_8443`: what is not captured, and comes to the address itself."""
    mesh, protocol = settings(db), inbound_protocol(db, port)
    address = port.listener.bind if port.listener is not None else WILDCARD
    inspectors = [TLS_INSPECTOR] if port.listener is not None and port.listener.tls is not None else []
    listener = Listener(
        name=f"{address}_{port.number}",
        address=socket_address(address, port.number),
        filter_chains=_port_chains(mesh, port, protocol, inbound_retries(db)),
        listener_filters=[*inspectors, *([HTTP_INSPECTOR] if protocol.is_sniffed else [])],
        listener_filters_timeout=duration(mesh.detection_timeout),
        continue_on_listener_filters_timeout=True,
        traffic_direction=TrafficDirection.INBOUND,
        access_log=build_listener_logs(mesh.access_log),
    )
    references = ((CLUSTER, inbound_cluster(port.number)),)
    return Resource.make(LISTENER, listener.name, serialise(listener), references, db.origin)


def _loop_chain(mesh: MeshSettings) -> FilterChain:
    return FilterChain(
        name=f"{VIRTUAL_INBOUND}-blackhole",
        filter_chain_match=FilterChainMatch(destination_port=UInt32Value(value=INBOUND_PORT)),
        filters=[build_tcp(mesh.access_log, BLACK_HOLE)],
    )


def _passthrough_chains(mesh: MeshSettings, retries: Retries | None) -> Iterator[FilterChain]:
    route = build_inbound_route(INBOUND_PASSTHROUGH, 0, INBOUND_PASSTHROUGH, ":0", retries)
    yield FilterChain(
        name=f"{VIRTUAL_INBOUND}-catchall-http",
        filter_chain_match=_match(None, http=True),
        filters=[_http(mesh, INBOUND_PASSTHROUGH, route)],
    )
    yield FilterChain(
        name=VIRTUAL_INBOUND,
        filter_chain_match=_match(None),
        filters=[build_tcp(mesh.access_log, INBOUND_PASSTHROUGH)],
    )


def _port_chains(
    mesh: MeshSettings, port: InboundPort, protocol: Protocol, retries: Retries | None
) -> Iterator[FilterChain]:
    """HTTP, TCP, or HTTP where it is found and TCP otherwise."""
    address = port.listener.bind if port.listener is not None else WILDCARD
    name, cluster = f"{address}_{port.number}", inbound_cluster(port.number)
    sniffed, tls = protocol.is_sniffed, port.listener.tls if port.listener is not None else None
    passing = (
        build_passing(port.pool.passing) if port.pool is not None and port.pool.passing is not None else TcpProxy()
    )
    if protocol.is_http or sniffed:
        subject, again = f"{port.host}:{port.service_port}", None if protocol.is_grpc else retries
        route = build_inbound_route(cluster, port.service_port, cluster, subject, again)
        http = _http(mesh, f"inbound_{name}", route)
        yield _chain(name, _match(port.number, http=sniffed, tls=tls is not None), http, tls)
    if not protocol.is_http:
        proxy = build_tcp(mesh.access_log, cluster, passing)
        yield _chain(name, _match(port.number, tls=tls is not None), proxy, tls)


def _chain(name: str, match: FilterChainMatch, last: Filter, tls: ServerTLS | None) -> FilterChain:
    chain = FilterChain(name=name, filter_chain_match=match, filters=[last])
    if tls is not None:
        chain.transport_socket.CopyFrom(build_server_tls(tls))
    return chain


def _http(mesh: MeshSettings, stat_prefix: str, route: RouteConfiguration) -> Filter:
    return build_http_manager(HttpManager(Direction.INBOUND, stat_prefix, route, mesh.access_log, headers=mesh.headers))


def _match(port: int | None, http: bool = False, tls: bool = False) -> FilterChainMatch:
    return FilterChainMatch(
        destination_port=UInt32Value(value=port) if port is not None else None,
        transport_protocol="tls" if tls else "raw_buffer",
        application_protocols=SNIFFED_HTTP if http else (),
    )
