"""What a route does to headers.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Headers, and Envoy's header_parser:
it takes no operation on a pseudo-header, and refuses a route whose value has an operator that it does not know.
"""

from __future__ import annotations

from pilotfish.config.checks.access_log import find_fault
from pilotfish.config.checks.http_match import check_header_name
from pilotfish.config.headers import is_host
from pilotfish.config.istio.virtual_service import HeaderOperations, Headers, HTTPRoute
from pilotfish.config.report import Report


def check_headers(headers: Headers, field: str, report: Report) -> None:
    _check_operations(headers.request, f"{field}.request", report)
    _check_operations(headers.response, f"{field}.response", report)
    for name in (*headers.response.set, *headers.response.add, *headers.response.remove, *headers.request.remove):
        if is_host(name):
            text = f"{name} can only be set, and on requests, so this has no effect; remove it"
            report.warning(field, "NoEffect", text)


def check_one_host(route: HTTPRoute, field: str, report: Report) -> None:
    """The host that a request is sent for is said once."""
    given = [("rewrite.authority", route.rewrite.authority)] if route.rewrite and route.rewrite.authority else []
    for what, values in (("set", route.headers.request.set), ("add", route.headers.request.add)):
        given += [(f"headers.request.{what}[{name}]", value) for name, value in values.items() if is_host(name)]
    for other, _ in given[1:]:
        report.invalid(f"{field}.{other}", f"{given[0][0]} sets the host already", "keep one of them")


def check_header_value(value: str, field: str, report: Report) -> None:
    """Text that becomes a header's, or part of one."""
    if any(sign in value for sign in "\r\n\0"):
        report.invalid(field, "a header's value has one line", "remove the line break")


def _check_operations(operations: HeaderOperations, field: str, report: Report) -> None:
    for what, values in (("set", operations.set), ("add", operations.add)):
        for name, value in values.items():
            inner = f"{field}.{what}[{name}]"
            _check_name(name, inner, report)
            check_header_value(value, inner, report)
            if fault := find_fault(value):
                report.invalid(inner, *fault)
    for index, name in enumerate(operations.remove):
        _check_name(name, f"{field}.remove[{index}]", report)


def _check_name(name: str, field: str, report: Report) -> None:
    if name.startswith(":") and not is_host(name):
        what = f"{name} is no header that can be changed"
        report.invalid(field, what, "use rewrite for the path, and :authority for the host")
    elif not is_host(name):
        check_header_name(name, field, report)
