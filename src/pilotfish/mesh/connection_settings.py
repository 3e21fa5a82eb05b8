"""How proxies bear with those who call them, in neutral form.

Source: https://istio.io/latest/docs/ops/configuration/traffic-management/edge-proxy/ and Istio's
applyEdgeProfileDefaults, https://github.com/istio/istio/blob/master/pilot/pkg/networking/core/connection_settings.go
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from pilotfish.config import mesh
from pilotfish.model import Duration
from pilotfish.model.settings import ConnectionSettings

_UNDERSCORES: Final[dict[str, Literal["", "ALLOW", "REJECT_REQUEST", "DROP_HEADER"]]] = {
    "HEADERS_WITH_UNDERSCORES_UNSPECIFIED": "",
    "HEADERS_WITH_UNDERSCORES_ALLOW": "ALLOW",
    "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST": "REJECT_REQUEST",
    "HEADERS_WITH_UNDERSCORES_DROP_HEADER": "DROP_HEADER",
}
_SECOND: Final = 10**9
_ADVISED: Final = ConnectionSettings(
    listener_buffer=32 * 2**10,
    cluster_buffer=32 * 2**10,
    idle_timeout=Duration(3600 * _SECOND),
    stream_idle_timeout=Duration(300 * _SECOND),
    request_timeout=Duration(300 * _SECOND),
    request_headers_timeout=Duration(60 * _SECOND),
    max_concurrent_streams=100,
    stream_window=64 * 2**10,
    connection_window=2**20,
    underscores="REJECT_REQUEST",
    merges_slashes=True,
    escaped_slashes="UNESCAPE_AND_REDIRECT",
)
"""At gateways, by the profile EDGE, where nothing else is said."""


def lower_connection_settings(source: mesh.ConnectionSettings, *, at_edge: bool) -> ConnectionSettings:
    escaped = source.http_path_with_escaped_slashes_action
    stated = ConnectionSettings(
        listener_buffer=source.listener_per_connection_buffer_limit_bytes,
        cluster_buffer=source.cluster_per_connection_buffer_limit_bytes,
        idle_timeout=source.http_idle_timeout,
        stream_idle_timeout=source.http_stream_idle_timeout,
        request_timeout=source.http_request_timeout,
        request_headers_timeout=source.http_request_headers_timeout,
        drain_timeout=source.http_drain_timeout,
        max_connection_duration=source.http_max_connection_duration,
        max_stream_duration=source.http_max_stream_duration,
        max_concurrent_streams=source.http_max_concurrent_streams,
        stream_window=source.http2_initial_stream_window_size,
        connection_window=source.http2_initial_connection_window_size,
        underscores=_UNDERSCORES[source.http_headers_with_underscores_action],
        merges_slashes=source.http_merge_slashes,
        escaped_slashes="" if escaped == "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED" else escaped,
    )
    return _over(stated, _ADVISED) if at_edge and source.profile == "EDGE" else stated


def _over(stated: ConnectionSettings, advised: ConnectionSettings) -> ConnectionSettings:
    fields = ConnectionSettings.__dataclass_fields__
    said = {name: getattr(stated, name) for name in fields if getattr(stated, name) not in (None, "")}
    return replace(advised, **said)
