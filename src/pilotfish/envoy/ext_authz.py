"""Services that are asked for authorization → Envoy's filters, for requests and for connections.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/ext_authz_filter
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.core.v3.base_pb2 import HeaderValue
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.core.v3.http_uri_pb2 import HttpUri
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import (
    AuthorizationRequest,
    AuthorizationResponse,
    BufferSettings,
    ExtAuthz,
    HttpService,
)
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz as NetworkExtAuthz
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher, StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher
from envoy.type.v3.http_status_pb2 import HttpStatus

from pilotfish.envoy.message import duration
from pilotfish.envoy.naming import outbound_cluster
from pilotfish.envoy.rbac import build_metadata, build_text
from pilotfish.model.authorization import BodyCheck, HttpCheck, Provider

SHADOW_PREFIX: Final = "istio_ext_authz_"
"""Of what the RBAC filter before notes down: which rule asks for the provider."""
_RULE_KEY: Final = f"{SHADOW_PREFIX}shadow_effective_policy_id"


def rule_prefix(provider: str) -> str:
    """What the names of the rules begin with that ask a provider."""
    return f"istio-ext-authz-{provider}"


def cluster_of_provider(provider: Provider) -> str:
    return outbound_cluster(provider.port, "", provider.host)


def build_http_check(provider: Provider) -> ExtAuthz:
    check = ExtAuthz(
        failure_mode_allow=provider.fail_open,
        filter_enabled_metadata=_asked_for(provider, "envoy.filters.http.rbac"),
        transport_api_version=ApiVersion.V3,
        clear_route_cache=provider.clear_route_cache,
    )
    if provider.status_on_error:
        check.status_on_error.CopyFrom(HttpStatus(code=provider.status_on_error))
    if provider.body is not None:
        check.with_request_body.CopyFrom(_build_body(provider.body))
    if provider.http is None:
        check.grpc_service.CopyFrom(_build_grpc(provider))
    else:
        check.http_service.CopyFrom(_build_http(provider, provider.http))
        if provider.http.shown_headers:
            check.allowed_headers.CopyFrom(_headers(provider.http.shown_headers))
    return check


def build_connection_check(provider: Provider) -> NetworkExtAuthz:
    """By gRPC alone."""
    return NetworkExtAuthz(
        stat_prefix="tcp.",
        failure_mode_allow=provider.fail_open,
        filter_enabled_metadata=_asked_for(provider, "envoy.filters.network.rbac"),
        transport_api_version=ApiVersion.V3,
        grpc_service=_build_grpc(provider),
    )


def _asked_for(provider: Provider, filter: str) -> MetadataMatcher:
    named = ValueMatcher(string_match=StringMatcher(prefix=rule_prefix(provider.name)))
    return build_metadata(filter, (_RULE_KEY,), named)


def _build_grpc(provider: Provider) -> GrpcService:
    return GrpcService(
        envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=cluster_of_provider(provider), authority=provider.host),
        timeout=duration(provider.timeout),
    )


def _build_http(provider: Provider, check: HttpCheck) -> HttpService:
    service = HttpService(
        path_prefix=check.path_prefix,
        server_uri=HttpUri(
            uri=f"http://{provider.host}",
            cluster=cluster_of_provider(provider),
            timeout=duration(provider.timeout),
        ),
    )
    if check.added_headers:
        added = [HeaderValue(key=key, value=value) for key, value in check.added_headers]
        service.authorization_request.CopyFrom(AuthorizationRequest(headers_to_add=added))
    response = AuthorizationResponse()
    for field, names in (
        (response.allowed_upstream_headers, check.to_upstream),
        (response.allowed_client_headers, check.to_client_denied),
        (response.allowed_client_headers_on_success, check.to_client_allowed),
    ):
        if names:
            field.CopyFrom(_headers(names))
    if response.ByteSize():
        service.authorization_response.CopyFrom(response)
    return service


def _build_body(body: BodyCheck) -> BufferSettings:
    return BufferSettings(max_request_bytes=body.most, allow_partial_message=body.partial, pack_as_bytes=body.as_bytes)


def _headers(names: Iterable[str]) -> ListStringMatcher:
    found = ListStringMatcher(patterns=[build_text(name) for name in names])
    for pattern in found.patterns:
        if not pattern.HasField("safe_regex"):
            pattern.ignore_case = True
    return found
