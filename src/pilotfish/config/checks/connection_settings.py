"""Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig-ConnectionSettings"""

from __future__ import annotations

from pilotfish.config.checks.durations import check_duration
from pilotfish.config.mesh import ConnectionSettings
from pilotfish.config.report import Report

_MOST = 2**31 - 1
_LEAST_WINDOW = 65535
"""Envoy refuses a smaller one: envoy.config.core.v3.Http2ProtocolOptions."""


def check_connection_settings(source: ConnectionSettings, field: str, report: Report) -> None:
    for name, value in (
        ("httpIdleTimeout", source.http_idle_timeout),
        ("httpStreamIdleTimeout", source.http_stream_idle_timeout),
        ("httpRequestTimeout", source.http_request_timeout),
        ("httpRequestHeadersTimeout", source.http_request_headers_timeout),
        ("httpDrainTimeout", source.http_drain_timeout),
        ("httpMaxConnectionDuration", source.http_max_connection_duration),
        ("httpMaxStreamDuration", source.http_max_stream_duration),
    ):
        check_duration(value, f"{field}.{name}", report, may_be_zero=True)
    for name, number, least in (
        ("listenerPerConnectionBufferLimitBytes", source.listener_per_connection_buffer_limit_bytes, 0),
        ("clusterPerConnectionBufferLimitBytes", source.cluster_per_connection_buffer_limit_bytes, 0),
        ("httpMaxConcurrentStreams", source.http_max_concurrent_streams, 1),
        ("http2InitialStreamWindowSize", source.http2_initial_stream_window_size, _LEAST_WINDOW),
        ("http2InitialConnectionWindowSize", source.http2_initial_connection_window_size, _LEAST_WINDOW),
        ("globalDownstreamConnectionLimit", source.global_downstream_connection_limit, 1),
    ):
        if number is not None and not least <= number <= _MOST:
            report.invalid(f"{field}.{name}", f"{number} is out of range", f"write {least} to {_MOST}")
