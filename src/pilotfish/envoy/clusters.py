"""Clusters: one for each port of each service, one more for each subset; and those that stand for no service."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import BindConfig, ExtraSourceAddress, SocketAddress
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions, Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.clusters.common.dns.v3.dns_pb2 import DnsLookupFamily
from envoy.extensions.clusters.dns.v3.dns_cluster_pb2 import DnsCluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.wrappers_pb2 import BoolValue

from pilotfish.derive import Reads, query
from pilotfish.envoy.client_tls import speak_tls, tls_references
from pilotfish.envoy.connection_pool import NO_LIMIT
from pilotfish.envoy.connection_settings import limit_cluster
from pilotfish.envoy.endpoints import build_load_assignment, ports_of
from pilotfish.envoy.message import (
    ads,
    config_path,
    duration,
    istio_metadata,
    pack,
    pipe,
    serialise,
    socket_address,
)
from pilotfish.envoy.mutual_tls import Peer
from pilotfish.envoy.name_lookup import RESOLVER, look_names_up
from pilotfish.envoy.naming import (
    BLACK_HOLE,
    DYNAMIC_DNS,
    INBOUND_PASSTHROUGH,
    PASSTHROUGH,
    inbound_cluster,
    outbound_cluster,
)
from pilotfish.envoy.proxy_headers import keep_case
from pilotfish.envoy.traffic_policy import apply_pool, apply_traffic_policy, compare_zones
from pilotfish.envoy.types import CLUSTER, ENDPOINT
from pilotfish.envoy.values import Reference, Resource
from pilotfish.mesh.hosts import server_name
from pilotfish.mesh.listeners.inbound import InboundPort, inbound_pool, inbound_protocol, inbound_stat_name
from pilotfish.mesh.policy.credentials import Keyring, with_credentials
from pilotfish.mesh.policy.locality import zones_of
from pilotfish.mesh.policy.peers import identities, is_mutual
from pilotfish.mesh.policy.policies import policy
from pilotfish.mesh.registry.services import service_at
from pilotfish.mesh.scope import Place
from pilotfish.mesh.security.reading import needs_no_reading
from pilotfish.mesh.settings import settings
from pilotfish.mesh.stat_names import stat_name
from pilotfish.model import Duration, ObjectRef, Protocol
from pilotfish.model.service import Resolution, Service, ServicePort
from pilotfish.model.settings import MeshSettings
from pilotfish.model.traffic_policy import ConnectionPool, DestinationPolicy, Keepalive, UpstreamProtocol
from pilotfish.model.wellknown import INBOUND_BIND_IPV4, INBOUND_BIND_IPV6

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_DNS: Final = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)

_HTTP2: Final = HttpProtocolOptions(
    explicit_http_config=HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=Http2ProtocolOptions())
)
_AS_DOWNSTREAM: Final = HttpProtocolOptions(
    use_downstream_protocol_config=HttpProtocolOptions.UseDownstreamHttpConfig(
        http_protocol_options=Http1ProtocolOptions(), http2_protocol_options=Http2ProtocolOptions()
    )
)


@dataclass(frozen=True, slots=True)
class Client:
    """What of a client decides how it calls services."""

    keyring: Keyring | None
    place: Place
    certified: bool
    """It has a certificate of the mesh."""
    passes_on: bool = False
    """Connections go on as they come, TLS of whoever speaks it and all (AUTO_PASSTHROUGH)."""
    buffer: int | None = None
    """Bytes of a connection that wait for one of the two sides; None is Envoy's own."""


@query
def service_clusters(
    db: Reads,
    host: str,
    home: str,
    ports: tuple[int, ...],
    rules: tuple[ObjectRef, ...],
    client: Client,
) -> tuple[Resource, ...]:
    """All clusters of a service, or of some of its ports, for clients to whom these DestinationRules apply."""
    found = service_at(db, host, home)
    if found is None:
        return ()
    applied = policy(db, rules)
    subsets = ("", *(subset.name for subset in applied.subsets))
    wanted = ((port, subset) for port in ports_of(found, ports) for subset in subsets)
    return tuple(_build_outbound(db, found, home, *each, applied, client) for each in wanted)


@query
def common_clusters(db: Reads, buffer: int | None) -> tuple[Resource, ...]:
    """Those that every proxy has: where traffic goes that no service claims. `buffer`: as a `Client`'s."""
    passthrough = _original_dst(db, PASSTHROUGH)
    inbound = _original_dst(db, INBOUND_PASSTHROUGH)
    # Istio counts both under one name, to keep the count of statistics down.
    inbound.alt_stat_name = passthrough.alt_stat_name
    inbound.upstream_bind_config.CopyFrom(_from_loopback())
    for cluster in (passthrough, inbound):
        options = HttpProtocolOptions()
        options.CopyFrom(_AS_DOWNSTREAM)
        options.common_http_protocol_options.idle_timeout.seconds = 300
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
        limit_cluster(cluster, buffer)
    black_hole = _cluster(db, BLACK_HOLE)
    black_hole.type = Cluster.STATIC
    looked_up = [_looked_up(db)] if settings(db).looks_up else []
    for cluster in looked_up:
        limit_cluster(cluster, buffer)
    return tuple(_resource(db, cluster) for cluster in (black_hole, passthrough, inbound, *looked_up))


def _looked_up(db: Reads) -> Cluster:
    """Where requests for hosts go that no service has, under ALLOW_ANY_DYNAMIC_DNS."""
    cluster = _cluster(db, DYNAMIC_DNS)
    cluster.circuit_breakers.CopyFrom(NO_LIMIT)
    options = HttpProtocolOptions()
    options.CopyFrom(_AS_DOWNSTREAM)
    tls = settings(db).looked_up_tls
    if tls is not None:
        speak_tls(cluster, options, tls)
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    look_names_up(cluster, settings(db).dns_refresh)
    return cluster


@query
def inbound_port_cluster(db: Reads, port: InboundPort) -> Resource:
    """`inbound|8888||`: to the app, at the address that the client chose or that a Sidecar or the mesh says, from
    127.0.0.6.

    That source tells the capture rules to let the connection pass: Envoy's own, but for this pod.
    """
    cluster = _original_dst(db, inbound_cluster(port.number))
    if counted := inbound_stat_name(db, port):
        cluster.alt_stat_name = f"{counted};"
    endpoint = port.listener.endpoint if port.listener is not None else ""
    if port.listener is None and settings(db).to_loopback:
        endpoint = f"127.0.0.1:{port.number}"
    if endpoint:
        cluster.type, cluster.lb_policy = Cluster.STATIC, Cluster.ROUND_ROBIN
        cluster.load_assignment.CopyFrom(_build_app(cluster.name, endpoint))
    else:
        # The pod's own addresses are all it ever has; forgetting an idle one would only cost its connections.
        cluster.cleanup_interval.seconds = 9223372035
    if not endpoint.startswith(("127.", "[::1]", "unix:")):
        cluster.upstream_bind_config.CopyFrom(_from_loopback())
    limit_cluster(cluster, settings(db).at_sidecars.cluster_buffer)
    _set_protocol(cluster, inbound_protocol(db, port))
    pool = inbound_pool(db, port)
    if pool is not None:
        apply_pool(cluster, pool.pool)
    return _resource(db, cluster)


def _build_app(name: str, endpoint: str) -> ClusterLoadAssignment:
    """`ADDRESS:PORT`, or `unix://` and a path."""
    host, _, number = endpoint.rpartition(":")
    place = socket_address(host.strip("[]"), int(number)) if number.isdecimal() else pipe(endpoint)
    app = LbEndpoint(endpoint=Endpoint(address=place))
    return ClusterLoadAssignment(cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=[app])])


def _build_outbound(
    db: Reads,
    found: Service,
    home: str,
    port: ServicePort,
    subset: str,
    applied: DestinationPolicy,
    client: Client,
) -> Resource:
    asked, name = applied.of(subset, port.number), outbound_cluster(port.number, subset, found.host)
    if client.passes_on:
        asked, name = replace(asked, tls=None, mesh_tls=None), server_name(port.number, subset, found.host)
    treatment = with_credentials(db, asked, client.keyring)
    cluster = _cluster(db, name)
    if pattern := settings(db).outbound_stat_name:
        cluster.alt_stat_name = f"{stat_name(pattern, found, port, subset)};"
    cluster.circuit_breakers.CopyFrom(NO_LIMIT)
    limit_cluster(cluster, client.buffer)
    _set_protocol(cluster, port.protocol)
    _set_discovery(db, cluster, found, home, port, subset, applied, client.place)
    rule = config_path(applied.refs[0]) if applied.refs else ""
    metadata = istio_metadata(config=rule, subset=subset, external=found.external)
    if metadata is not None:
        cluster.metadata.CopyFrom(metadata)
    if treatment is None:
        _leave_empty(cluster)
        return _resource(db, cluster)
    treatment = replace(treatment, connection_pool=_pool(settings(db), treatment.connection_pool, port.protocol))
    peer = _peer(db, found, home, port, subset) if client.certified and treatment.mesh_tls is not None else None
    apply_traffic_policy(cluster, treatment, found.subject_alt_names, peer)
    if client.place.compares:
        compare_zones(cluster, zones_of(treatment, found))
    return _resource(db, cluster, tls_references(treatment.tls) if treatment.tls is not None else ())


def _peer(db: Reads, found: Service, home: str, port: ServicePort, subset: str) -> Peer:
    mutual = settings(db).mutual
    return Peer(
        mutual,
        port.protocol,
        server_name(port.number, subset, found.host),
        identities(db, found.host, home, port.number),
        mutual.automatic and not found.external,
        is_mutual(db, found.host, home, port.number),
        needs_no_reading(db, found.host, home, port.number),
    )


def _pool(mesh: MeshSettings, pool: ConnectionPool, protocol: Protocol) -> ConnectionPool:
    """With what the mesh says where the policy does not. Source: Istio's shouldH2Upgrade and applyTCPKeepalive,
    https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/cluster_traffic_policy.go"""
    if mesh.keepalive is not None:
        own, given = pool.keepalive or Keepalive(), mesh.keepalive
        kept = Keepalive(own.probes or given.probes, own.time or given.time, own.interval or given.interval)
        pool = replace(pool, keepalive=kept)
    if mesh.upgrade and protocol is Protocol.HTTP and pool.protocol is UpstreamProtocol.DECLARED:
        pool = replace(pool, protocol=UpstreamProtocol.HTTP2)
    return pool


def _leave_empty(cluster: Cluster) -> None:
    """Nobody is behind it, so that requests are answered 503: with secrets that never come, Envoy would wait for it,
    and with it for its first listeners."""
    for unused in ("eds_cluster_config", "load_assignment", "cluster_type", "wait_for_warm_on_init", "lb_policy"):
        cluster.ClearField(unused)
    cluster.type = Cluster.STATIC


def _set_discovery(
    db: Reads,
    cluster: Cluster,
    found: Service,
    home: str,
    port: ServicePort,
    subset: str,
    applied: DestinationPolicy,
    client: Place,
) -> None:
    if found.resolution is Resolution.EDS:
        cluster.type = Cluster.EDS
        listed = outbound_cluster(port.number, subset, found.host)
        cluster.eds_cluster_config.CopyFrom(Cluster.EdsClusterConfig(eds_config=ads(), service_name=listed))
    elif found.resolution in _DNS:
        cluster.load_assignment.CopyFrom(
            build_load_assignment(db, cluster.name, found.host, home, port.number, subset, applied, client)
        )
        _resolve_names(cluster, found.resolution, settings(db).dns_refresh)
    elif found.resolution is Resolution.DYNAMIC_DNS:
        look_names_up(cluster, settings(db).dns_refresh)
    else:
        cluster.type = Cluster.ORIGINAL_DST
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED


def _resolve_names(cluster: Cluster, resolution: Resolution, refresh: Duration) -> None:
    """STRICT_DNS and LOGICAL_DNS in their present form: the types of that name are deprecated with their fields."""
    names = sum(len(group.lb_endpoints) for group in cluster.load_assignment.endpoints)
    dns = DnsCluster(
        dns_lookup_family=DnsLookupFamily.V4_PREFERRED,
        respect_dns_ttl=True,
        dns_refresh_rate=duration(refresh),
        typed_dns_resolver_config=RESOLVER,
        # The form in which LOGICAL_DNS lives on; it takes one name, no more and no less.
        all_addresses_in_single_endpoint=resolution is Resolution.DNS_ROUND_ROBIN and names == 1,
    )
    cluster.cluster_type.CopyFrom(Cluster.CustomClusterType(name="envoy.cluster.dns", typed_config=pack(dns)))
    # A name that does not resolve must not hold back the listeners of a pod that never asks for it.
    cluster.wait_for_warm_on_init.CopyFrom(BoolValue(value=False))


def _set_protocol(cluster: Cluster, protocol: Protocol) -> None:
    options = _HTTP2 if protocol.is_http2 else _AS_DOWNSTREAM if protocol.is_sniffed else None
    if options is not None:
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))


def _cluster(db: Reads, name: str) -> Cluster:
    timeout = duration(settings(db).connect_timeout)
    return Cluster(name=name, alt_stat_name=f"{name};", connect_timeout=timeout)


def _original_dst(db: Reads, name: str) -> Cluster:
    cluster = _cluster(db, name)
    cluster.type = Cluster.ORIGINAL_DST
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED
    cluster.circuit_breakers.CopyFrom(NO_LIMIT)
    return cluster


def _from_loopback() -> BindConfig:
    """127.0.0.6, and ::6 for IPv6: the addresses that Istio's rules know."""
    return BindConfig(
        source_address=SocketAddress(address=INBOUND_BIND_IPV4, port_value=0),
        extra_source_addresses=[ExtraSourceAddress(address=SocketAddress(address=INBOUND_BIND_IPV6, port_value=0))],
    )


def _resource(db: Reads, cluster: Cluster, secrets: tuple[Reference, ...] = ()) -> Resource:
    if settings(db).headers.keeps_case:
        keep_case(cluster)
    listed = cluster.eds_cluster_config.service_name
    references = ((ENDPOINT, listed),) if cluster.type == Cluster.EDS else ()
    return Resource.make(CLUSTER, cluster.name, serialise(cluster), (*references, *secrets), db.origin)
