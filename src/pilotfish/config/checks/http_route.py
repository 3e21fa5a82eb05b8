"""One HTTP route: where its requests go, how often, and with what copies.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute
"""

from __future__ import annotations

from pilotfish.config.checks.destinations import check_destination, check_destinations
from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.http_actions import check_action
from pilotfish.config.checks.http_filters import check_cors, check_fault, check_percent
from pilotfish.config.checks.http_headers import check_headers, check_one_host
from pilotfish.config.checks.http_match import check_match
from pilotfish.config.istio.virtual_service import HTTPRetry, HTTPRoute, Percent
from pilotfish.config.report import Report
from pilotfish.model import Duration

_RETRY_ON = frozenset({
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
    "refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure", "cancelled",
    "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
})  # fmt: skip
"""Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter"""


def check_route(route: HTTPRoute, field: str, report: Report) -> None:
    for index, match in enumerate(route.match):
        check_match(match, f"{field}.match[{index}]", report)
    check_action(route, field, report)
    if route.route:
        check_destinations(route.route, field, "requests", report)
    for index, routed in enumerate(route.route):
        check_headers(routed.headers, f"{field}.route[{index}].headers", report)
    _check_mirrors(route, field, report)
    check_headers(route.headers, f"{field}.headers", report)
    check_one_host(route, field, report)
    check_fault(route.fault, f"{field}.fault", report)
    check_cors(route.cors_policy, f"{field}.corsPolicy", report)
    check_duration(route.timeout, f"{field}.timeout", report, may_be_zero=True)
    if route.retries is not None:
        check_retries(route.retries, f"{field}.retries", report)
        _check_try(route.retries, route.timeout, f"{field}.retries", report)


def _check_mirrors(route: HTTPRoute, field: str, report: Report) -> None:
    if route.mirror is not None:
        check_destination(route.mirror, f"{field}.mirror", report)
        if route.mirrors:
            report.invalid(f"{field}.mirrors", "mirror and mirrors are set at once", "move the first into the second")
    check_percent(route.mirror_percentage, f"{field}.mirrorPercentage", report)
    if route.mirror_percent is not None:
        check_percent(Percent(value=route.mirror_percent), f"{field}.mirrorPercent", report)
        text = "it is of old, and Istio says to write mirrorPercentage: {value: PERCENT}"
        report.warning(f"{field}.mirrorPercent", "DeprecatedField", text)
    for index, mirror in enumerate(route.mirrors):
        check_destination(mirror.destination, f"{field}.mirrors[{index}].destination", report)
        check_percent(mirror.percentage, f"{field}.mirrors[{index}].percentage", report)


def _check_try(retries: HTTPRetry, timeout: Duration | None, field: str, report: Report) -> None:
    of_one = retries.per_try_timeout
    if of_one is not None and timeout is not None and 0 < timeout.nanos <= of_one.nanos:
        text = f"the route's timeout of {timeout} ends the request before, so it has no effect; write less than that"
        report.warning(f"{field}.perTryTimeout", "Ignored", text)


def check_retries(retries: HTTPRetry, field: str, report: Report) -> None:
    if not 0 <= retries.attempts < 2**31:
        report.invalid(f"{field}.attempts", f"{retries.attempts} is out of range", "write 0 or more")
    others = (retries.per_try_timeout, retries.retry_on or None, retries.retry_remote_localities, retries.backoff)
    if retries.attempts == 0 and any(other is not None for other in others):
        what = "there are no attempts for the policy to hold for"
        report.invalid(f"{field}.attempts", what, "write 1 or more, or remove the policy")
    check_duration(retries.per_try_timeout, f"{field}.perTryTimeout", report, may_be_zero=True)
    check_duration(retries.backoff, f"{field}.backoff", report)
    for word in filter(None, (part.strip() for part in retries.retry_on.split(","))):
        if word not in _RETRY_ON and not (word.isdecimal() and 100 <= int(word) <= 599):
            remedy = f"write HTTP status codes, or some of {', '.join(sorted(_RETRY_ON))}"
            report.invalid(f"{field}.retryOn", f"{word!r} is no condition for a retry", remedy)
