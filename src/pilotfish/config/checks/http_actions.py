"""What becomes of a route's requests: forwarded, redirected, or answered by the proxy.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute
"""

from __future__ import annotations

from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.http_filters import check_status
from pilotfish.config.checks.http_headers import check_header_value
from pilotfish.config.checks.names import DNS_RULE, check_port, is_dns_label, is_dns_subdomain
from pilotfish.config.checks.regex import find_fault, find_fault_in_substitution
from pilotfish.config.istio.virtual_service import (
    Delegate,
    HTTPBody,
    HTTPRedirect,
    HTTPRewrite,
    HTTPRoute,
    RegexRewrite,
)
from pilotfish.config.report import Report
from pilotfish.config.values import decode_base64

_CODES = (301, 302, 303, 307, 308)
_LARGE = 100 * 1024
_LARGEST = 1024 * 1024


def check_action(route: HTTPRoute, field: str, report: Report) -> None:
    """Exactly one of them; redirect and directResponse leave nothing to rewrite, nor a fault to make."""
    ends: dict[str, object] = {"route": route.route, "redirect": route.redirect}
    ends |= {"directResponse": route.direct_response, "delegate": route.delegate}
    given = [name for name, value in ends.items() if value]
    if not given:
        report.missing(
            f"{field}.route", "say where the requests go: route, redirect, directResponse or delegate", of=field
        )
    for name in given[1:]:
        report.invalid(f"{field}.{name}", f"{given[0]} is there already", "keep one of them")
    if route.delegate is not None:
        _check_delegate(route.delegate, f"{field}.delegate", report)
    elif not route.route and given:
        for name, value in (("fault", route.fault), ("rewrite", route.rewrite)):
            if value is not None:
                report.invalid(f"{field}.{name}", f"{given[0]} leaves no request to it", "keep one of them")
    if route.redirect is not None:
        _check_redirect(route, route.redirect, f"{field}.redirect", report)
    if route.direct_response is not None:
        check_status(route.direct_response.status, f"{field}.directResponse.status", report)
        _check_body(route.direct_response.body, f"{field}.directResponse.body", report)
    if route.rewrite is not None:
        _check_rewrite(route.rewrite, f"{field}.rewrite", report)


def _check_delegate(delegate: Delegate, field: str, report: Report) -> None:
    if not delegate.name:
        report.missing(f"{field}.name", "name a VirtualService without hosts", of=field)
    for name, value in (("name", delegate.name), ("namespace", delegate.namespace)):
        if value and not (is_dns_subdomain(value) if name == "name" else is_dns_label(value)):
            report.invalid(f"{field}.{name}", f"{value!r} is no name", DNS_RULE)


def _check_redirect(route: HTTPRoute, redirect: HTTPRedirect, field: str, report: Report) -> None:
    said = (redirect.uri, redirect.prefix_rewrite, redirect.authority, redirect.scheme)
    ports = {"port": redirect.port, "derivePort": redirect.derive_port}
    if not any(said) and not any(ports.values()):
        report.missing(field, "say where to: uri, prefixRewrite, authority, scheme, port or derivePort", of=field)
    if all(ports.values()):
        check_exactly_one(ports, field, report)
    if redirect.port is not None:
        check_port(redirect.port, f"{field}.port", report)
    if redirect.scheme not in ("", "http", "https"):
        report.invalid(f"{field}.scheme", f"{redirect.scheme!r} is no scheme", "write http or https")
    _check_code(redirect.redirect_code, f"{field}.redirectCode", report)
    for name, value in zip(("uri", "prefixRewrite", "authority"), said, strict=False):
        check_header_value(value, f"{field}.{name}", report)
    if redirect.prefix_rewrite:
        _check_prefix(route, redirect, f"{field}.prefixRewrite", report)


def _check_code(code: int, field: str, report: Report) -> None:
    if code and not 300 <= code < 400:
        report.invalid(field, f"{code} is no status of a redirect", f"write one of {', '.join(map(str, _CODES))}")
    elif code and code not in _CODES:
        report.unsupported(field, f"redirecting with {code}", f"write one of {', '.join(map(str, _CODES))}")


def _check_prefix(route: HTTPRoute, redirect: HTTPRedirect, field: str, report: Report) -> None:
    if redirect.uri:
        report.invalid(field, "uri says the whole path already", "keep one of them")
    if any(match.uri is not None and match.uri.prefix is None for match in route.match):
        report.invalid(field, "a match of the route has no prefix to replace", "match uri by prefix, or write uri")


def _check_body(body: HTTPBody | None, field: str, report: Report) -> None:
    if body is None:
        return
    check_exactly_one({"string": body.string, "bytes": body.encoded}, field, report)
    try:
        size = len((body.string or "").encode()) + len(decode_base64(body.encoded or ""))
    except ValueError:
        report.invalid(f"{field}.bytes", "it is not in base64", "encode it, or write string")
        return
    if size > _LARGEST:
        report.invalid(field, f"it has {size} bytes", f"keep it under {_LARGEST}")
    elif size > _LARGE:
        text = f"it has {size} bytes, and every proxy keeps it in memory; keep it under {_LARGE}"
        report.warning(field, "LargeBody", text)


def _check_rewrite(rewrite: HTTPRewrite, field: str, report: Report) -> None:
    if not rewrite.uri and not rewrite.authority and rewrite.uri_regex_rewrite is None:
        report.missing(field, "say what to rewrite: uri, authority or uriRegexRewrite", of=field)
    if rewrite.uri and rewrite.uri_regex_rewrite is not None:
        report.invalid(f"{field}.uri", "uriRegexRewrite rewrites it, too", "keep one of them")
    check_header_value(rewrite.uri, f"{field}.uri", report)
    check_header_value(rewrite.authority, f"{field}.authority", report)
    if rewrite.uri_regex_rewrite is not None:
        _check_regex(rewrite.uri_regex_rewrite, f"{field}.uriRegexRewrite", report)


def _check_regex(regex: RegexRewrite, field: str, report: Report) -> None:
    for name, value in (("match", regex.match), ("rewrite", regex.rewrite)):
        if not value:
            report.missing(f"{field}.{name}", of=field)
    fault = find_fault(regex.match)
    if fault:
        report.invalid(f"{field}.match", f"{fault}: {regex.match[:80]!r} is no RE2 expression", "correct it")
        return
    check_header_value(regex.rewrite, f"{field}.rewrite", report)
    if fault := find_fault_in_substitution(regex.rewrite, regex.match):
        report.invalid(f"{field}.rewrite", fault, r"write \1 to \9 for groups, and \\ for the sign itself")
