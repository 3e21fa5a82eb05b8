"""A traffic policy, put onto a cluster."""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.envoy.message import duration, pack
from pilotfish.model.traffic_policy import ConnectionPool, LoadBalancer, OutlierDetection, TrafficPolicy

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MAX: Final = 2**32 - 1


def _limit(value: int = _MAX) -> UInt32Value:
    return UInt32Value(value=value)


NO_LIMIT: Final = CircuitBreakers(
    thresholds=[
        CircuitBreakers.Thresholds(
            max_connections=_limit(), max_pending_requests=_limit(), max_requests=_limit(), max_retries=_limit()
        )
    ]
)
"""Envoy's own defaults (1024, 3 retries) would limit those who asked for no limit."""

_BALANCERS: Final = {
    LoadBalancer.LEAST_REQUEST: Cluster.LEAST_REQUEST,
    LoadBalancer.ROUND_ROBIN: Cluster.ROUND_ROBIN,
    LoadBalancer.RANDOM: Cluster.RANDOM,
}


def apply_traffic_policy(cluster: Cluster, policy: TrafficPolicy) -> None:
    _balance(cluster, policy.load_balancer)
    _limit_connections(cluster, policy.connection_pool)
    if policy.outlier_detection is not None:
        _detect_outliers(cluster, policy.outlier_detection)


def _balance(cluster: Cluster, balancer: LoadBalancer) -> None:
    if cluster.type == Cluster.ORIGINAL_DST:
        return
    if balancer is LoadBalancer.PASSTHROUGH:
        cluster.type = Cluster.ORIGINAL_DST
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        for unused in ("eds_cluster_config", "load_assignment", "wait_for_warm_on_init"):
            cluster.ClearField(unused)
    else:
        cluster.lb_policy = _BALANCERS[balancer]


def _limit_connections(cluster: Cluster, pool: ConnectionPool) -> None:
    limits = cluster.circuit_breakers.thresholds[0]
    for limit, value in (
        (limits.max_connections, pool.max_connections),
        (limits.max_pending_requests, pool.max_pending_requests),
        (limits.max_requests, pool.max_requests),
        (limits.max_retries, pool.max_retries),
    ):
        if value is not None:
            limit.value = value
    if pool.connect_timeout is not None:
        cluster.connect_timeout.CopyFrom(duration(pool.connect_timeout))
    if pool.max_requests_per_connection is not None or pool.idle_timeout is not None:
        _limit_use(cluster, pool)


def _limit_use(cluster: Cluster, pool: ConnectionPool) -> None:
    """How long, and for how many requests, one HTTP connection is used."""
    options = HttpProtocolOptions()
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].Unpack(options)
    if options.WhichOneof("upstream_protocol_options") is None:
        options.explicit_http_config.http_protocol_options.SetInParent()
    common = options.common_http_protocol_options
    if pool.max_requests_per_connection is not None:
        common.max_requests_per_connection.value = pool.max_requests_per_connection
    if pool.idle_timeout is not None:
        common.idle_timeout.CopyFrom(duration(pool.idle_timeout))
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))


def _detect_outliers(cluster: Cluster, wanted: OutlierDetection) -> None:
    out = cluster.outlier_detection
    # What nobody asks for is switched off: Envoy's defaults would eject by success rate as well.
    out.enforcing_success_rate.value = 0
    out.consecutive_5xx.value = wanted.consecutive_5xx_errors or 5
    out.enforcing_consecutive_5xx.value = 100 if wanted.consecutive_5xx_errors else 0
    if wanted.consecutive_gateway_errors:
        out.consecutive_gateway_failure.value = wanted.consecutive_gateway_errors
        out.enforcing_consecutive_gateway_failure.value = 100
    if wanted.interval is not None:
        out.interval.CopyFrom(duration(wanted.interval))
    if wanted.base_ejection_time is not None:
        out.base_ejection_time.CopyFrom(duration(wanted.base_ejection_time))
    if wanted.max_ejection_percent is not None:
        out.max_ejection_percent.value = wanted.max_ejection_percent
    # Envoy would go on using ejected endpoints once half of them are out; Istio's default is never.
    cluster.common_lb_config.healthy_panic_threshold.value = wanted.min_health_percent
