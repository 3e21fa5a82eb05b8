"""DestinationRule traffic policies, put onto a cluster.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#TrafficPolicy
"""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.config import istio
from pilotfish.envoy.message import duration, pack

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
    "RANDOM": Cluster.RANDOM,
    "ROUND_ROBIN": Cluster.ROUND_ROBIN,
    "LEAST_REQUEST": Cluster.LEAST_REQUEST,
    "LEAST_CONN": Cluster.LEAST_REQUEST,
}


def apply_traffic_policy(cluster: Cluster, policy: istio.TrafficPolicy) -> None:
    if policy.load_balancer is not None:
        _balance(cluster, policy.load_balancer)
    if policy.connection_pool is not None:
        _limit_connections(cluster, policy.connection_pool)
    if policy.outlier_detection is not None:
        _detect_outliers(cluster, policy.outlier_detection)


def _balance(cluster: Cluster, settings: istio.LoadBalancerSettings) -> None:
    if cluster.type == Cluster.ORIGINAL_DST:
        return
    if settings.simple == "PASSTHROUGH":
        cluster.type = Cluster.ORIGINAL_DST
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        for unused in ("eds_cluster_config", "load_assignment", "wait_for_warm_on_init"):
            cluster.ClearField(unused)
    elif settings.simple in _BALANCERS:
        cluster.lb_policy = _BALANCERS[settings.simple]


def _limit_connections(cluster: Cluster, pool: istio.ConnectionPoolSettings) -> None:
    limits = cluster.circuit_breakers.thresholds[0]
    if pool.tcp is not None:
        if pool.tcp.max_connections:
            limits.max_connections.value = pool.tcp.max_connections
        if pool.tcp.connect_timeout is not None:
            cluster.connect_timeout.CopyFrom(duration(pool.tcp.connect_timeout))
    if pool.http is not None:
        _limit_requests(cluster, limits, pool.http)


def _limit_requests(cluster: Cluster, limits: CircuitBreakers.Thresholds, http: istio.HTTPSettings) -> None:
    if http.http1_max_pending_requests:
        limits.max_pending_requests.value = http.http1_max_pending_requests
    if http.http2_max_requests:
        limits.max_requests.value = http.http2_max_requests
    if http.max_retries:
        limits.max_retries.value = http.max_retries
    if not http.max_requests_per_connection and http.idle_timeout is None:
        return
    options = HttpProtocolOptions()
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].Unpack(options)
    if options.WhichOneof("upstream_protocol_options") is None:
        options.explicit_http_config.http_protocol_options.SetInParent()
    common = options.common_http_protocol_options
    if http.max_requests_per_connection:
        common.max_requests_per_connection.value = http.max_requests_per_connection
    if http.idle_timeout is not None:
        common.idle_timeout.CopyFrom(duration(http.idle_timeout))
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))


def _detect_outliers(cluster: Cluster, settings: istio.OutlierDetection) -> None:
    out = cluster.outlier_detection
    # What a user does not ask for is switched off: Envoy's defaults would eject by success rate as well.
    out.enforcing_success_rate.value = 0
    out.consecutive_5xx.value = _or(settings.consecutive_5xx_errors, 5)
    out.enforcing_consecutive_5xx.value = 100 if settings.consecutive_5xx_errors != 0 else 0
    if settings.consecutive_gateway_errors is not None:
        out.consecutive_gateway_failure.value = settings.consecutive_gateway_errors
        out.enforcing_consecutive_gateway_failure.value = 100 if settings.consecutive_gateway_errors else 0
    if settings.interval is not None:
        out.interval.CopyFrom(duration(settings.interval))
    if settings.base_ejection_time is not None:
        out.base_ejection_time.CopyFrom(duration(settings.base_ejection_time))
    if settings.max_ejection_percent:
        out.max_ejection_percent.value = settings.max_ejection_percent
    # Envoy would go on using ejected endpoints once half of them are out; Istio's default is never.
    cluster.common_lb_config.healthy_panic_threshold.value = settings.min_health_percent or 0


def _or(value: int | None, default: int) -> int:
    return value if value else default
