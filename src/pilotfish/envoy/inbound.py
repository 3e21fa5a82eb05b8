"""`virtualInbound`: what reaches a pod, by the port that it was sent to.

    15006 itself            → BlackHoleCluster                a loop
    a service's port        → its own chains (`inbound_chains`)
    any other port          → InboundPassthroughCluster       HTTP and TCP

A listener whose listener filters change is drained whole, with every connection of whatever port; where chains alone
change, only theirs are drained. So the inspectors leave out no more ports than they must: those where the wait for
first bytes would stall a server that speaks first. Any other new port is a new chain, and cuts nobody's connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from pilotfish.derive import Reads, query
from pilotfish.envoy.access_log import build_listener_logs
from pilotfish.envoy.authorization import references_of
from pilotfish.envoy.connection_settings import limit_listener
from pilotfish.envoy.filters import (
    HTTP_INSPECTOR,
    ORIGINAL_DST,
    ORIGINAL_SRC,
    TLS_INSPECTOR,
    build_tcp,
    inspector_except,
    inspector_on,
)
from pilotfish.envoy.inbound_chains import Common, Taken, build_chains, build_passthrough_chains
from pilotfish.envoy.listeners import also_ipv6
from pilotfish.envoy.message import duration, serialise, socket_address
from pilotfish.envoy.naming import BLACK_HOLE, INBOUND_PASSTHROUGH, VIRTUAL_INBOUND, inbound_cluster
from pilotfish.envoy.types import CLUSTER, LISTENER
from pilotfish.envoy.values import Resource
from pilotfish.mesh.listeners.inbound import Inbound, InboundPort, inbound_protocol, inbound_stat_name
from pilotfish.mesh.listeners.outbound import WILDCARD
from pilotfish.mesh.routes.retries import inbound_retries
from pilotfish.mesh.security.guards import Guard, authentication, authorization
from pilotfish.mesh.security.reading import reason_to_read
from pilotfish.mesh.settings import settings
from pilotfish.model import Duration, Protocol
from pilotfish.model.mutual_tls import MutualTLS
from pilotfish.model.settings import MeshSettings
from pilotfish.model.wellknown import INBOUND_PORT

_IS_BOUND: Final = "a Sidecar binds it"
_SERVER_FIRST_WAIT: Final = Duration(10**9)
"""For how long the first bytes of a client are waited for that may speak mutual TLS, or say nothing before the server
does."""


@query
def virtual_inbound(db: Reads, inbound: Inbound, guard: Guard) -> Resource:
    """0.0.0.0:15006, for a workload with these ports and policies: replicas share it."""
    mesh, common = settings(db), _common(db, guard)
    protocols = {port: inbound_protocol(db, port) for port in inbound.ports if not port.is_bound}
    taken = {port: _taken(port, inbound.modes.of(port.number), inbound.certified) for port in protocols}
    chains = [_loop_chain(mesh), *_other_chains(common, inbound)]
    for port, protocol in protocols.items():
        reason = reason_to_read(db, port, inbound.modes.of(port.number), guard, inbound.reads)
        chains += build_chains(common, port, protocol, taken[port], inbound_stat_name(db, port), reason)
    listener = Listener(
        name=VIRTUAL_INBOUND,
        address=socket_address(WILDCARD, INBOUND_PORT),
        additional_addresses=also_ipv6(INBOUND_PORT),
        filter_chains=chains,
        transparent=BoolValue(value=True) if inbound.transparent else None,
        listener_filters=[
            ORIGINAL_DST,
            *((ORIGINAL_SRC,) if inbound.transparent else ()),
            *_inspectors(inbound, protocols, taken),
        ],
        listener_filters_timeout=duration(_patience(mesh, protocols, taken)),
        continue_on_listener_filters_timeout=True,
        traffic_direction=TrafficDirection.INBOUND,
        max_connections_to_accept_per_socket_event=UInt32Value(value=1),
        access_log=build_listener_logs(mesh.access_log),
    )
    limit_listener(listener, mesh.at_sidecars)
    names = (BLACK_HOLE, INBOUND_PASSTHROUGH, *(inbound_cluster(port.number) for port in protocols))
    references = (*((CLUSTER, name) for name in names), *references_of(common.requests))
    return Resource.make(LISTENER, listener.name, serialise(listener), references, db.origin)


@query
def bound_inbound(db: Reads, port: InboundPort, mode: MutualTLS, certified: bool, guard: Guard) -> Resource:
    """`10.244.0.2_8443`: what is not captured, and comes to the address itself."""
    mesh, protocol, common = settings(db), inbound_protocol(db, port), _common(db, guard)
    taken = _taken(port, mode, certified)
    address = port.listener.bind if port.listener is not None else WILDCARD
    listener = Listener(
        name=f"{address}_{port.number}",
        address=socket_address(address, port.number),
        filter_chains=build_chains(common, port, protocol, taken, inbound_stat_name(db, port), _IS_BOUND),
        listener_filters=[
            *((TLS_INSPECTOR,) if taken.is_tls else ()),
            *((HTTP_INSPECTOR,) if protocol.is_sniffed else ()),
        ],
        listener_filters_timeout=duration(_patience(mesh, {port: protocol}, {port: taken})),
        continue_on_listener_filters_timeout=True,
        traffic_direction=TrafficDirection.INBOUND,
        access_log=build_listener_logs(mesh.access_log),
    )
    limit_listener(listener, mesh.at_sidecars)
    references = ((CLUSTER, inbound_cluster(port.number)), *references_of(common.requests))
    return Resource.make(LISTENER, listener.name, serialise(listener), references, db.origin)


def _common(db: Reads, guard: Guard) -> Common:
    requests, connections = (authorization(db, guard, has_requests) for has_requests in (True, False))
    return Common(settings(db), requests, connections, authentication(db, guard), *inbound_retries(db))


def _taken(port: InboundPort, mode: MutualTLS, certified: bool) -> Taken:
    return Taken(mode, certified, port.listener.tls if port.listener is not None else None)


def _inspectors(
    inbound: Inbound, protocols: Mapping[InboundPort, Protocol], taken: Mapping[InboundPort, Taken]
) -> Iterator[ListenerFilter]:
    """The TLS inspector where TLS may be ended, the HTTP inspector where no protocol is declared."""
    others = {number: Taken(inbound.modes.of(number), inbound.certified) for number in inbound.other_ports}
    by_number = {port.number: each for port, each in taken.items()} | others
    if Taken(inbound.modes.default, inbound.certified).is_tls:
        plain = sorted(number for number, each in by_number.items() if not each.is_tls)
        yield inspector_except(TLS_INSPECTOR, (*plain, INBOUND_PORT))
    elif ending := sorted(number for number, each in by_number.items() if each.is_tls):
        yield inspector_on(TLS_INSPECTOR, ending)
    unsniffed = (port.number for port, protocol in protocols.items() if protocol.is_server_first)
    yield inspector_except(HTTP_INSPECTOR, (*unsniffed, INBOUND_PORT))


def _patience(
    mesh: MeshSettings, protocols: Mapping[InboundPort, Protocol], taken: Mapping[InboundPort, Taken]
) -> Duration:
    """A server that speaks first would be waited for without end, where its client may speak TLS and need not."""
    may_stall = (taken[port].is_either and protocol.is_server_first for port, protocol in protocols.items())
    return _SERVER_FIRST_WAIT if not mesh.detection_timeout.nanos and any(may_stall) else mesh.detection_timeout


def _loop_chain(mesh: MeshSettings) -> FilterChain:
    return FilterChain(
        name=f"{VIRTUAL_INBOUND}-blackhole",
        filter_chain_match=FilterChainMatch(destination_port=UInt32Value(value=INBOUND_PORT)),
        filters=[build_tcp(mesh.access_log, BLACK_HOLE)],
    )


def _other_chains(common: Common, inbound: Inbound) -> Iterable[FilterChain]:
    """Of the ports that no service has."""
    yield from build_passthrough_chains(common, None, Taken(inbound.modes.default, inbound.certified))
    for number in inbound.other_ports:
        yield from build_passthrough_chains(common, number, Taken(inbound.modes.of(number), inbound.certified))
