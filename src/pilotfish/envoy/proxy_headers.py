"""What proxies add to requests and answers of their own accord.

Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig-ProxyHeaders
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.http.header_formatters.preserve_case.v3.preserve_case_pb2 import PreserveCaseFormatterConfig
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.wrappers_pb2 import BoolValue

from pilotfish.envoy.message import pack
from pilotfish.model.settings import Headers

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_AS_WRITTEN: Final = Http1ProtocolOptions.HeaderKeyFormat(
    stateful_formatter=TypedExtensionConfig(
        name="envoy.http.stateful_header_formatters.preserve_case", typed_config=pack(PreserveCaseFormatterConfig())
    )
)


def set_headers(manager: HttpConnectionManager, headers: Headers) -> None:
    """Of every manager."""
    if not headers.request_id:
        manager.generate_request_id.CopyFrom(BoolValue(value=False))
    if not headers.server:
        manager.server_header_transformation = HttpConnectionManager.PASS_THROUGH
    if headers.forwarded_port:
        manager.append_x_forwarded_port = True
    if headers.keeps_case:
        manager.http_protocol_options.header_key_format.CopyFrom(_AS_WRITTEN)


def describe_caller(manager: HttpConnectionManager, headers: Headers) -> None:
    """To a sidecar's app: by which certificate it came."""
    details = HttpConnectionManager.ForwardClientCertDetails
    manager.forward_client_cert_details = details.Value(headers.certificate)
    for part in sorted(headers.certificate_parts):
        if part == "subject":
            manager.set_current_client_cert_details.subject.value = True
        else:
            setattr(manager.set_current_client_cert_details, part, True)


def build_virtual_host(name: str, domains: Iterable[str], routes: Iterable[Route], headers: Headers) -> VirtualHost:
    host = VirtualHost(name=name, domains=domains, routes=routes, include_request_attempt_count=headers.attempt_count)
    for route in host.routes if headers.forwarded_host else ():
        if route.HasField("route"):
            route.route.append_x_forwarded_host = True
    return host


def keep_case(cluster: Cluster) -> None:
    """Of HTTP/1.1 headers, as they came."""
    options = HttpProtocolOptions()
    if _HTTP_OPTIONS in cluster.typed_extension_protocol_options:
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].Unpack(options)
    match options.WhichOneof("upstream_protocol_options"):
        case "use_downstream_protocol_config":
            http1 = options.use_downstream_protocol_config.http_protocol_options
        case "auto_config":
            http1 = options.auto_config.http_protocol_options
        case _ if options.explicit_http_config.HasField("http2_protocol_options"):
            return
        case _:
            http1 = options.explicit_http_config.http_protocol_options
    http1.header_key_format.CopyFrom(_AS_WRITTEN)
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
