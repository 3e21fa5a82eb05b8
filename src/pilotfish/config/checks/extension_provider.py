"""Services that are asked for authorization.

A provider that can't be used takes nothing else of the meshConfig with it: what its policies cover is refused.
Source: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from pilotfish.config.mesh import ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider
from pilotfish.config.report import Report

_CONSEQUENCE: Final = "what the policies that name the provider cover is refused"
_STATUSES: Final = frozenset(HTTPStatus) - {100, 101, 102, 103}


def check_extension_providers(providers: tuple[ExtensionProvider, ...], field: str, report: Report) -> None:
    for index, provider in enumerate(providers):
        for name, fault in find_faults(provider, providers):
            report.warning(f"{field}[{index}]{name}", "UnusableProvider", f"{fault}: {_CONSEQUENCE}; correct it")


def find_faults(provider: ExtensionProvider, all_of_them: tuple[ExtensionProvider, ...]) -> Iterator[tuple[str, str]]:
    """(field within the provider, what is wrong)."""
    if not provider.name:
        yield ".name", "the provider has no name"
    elif sum(each.name == provider.name for each in all_of_them) > 1:
        yield ".name", f"there are several providers of the name {provider.name!r}"
    grpc, http = provider.envoy_ext_authz_grpc, provider.envoy_ext_authz_http
    if grpc is not None and http is not None:
        yield "", "envoyExtAuthzGrpc and envoyExtAuthzHttp are set at once"
    if grpc is not None:
        yield from _faults_of(grpc, ".envoyExtAuthzGrpc")
    if http is not None:
        yield from _faults_of(http, ".envoyExtAuthzHttp")
        if http.path_prefix and not http.path_prefix.startswith("/"):
            yield ".envoyExtAuthzHttp.pathPrefix", f"{http.path_prefix!r} does not begin with /"


def _faults_of(asked: ExtAuthzGrpc | ExtAuthzHttp, field: str) -> Iterator[tuple[str, str]]:
    if not asked.service or asked.service.count("/") > 1:
        yield f"{field}.service", f"{asked.service!r} is neither HOST nor NAMESPACE/HOST"
    if not 1 <= asked.port <= 65535:
        yield f"{field}.port", f"{asked.port} is no port"
    if asked.timeout is not None and asked.timeout.nanos < 10**6:
        yield f"{field}.timeout", f"{asked.timeout} is too short"
    if asked.status_on_error and parse_status(asked.status_on_error) is None:
        yield f"{field}.statusOnError", f"{asked.status_on_error!r} is no status"
    body = asked.include_request_body_in_check
    if body is not None and not 1 <= body.max_request_bytes < 2**32:
        yield f"{field}.includeRequestBodyInCheck.maxRequestBytes", f"{body.max_request_bytes} is no size"


def parse_status(text: str) -> int | None:
    """One that Envoy answers with."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) == 3 else 0
    return number if number in _STATUSES else None
