"""What connections a client may have to a service, put onto a cluster.

Source: Istio's applyConnectionPool, https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/cluster_traffic_policy.go
"""

from __future__ import annotations

from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.wrappers_pb2 import UInt32Value

from pilotfish.envoy.message import duration
from pilotfish.model.traffic_policy import ConnectionPool, Keepalive, RetryBudget, UpstreamProtocol

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


def limit_connections(cluster: Cluster, pool: ConnectionPool, budget: RetryBudget | None) -> None:
    limits = cluster.circuit_breakers.thresholds[0]
    for limit, value in (
        (limits.max_connections, pool.max_connections),
        (limits.max_pending_requests, pool.max_pending_requests),
        (limits.max_requests, pool.max_requests),
        (limits.max_retries, pool.max_retries),
    ):
        if value is not None:
            limit.value = value
    if budget is not None:
        limits.retry_budget.budget_percent.value = budget.percent
        limits.retry_budget.min_retry_concurrency.value = budget.min_concurrency
    if pool.connect_timeout is not None:
        cluster.connect_timeout.CopyFrom(duration(pool.connect_timeout))
    if pool.keepalive is not None:
        _keep_alive(cluster, pool.keepalive)


def _keep_alive(cluster: Cluster, wanted: Keepalive) -> None:
    kernel = cluster.upstream_connection_options.tcp_keepalive
    kernel.SetInParent()
    if wanted.probes is not None:
        kernel.keepalive_probes.value = wanted.probes
    if wanted.time is not None:
        kernel.keepalive_time.value = int(wanted.time.seconds)
    if wanted.interval is not None:
        kernel.keepalive_interval.value = int(wanted.interval.seconds)


def set_protocol(options: HttpProtocolOptions, wanted: UpstreamProtocol) -> None:
    """Other than the service's port declares it."""
    if wanted is UpstreamProtocol.HTTP2:
        options.explicit_http_config.http2_protocol_options.SetInParent()
    elif wanted is UpstreamProtocol.CLIENT:
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options.use_downstream_protocol_config.http2_protocol_options.SetInParent()


def limit_use(options: HttpProtocolOptions, pool: ConnectionPool) -> None:
    """How long, and for how many requests, one HTTP connection is used."""
    common = options.common_http_protocol_options
    if pool.max_requests_per_connection is not None:
        common.max_requests_per_connection.value = pool.max_requests_per_connection
    if pool.idle_timeout is not None:
        common.idle_timeout.CopyFrom(duration(pool.idle_timeout))
    if pool.max_connection_duration is not None:
        common.max_connection_duration.CopyFrom(duration(pool.max_connection_duration))
    if pool.max_concurrent_streams is None and pool.http2_keepalive is None:
        return
    http2 = {
        "explicit_http_config": options.explicit_http_config,
        "use_downstream_protocol_config": options.use_downstream_protocol_config,
    }.get(options.WhichOneof("upstream_protocol_options") or "")
    if http2 is None or not http2.HasField("http2_protocol_options"):
        return  # HTTP/1.1 has neither streams nor pings.
    if pool.max_concurrent_streams is not None:
        http2.http2_protocol_options.max_concurrent_streams.value = pool.max_concurrent_streams
    if pool.http2_keepalive is not None:
        ping = http2.http2_protocol_options.connection_keepalive
        ping.interval.CopyFrom(duration(pool.http2_keepalive.interval))
        ping.timeout.CopyFrom(duration(pool.http2_keepalive.timeout))
