"""A gateway's listeners: bound, each for itself, at addresses of its pod."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from envoy.config.core.v3.address_pb2 import Address, Pipe
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch
from envoy.config.listener.v3.listener_pb2 import AdditionalAddress, Listener
from envoy.config.listener.v3.quic_config_pb2 import QuicProtocolOptions
from envoy.config.listener.v3.udp_listener_config_pb2 import UdpListenerConfig

from pilotfish.derive import Reads, query
from pilotfish.envoy.access_log import build_listener_logs
from pilotfish.envoy.authorization import references_of
from pilotfish.envoy.connection_route import build_chain, connection_clusters_of
from pilotfish.envoy.connection_settings import limit_listener
from pilotfish.envoy.filters import PROXY_PROTOCOL, TLS_INSPECTOR
from pilotfish.envoy.http_manager import NEVER, Direction, HttpManager, build_http_manager
from pilotfish.envoy.jwt_authn import name_rules
from pilotfish.envoy.listeners import also_ipv6
from pilotfish.envoy.message import datagram_address, serialise, socket_address
from pilotfish.envoy.naming import BLACK_HOLE
from pilotfish.envoy.secrets import pair_reference, trust_reference
from pilotfish.envoy.server_tls import build_quic_tls, build_server_tls
from pilotfish.envoy.types import CLUSTER, LISTENER, ROUTE
from pilotfish.envoy.values import Resource
from pilotfish.mesh.gateways.listeners import gateway_listener
from pilotfish.mesh.gateways.selection import Front
from pilotfish.mesh.listeners.outbound import WILDCARD
from pilotfish.mesh.registry.services import looked_up
from pilotfish.mesh.scope import Scope
from pilotfish.mesh.security.guards import Guard, authentication, authorization
from pilotfish.mesh.settings import settings
from pilotfish.model.authorization import NOTHING, Authorization
from pilotfish.model.connection_route import EVERYTHING, ConnectionRoute
from pilotfish.model.gateway import GatewayChain
from pilotfish.model.settings import MeshSettings

_SOCKET = "unix://"


@query
def bound_listener(db: Reads, front: Front, scope: Scope, guard: Guard, address: str, port: int) -> Resource | None:
    """None where there is nothing to be listened for."""
    found = gateway_listener(db, front, scope, address, port)
    if found is None:
        return None
    mesh, connections = settings(db), authorization(db, guard, False)
    common = _common(db, guard, found.name)
    listener = Listener(
        name=found.name,
        address=_address(address, port),
        additional_addresses=also_ipv6(port) if not address else (),
        traffic_direction=TrafficDirection.OUTBOUND,
        filter_chains=[_build_chain(mesh, chain, common, connections) for chain in found.chains],
        access_log=build_listener_logs(mesh.access_log),
    )
    limit_listener(listener, mesh.at_gateways)
    if mesh.edge.proxy_protocol:
        listener.listener_filters.append(PROXY_PROTOCOL)
    if any(chain.tls or chain.server_names for chain in found.chains):
        listener.listener_filters.append(TLS_INSPECTOR)
    references = [each for chain in found.chains for each in _references(chain)]
    references += references_of(common.authorization)
    return Resource.make(LISTENER, found.name, serialise(listener), references, db.origin)


@query
def datagram_listener(db: Reads, front: Front, scope: Scope, guard: Guard, address: str, port: int) -> Resource | None:
    """`udp_0.0.0.0_443`: HTTP/3 beside HTTPS. None where there is none.

    Source: Istio's buildGatewayListener with TransportProtocolQUIC,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/listener.go
    """
    found = gateway_listener(db, front, scope, address, port)
    chains = [chain for chain in found.chains if chain.http3] if found is not None else []
    if found is None or not chains:
        return None
    mesh, name = settings(db), f"udp_{found.name}"
    common = replace(_common(db, guard, found.name), http3=True)
    also = [] if address else [AdditionalAddress(address=datagram_address("::", port))]
    listener = Listener(
        name=name,
        address=datagram_address(address or WILDCARD, port),
        additional_addresses=also,
        traffic_direction=TrafficDirection.OUTBOUND,
        filter_chains=[_build_chain(mesh, chain, common, NOTHING) for chain in chains],
        access_log=build_listener_logs(mesh.access_log),
        udp_listener_config=UdpListenerConfig(quic_options=QuicProtocolOptions()),
    )
    references = [each for chain in chains for each in _references(chain)]
    references += references_of(common.authorization)
    return Resource.make(LISTENER, name, serialise(listener), references, db.origin)


def _common(db: Reads, guard: Guard, listener: str) -> HttpManager:
    """What the managers of a listener's chains have alike."""
    mesh = settings(db)
    return HttpManager(
        Direction.GATEWAY,
        f"outbound_{listener}",
        "",
        mesh.access_log,
        headers=mesh.headers,
        edge=mesh.edge,
        lookup=mesh.dns_refresh if looked_up(db) else NEVER,
        paths=mesh.paths,
        bears=mesh.at_gateways,
        authorization=authorization(db, guard, True),
        authentication=authentication(db, guard),
    )


def _address(address: str, port: int) -> Address:
    if address.startswith(_SOCKET):
        return Address(pipe=Pipe(path=address.removeprefix(_SOCKET)))
    return socket_address(address or WILDCARD, port)


def _build_chain(
    mesh: MeshSettings, chain: GatewayChain, common: HttpManager, connections: Authorization
) -> FilterChain:
    if not chain.requests:
        built = build_chain(chain.connections or ConnectionRoute(EVERYTHING, ()), mesh, connections)
    else:
        prefix = chain.stat_prefix or common.stat_prefix
        manager = replace(common, stat_prefix=prefix, route=chain.requests)
        whose = name_rules(common.authentication)
        built = FilterChain(filters=[build_http_manager(manager)], metadata=whose)
    if chain.server_names:
        built.filter_chain_match.CopyFrom(FilterChainMatch(server_names=chain.server_names))
    if chain.tls is not None:
        ended = build_quic_tls(chain.tls) if common.http3 else build_server_tls(chain.tls, mesh.mutual)
        built.transport_socket.CopyFrom(ended)
    return built


def _references(chain: GatewayChain) -> Iterator[tuple[str, str]]:
    yield CLUSTER, BLACK_HOLE
    if chain.connections is not None:
        yield from ((CLUSTER, name) for name in connection_clusters_of(chain.connections))
    if chain.requests:
        yield ROUTE, chain.requests
    if chain.tls is not None:
        yield from map(pair_reference, chain.tls.credentials)
        if chain.tls.ca_credential:
            yield trust_reference(chain.tls.ca_credential)
