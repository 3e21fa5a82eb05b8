"""Faults that a route makes, and which pages of other origins it lets in.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPFaultInjection and #CorsPolicy
"""

from __future__ import annotations

from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.http_headers import check_header_value
from pilotfish.config.checks.http_match import check_header_name, check_string
from pilotfish.config.grpc import STATUSES
from pilotfish.config.istio.virtual_service import (
    Abort,
    CorsPolicy,
    Delay,
    HTTPFaultInjection,
    Percent,
)
from pilotfish.config.report import Report

_METHODS = ("*", "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
_LEAST_PERCENT = 0.0001
"""Envoy counts in millionths."""


def check_percent(percent: Percent | None, field: str, report: Report) -> None:
    if percent is None or percent.value == 0 or _LEAST_PERCENT <= percent.value <= 100:
        return
    report.invalid(field, f"{percent.value:g} is no percentage", f"write 0, or a number from {_LEAST_PERCENT} to 100")


def check_status(status: int, field: str, report: Report) -> None:
    """Of an answer that Envoy makes itself. Istio takes 600, too, and Envoy refuses it."""
    if status == 600:
        report.unsupported(field, "the status 600, of which Envoy knows nothing,", "write one from 200 to 599")
    elif not 200 <= status < 600:
        report.invalid(field, f"{status} is no status to answer with", "write one from 200 to 599")


def check_fault(fault: HTTPFaultInjection | None, field: str, report: Report) -> None:
    if fault is None:
        return
    if fault.delay is None and fault.abort is None:
        report.missing(field, "say what fault: delay, abort, or both", of=field)
    if fault.delay is not None:
        _check_delay(fault.delay, f"{field}.delay", report)
    if fault.abort is not None:
        _check_abort(fault.abort, f"{field}.abort", report)


def _check_delay(delay: Delay, field: str, report: Report) -> None:
    check_percent(delay.percentage, f"{field}.percentage", report)
    check_percent(Percent(value=delay.percent), f"{field}.percent", report)
    if delay.fixed_delay is None:
        report.missing(f"{field}.fixedDelay", "say how long", of=field)
    check_duration(delay.fixed_delay, f"{field}.fixedDelay", report)
    if not (delay.percentage.value if delay.percentage is not None else delay.percent):
        _warn_of_none(field, "delayed", report)


def _check_abort(abort: Abort, field: str, report: Report) -> None:
    check_exactly_one({"httpStatus": abort.http_status, "grpcStatus": abort.grpc_status}, field, report)
    check_percent(abort.percentage, f"{field}.percentage", report)
    if abort.http_status is not None:
        check_status(abort.http_status, f"{field}.httpStatus", report)
    if abort.grpc_status is not None and abort.grpc_status not in STATUSES:
        what, remedy = f"{abort.grpc_status!r} is no status of gRPC", f"write one of {', '.join(STATUSES)}"
        report.invalid(f"{field}.grpcStatus", what, remedy)
    if abort.percentage is None or not abort.percentage.value:
        _warn_of_none(field, "aborted", report)


def _warn_of_none(field: str, what: str, report: Report) -> None:
    """Istio's default is none, and not all."""
    text = f"no request is {what}, as there is no percentage; write percentage: {{value: 100}} for all"
    report.warning(f"{field}.percentage", "NoEffect", text)


def check_cors(policy: CorsPolicy | None, field: str, report: Report) -> None:
    if policy is None:
        return
    for index, origin in enumerate(policy.allow_origins):
        check_string(origin, f"{field}.allowOrigins[{index}]", report)
        if origin.exact == "":
            report.invalid(f"{field}.allowOrigins[{index}].exact", "no origin is empty", "write one, or * for all")
    for index, method in enumerate(policy.allow_methods):
        if method not in _METHODS:
            remedy = f"write one of {', '.join(_METHODS)}"
            report.invalid(f"{field}.allowMethods[{index}]", f"{method!r} is no method", remedy)
    for name, headers in (("allowHeaders", policy.allow_headers), ("exposeHeaders", policy.expose_headers)):
        for index, header in enumerate(headers):
            check_header_name(header, f"{field}.{name}[{index}]", report)
    for index, text in enumerate(policy.allow_origin):
        check_header_value(text, f"{field}.allowOrigin[{index}]", report)
    check_duration(policy.max_age, f"{field}.maxAge", report)
    if policy.max_age is not None and policy.max_age.nanos % 10**9:
        report.invalid(f"{field}.maxAge", f"{policy.max_age} is not a whole number of seconds", "write 1s or more")
