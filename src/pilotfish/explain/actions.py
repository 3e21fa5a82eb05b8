"""What a route does with a request that it takes: where a redirect leads, how a forwarded request is rewritten, and
what is said of it without changing its way.

Source: Envoy 1.40, RedirectAction and RouteAction in api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import re2
from envoy.config.route.v3.route_components_pb2 import RedirectAction, Route, RouteAction, WeightedCluster

from pilotfish.explain.call import HttpRequest

_CODES: Final = {
    RedirectAction.MOVED_PERMANENTLY: 301,
    RedirectAction.FOUND: 302,
    RedirectAction.SEE_OTHER: 303,
    RedirectAction.TEMPORARY_REDIRECT: 307,
    RedirectAction.PERMANENT_REDIRECT: 308,
}
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


def redirect(route: Route, request: HttpRequest) -> tuple[int, str]:
    """(status, location)."""
    action = route.redirect
    scheme = action.scheme_redirect or ("https" if action.https_redirect else request.scheme)
    host, _, port = request.host.partition(":")
    host = action.host_redirect or host
    if action.port_redirect:
        port = str(action.port_redirect)
    elif action.scheme_redirect or action.https_redirect:
        # The port that stands for the old scheme is left out with it.
        port = "" if port == _DEFAULT_PORTS.get(request.scheme) else port
    port = "" if action.host_redirect and not action.port_redirect else port
    path = _rewritten(action, route, request.path, action.path_redirect)
    if action.strip_query:
        path = path.partition("?")[0]
    return _CODES.get(action.response_code, 301), f"{scheme}://{host}{':' if port else ''}{port}{path}"


def rewrite(route: Route, request: HttpRequest, chosen: WeightedCluster.ClusterWeight | None) -> HttpRequest:
    """As it is sent on."""
    action = route.route
    host = (chosen.host_rewrite_literal if chosen is not None else "") or action.host_rewrite_literal or request.host
    return replace(request, host=host, path=_rewritten(action, route, request.path, action.path_rewrite))


def _rewritten(action: RedirectAction | RouteAction, route: Route, path: str, whole: str) -> str:
    only, mark, query = path.partition("?")
    if whole:
        return whole if "?" in whole else f"{whole}{mark}{query}"
    if action.prefix_rewrite:
        matched = _matched(route.match, only)
        return f"{action.prefix_rewrite}{only[len(matched) :]}{mark}{query}"
    if action.HasField("regex_rewrite"):
        pattern = action.regex_rewrite
        return f"{re2.sub(pattern.pattern.regex, pattern.substitution, only)}{mark}{query}"
    return path


def _matched(match: Any, path: str) -> str:
    kind = match.WhichOneof("path_specifier")
    if kind in ("prefix", "path", "path_separated_prefix"):
        return path[: len(getattr(match, kind))]
    return path


def describe(route: Route) -> Mapping[str, object]:
    """What else the route says: evidence."""
    action = route.route
    policy = action.retry_policy
    mirrors = [
        f"{each.cluster} ({_percent(each.runtime_fraction.default_value)})" for each in action.request_mirror_policies
    ]
    return {
        "timeout": _seconds(action.timeout) if action.HasField("timeout") else "",
        "retries": f"{policy.num_retries.value} on {policy.retry_on}" if policy.retry_on else "",
        "mirrors": mirrors,
        "hash": [each.WhichOneof("policy_specifier") or "" for each in action.hash_policy],
    }


def _seconds(value: Any) -> str:
    whole = value.seconds + value.nanos / 1e9
    return f"{whole:g} s" if whole else "none"


def _percent(fraction: Any) -> str:
    return f"{percent(fraction):g} %"


def percent(fraction: Any) -> float:
    """Of an envoy.type.v3.FractionalPercent."""
    return float(fraction.numerator) * 100.0 / (100, 10_000, 1_000_000)[fraction.denominator]
