"""How a proxy bears with those who call it: time-outs, limits, buffers, and odd requests.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig-ConnectionSettings
"""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.protocol_pb2 import HttpProtocolOptions
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from pilotfish.envoy.message import duration
from pilotfish.model.settings import ConnectionSettings


def bear_requests(manager: HttpConnectionManager, asked: ConnectionSettings) -> None:
    """After what else is said of paths: this goes before it."""
    common, http2 = manager.common_http_protocol_options, manager.http2_protocol_options
    for field, value in (
        ("idle_timeout", asked.idle_timeout),
        ("max_connection_duration", asked.max_connection_duration),
        ("max_stream_duration", asked.max_stream_duration),
    ):
        if value is not None:
            getattr(common, field).CopyFrom(duration(value))
    for field, value in (
        ("stream_idle_timeout", asked.stream_idle_timeout),
        ("request_timeout", asked.request_timeout),
        ("request_headers_timeout", asked.request_headers_timeout),
        ("drain_timeout", asked.drain_timeout),
    ):
        if value is not None:
            getattr(manager, field).CopyFrom(duration(value))
    for field, number in (
        ("max_concurrent_streams", asked.max_concurrent_streams),
        ("initial_stream_window_size", asked.stream_window),
        ("initial_connection_window_size", asked.connection_window),
    ):
        if number is not None:
            getattr(http2, field).value = number
    if asked.underscores:
        action = HttpProtocolOptions.HeadersWithUnderscoresAction.Value(asked.underscores)
        common.headers_with_underscores_action = action
    if asked.merges_slashes is not None:
        manager.merge_slashes = asked.merges_slashes
    if asked.escaped_slashes:
        actions = HttpConnectionManager.PathWithEscapedSlashesAction
        manager.path_with_escaped_slashes_action = actions.Value(asked.escaped_slashes)


def limit_listener(listener: Listener, asked: ConnectionSettings) -> None:
    if asked.listener_buffer is not None:
        listener.per_connection_buffer_limit_bytes.value = asked.listener_buffer


def limit_cluster(cluster: Cluster, buffer: int | None) -> None:
    """`buffer`: bytes; None is Envoy's own."""
    if buffer is not None:
        cluster.per_connection_buffer_limit_bytes.value = buffer
