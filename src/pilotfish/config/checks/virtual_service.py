"""Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pilotfish.config.checks.connection_routes import check_connection_routes
from pilotfish.config.checks.destinations import check_destinations
from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.hosts import check_export_to, check_host, overlap
from pilotfish.config.checks.names import check_port
from pilotfish.config.checks.regex import find_fault
from pilotfish.config.istio import (
    HTTPMatchRequest,
    HTTPRetry,
    HTTPRoute,
    StringMatch,
    VirtualServiceSpec,
)
from pilotfish.config.report import Report

_HEADER_NAME = re.compile(r":?[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_RETRY_ON = frozenset({
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
    "refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure", "cancelled",
    "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
})  # fmt: skip
"""Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter"""


def check_virtual_service(spec: VirtualServiceSpec, report: Report) -> None:
    in_mesh = not spec.gateways or "mesh" in spec.gateways
    _check_hosts(spec.hosts, not in_mesh, report)
    for index, gateway in enumerate(spec.gateways):
        if gateway != "mesh":
            _report_gateway(gateway, f"spec.gateways[{index}]", in_mesh, report)
    check_export_to(spec.export_to, report)
    if not (spec.http or spec.tls or spec.tcp):
        report.missing("spec.http", "write a route (or spec.tls, or spec.tcp)", of="spec")
    for index, route in enumerate(spec.http):
        _check_route(route, f"spec.http[{index}]", report)
    check_connection_routes(spec, report)


def _report_gateway(gateway: str, field: str, in_mesh: bool, report: Report) -> None:
    """What holds in the mesh as well, holds there."""
    if in_mesh:
        what = f"the gateway {gateway!r} is not supported yet, so these routes hold for calls from pod to pod alone"
        report.warning(field, "UnsupportedField", what)
    else:
        remedy = "remove it, or write mesh: the routes then hold for calls from pod to pod"
        report.unsupported(field, f"the gateway {gateway!r}", remedy)


def _check_hosts(hosts: tuple[str, ...], behind_gateway: bool, report: Report) -> None:
    """`*` is right behind a gateway; that the gateway is not supported is said elsewhere."""
    if not hosts:
        report.unsupported("spec.hosts", "a VirtualService without hosts (a delegate)", "name its hosts")
    for index, host in enumerate(hosts):
        if not (behind_gateway and host == "*"):
            check_host(host, f"spec.hosts[{index}]", report)
        for earlier in hosts[:index]:
            if "*" not in (host, earlier) and overlap(*(h.lower().removesuffix(".") for h in (host, earlier))):
                what = f"{host!r} and {earlier!r} match the same requests"
                report.invalid(f"spec.hosts[{index}]", what, "keep one of them")
                break


def _check_route(route: HTTPRoute, field: str, report: Report) -> None:
    for index, match in enumerate(route.match):
        _check_match(match, f"{field}.match[{index}]", report)
    check_destinations(route.route, field, "requests", report)
    check_duration(route.timeout, f"{field}.timeout", report, may_be_zero=True)
    if route.retries is not None:
        _check_retries(route.retries, f"{field}.retries", report)


def _check_retries(retries: HTTPRetry, field: str, report: Report) -> None:
    if not 0 <= retries.attempts < 2**31:
        report.invalid(f"{field}.attempts", f"{retries.attempts} is out of range", "write 0 or more")
    if retries.attempts == 0 and (retries.per_try_timeout is not None or retries.retry_on):
        what = "there are no attempts for the policy to hold for"
        report.invalid(f"{field}.attempts", what, "write 1 or more, or remove the policy")
    check_duration(retries.per_try_timeout, f"{field}.perTryTimeout", report, may_be_zero=True)
    for word in filter(None, (part.strip() for part in retries.retry_on.split(","))):
        if word not in _RETRY_ON and not (word.isdecimal() and 100 <= int(word) <= 599):
            remedy = f"write HTTP status codes, or some of {', '.join(sorted(_RETRY_ON))}"
            report.invalid(f"{field}.retryOn", f"{word!r} is no condition for a retry", remedy)


def _check_match(match: HTTPMatchRequest, field: str, report: Report) -> None:
    for name, string in (("scheme", match.scheme), ("method", match.method), ("authority", match.authority)):
        _check_string(string, f"{field}.{name}", report)
    _check_string(match.uri, f"{field}.uri", report, empty_prefix=True)
    _check_headers(match.headers, f"{field}.headers", report)
    _check_headers(match.without_headers, f"{field}.withoutHeaders", report, any_value=True)
    for name, string in match.query_params.items():
        _check_string(string, f"{field}.queryParams[{name}]", report)
    if match.port:
        check_port(match.port, f"{field}.port", report)


def _check_headers(headers: Mapping[str, StringMatch], field: str, report: Report, *, any_value: bool = False) -> None:
    """`{}` matches a header that is there. `any_value`: so does the regex `*`, by a rule of its own of Istio's."""
    for name, string in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            report.invalid(f"{field}[{name}]", f"{name!r} is no name of a header", "use letters, digits and dashes")
        if string != StringMatch() and not (any_value and string.regex == "*"):
            _check_string(string, f"{field}[{name}]", report)


def _check_string(string: StringMatch | None, field: str, report: Report, *, empty_prefix: bool = False) -> None:
    if string is None:
        return
    check_exactly_one({"exact": string.exact, "prefix": string.prefix, "regex": string.regex}, field, report)
    if string.prefix == "" and not empty_prefix:
        report.invalid(f"{field}.prefix", "an empty prefix matches everything", "write one, or remove the match")
    if string.regex is not None:
        fault = find_fault(string.regex) if string.regex else "it is empty"
        if fault:
            report.invalid(f"{field}.regex", f"{fault}: {string.regex[:80]!r} is no RE2 expression", "correct it")
