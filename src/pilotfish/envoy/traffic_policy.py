"""A traffic policy, put onto a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster, LoadBalancingPolicy
from envoy.config.common.matcher.v3.matcher_pb2 import HttpHeadersMatch, MatchPredicate
from envoy.config.core.v3.base_pb2 import RuntimeDouble, TransportSocket
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.client_side_weighted_round_robin_pb2 import (  # noqa: E501
    ClientSideWeightedRoundRobin,
)
from envoy.extensions.load_balancing_policies.wrr_locality.v3.wrr_locality_pb2 import WrrLocality
from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import Percent
from google.protobuf.message import Message

from pilotfish.envoy.client_tls import speak_tls
from pilotfish.envoy.connection_pool import limit_connections, limit_use, set_protocol
from pilotfish.envoy.message import duration, pack
from pilotfish.envoy.mutual_tls import RAW, Peer, speak_mutual
from pilotfish.model.traffic_policy import (
    ConnectionPool,
    LoadBalancer,
    OutlierDetection,
    TrafficPolicy,
    Utilization,
    Warmup,
    ZoneBalancing,
)

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_BALANCERS: Final = {
    LoadBalancer.LEAST_REQUEST: Cluster.LEAST_REQUEST,
    LoadBalancer.ROUND_ROBIN: Cluster.ROUND_ROBIN,
    LoadBalancer.RANDOM: Cluster.RANDOM,
    LoadBalancer.RING_HASH: Cluster.RING_HASH,
    LoadBalancer.MAGLEV: Cluster.MAGLEV,
}

_BY_LOCALITY: Final = "envoy.load_balancing_policies.wrr_locality"
_COMPARING: Final = (Cluster.LEAST_REQUEST, Cluster.ROUND_ROBIN, Cluster.RANDOM)
"""With others zones are never compared."""


def apply_traffic_policy(
    cluster: Cluster, policy: TrafficPolicy, subject_alt_names: tuple[str, ...], peer: Peer | None = None
) -> None:
    """`subject_alt_names`: those of the service's servers, where the policy has none. `peer`: who they are as workloads
    of the mesh, for a client that can prove who it is itself."""
    _balance(cluster, policy)
    limit_connections(cluster, policy.connection_pool, policy.retry_budget)
    if policy.outlier_detection is not None:
        _detect_outliers(cluster, policy.outlier_detection)
    if policy.tls is not None and not policy.tls.subject_alt_names:
        policy = replace(policy, tls=replace(policy.tls, subject_alt_names=subject_alt_names))
    _speak(cluster, policy)
    if policy.mesh_tls is not None and peer is not None:
        speak_mutual(cluster, policy.mesh_tls, peer, http_options(cluster))
    if policy.proxy_protocol:
        _introduce_client(cluster, policy.proxy_protocol)


def _balance(cluster: Cluster, policy: TrafficPolicy) -> None:
    if cluster.lb_policy == Cluster.CLUSTER_PROVIDED:
        return
    if policy.load_balancer is LoadBalancer.PASSTHROUGH:
        cluster.type = Cluster.ORIGINAL_DST
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        for unused in ("eds_cluster_config", "load_assignment", "wait_for_warm_on_init"):
            cluster.ClearField(unused)
        return
    if policy.utilization is not None:
        _weigh_by_use(cluster, policy.utilization, by_locality=policy.locality is not None)
        return
    cluster.lb_policy = _BALANCERS[policy.load_balancer]
    size = policy.consistent_hash.size if policy.consistent_hash is not None else None
    if policy.load_balancer is LoadBalancer.MAGLEV and size is not None:
        cluster.maglev_lb_config.table_size.value = size
    elif policy.load_balancer is LoadBalancer.RING_HASH and size is not None:
        cluster.ring_hash_lb_config.minimum_ring_size.value = size
    if policy.warmup is not None:
        _warm_up(cluster, policy.warmup)
    if policy.locality is not None:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()


def compare_zones(cluster: Cluster, zones: ZoneBalancing | None) -> None:
    """For a client whose Envoy knows its fellows: it compares zones for every cluster, unless it is told not to."""
    common, own = cluster.common_lb_config, cluster.load_balancing_policy.policies
    if own and own[0].typed_extension_config.name != _BY_LOCALITY:
        # It can't be told so itself; the weights of localities are those of their endpoints.
        own[0].CopyFrom(_by_locality(own[0]))
    if own or cluster.lb_policy not in _COMPARING:
        return
    if zones is not None:
        common.zone_aware_lb_config.SetInParent()
        if zones.least is not None:
            common.zone_aware_lb_config.min_cluster_size.value = zones.least
    elif not common.HasField("locality_weighted_lb_config"):
        common.zone_aware_lb_config.routing_enabled.CopyFrom(Percent(value=0))


def _weigh_by_use(cluster: Cluster, wanted: Utilization, *, by_locality: bool) -> None:
    weighed = ClientSideWeightedRoundRobin(metric_names_for_computing_utilization=wanted.metrics)
    for field, value in (
        (weighed.blackout_period, wanted.settles),
        (weighed.weight_expiration_period, wanted.expires),
        (weighed.weight_update_period, wanted.updates),
    ):
        if value is not None:
            field.CopyFrom(duration(value))
    if wanted.error_penalty:
        weighed.error_utilization_penalty.value = wanted.error_penalty
    chosen = _policy("client_side_weighted_round_robin", weighed)
    cluster.load_balancing_policy.policies.append(_by_locality(chosen) if by_locality else chosen)


def _by_locality(chosen: LoadBalancingPolicy.Policy) -> LoadBalancingPolicy.Policy:
    inner = LoadBalancingPolicy(policies=[chosen])
    return _policy("wrr_locality", WrrLocality(endpoint_picking_policy=inner))


def _policy(name: str, config: Message) -> LoadBalancingPolicy.Policy:
    extension = TypedExtensionConfig(name=f"envoy.load_balancing_policies.{name}", typed_config=pack(config))
    return LoadBalancingPolicy.Policy(typed_extension_config=extension)


def _warm_up(cluster: Cluster, wanted: Warmup) -> None:
    by_turns = cluster.lb_policy == Cluster.ROUND_ROBIN
    slowly = (cluster.round_robin_lb_config if by_turns else cluster.least_request_lb_config).slow_start_config
    slowly.slow_start_window.CopyFrom(duration(wanted.duration))
    # Envoy wants a runtime key where it takes a default; nobody sets this one.
    slowly.aggression.CopyFrom(RuntimeDouble(default_value=wanted.aggression, runtime_key="warmup.aggression"))
    slowly.min_weight_percent.CopyFrom(Percent(value=wanted.minimum_percent))


def apply_pool(cluster: Cluster, pool: ConnectionPool) -> None:
    """Nothing but connections: of a proxy's own app."""
    limit_connections(cluster, pool, None)
    _speak(cluster, TrafficPolicy(connection_pool=pool))


def _speak(cluster: Cluster, policy: TrafficPolicy) -> None:
    """HTTP, and TLS, over the connections. A cluster for which nothing is asked has no options."""
    options = http_options(cluster)
    before = HttpProtocolOptions()
    before.CopyFrom(options)
    set_protocol(options, policy.connection_pool.protocol)
    limit_use(options, policy.connection_pool)
    if policy.outlier_detection is not None and policy.outlier_detection.error_codes:
        options.outlier_detection.error_matcher.CopyFrom(_match_statuses(policy.outlier_detection.error_codes))
    if policy.tls is not None:
        speak_tls(cluster, options, policy.tls)
    if options == before:
        return
    if options.WhichOneof("upstream_protocol_options") is None:
        options.explicit_http_config.http_protocol_options.SetInParent()
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))


def http_options(cluster: Cluster) -> HttpProtocolOptions:
    options = HttpProtocolOptions()
    if _HTTP_OPTIONS in cluster.typed_extension_protocol_options:
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].Unpack(options)
    return options


def _match_statuses(codes: tuple[int, ...]) -> MatchPredicate:
    status = (HeaderMatcher(name=":status", string_match=StringMatcher(exact=str(code))) for code in codes)
    each = [MatchPredicate(http_response_headers_match=HttpHeadersMatch(headers=[header])) for header in status]
    return MatchPredicate(or_match=MatchPredicate.MatchSet(rules=each)) if len(each) > 1 else each[0]


def _introduce_client(cluster: Cluster, version: str) -> None:
    for match in cluster.transport_socket_matches:
        _introduce_within(match.transport_socket, version)
    if not cluster.transport_socket_matches:
        if not cluster.HasField("transport_socket"):
            cluster.transport_socket.CopyFrom(RAW)
        _introduce_within(cluster.transport_socket, version)


def _introduce_within(socket: TransportSocket, version: str) -> None:
    wrapped = ProxyProtocolUpstreamTransport(
        config=ProxyProtocolConfig(version=ProxyProtocolConfig.Version.Value(version)), transport_socket=socket
    )
    socket.name = "envoy.transport_sockets.upstream_proxy_protocol"
    socket.typed_config.CopyFrom(pack(wrapped))


def _detect_outliers(cluster: Cluster, wanted: OutlierDetection) -> None:
    out = cluster.outlier_detection
    # What nobody asks for is switched off: Envoy's defaults would eject by success rate as well.
    out.enforcing_success_rate.value = 0
    out.consecutive_5xx.value = wanted.consecutive_5xx_errors or 5
    out.enforcing_consecutive_5xx.value = 100 if wanted.consecutive_5xx_errors else 0
    if wanted.consecutive_gateway_errors:
        out.consecutive_gateway_failure.value = wanted.consecutive_gateway_errors
        out.enforcing_consecutive_gateway_failure.value = 100
    if wanted.split_local_errors:
        out.split_external_local_origin_errors = True
        out.enforcing_local_origin_success_rate.value = 0
    if wanted.consecutive_local_failures is not None:
        out.consecutive_local_origin_failure.value = wanted.consecutive_local_failures
        out.enforcing_consecutive_local_origin_failure.value = 100
    if wanted.interval is not None:
        out.interval.CopyFrom(duration(wanted.interval))
    if wanted.base_ejection_time is not None:
        out.base_ejection_time.CopyFrom(duration(wanted.base_ejection_time))
    if wanted.max_ejection_percent is not None:
        out.max_ejection_percent.value = wanted.max_ejection_percent
    if wanted.failure_percent is not None:
        out.failure_percentage_threshold.value = wanted.failure_percent
        out.enforcing_failure_percentage.value = 100
    # Envoy would go on using ejected endpoints once half of them are out; Istio's default is never.
    cluster.common_lb_config.healthy_panic_threshold.value = wanted.min_health_percent
