"""What the HTTP filters of a manager do with a request before its route acts, but for those that guard it.

A filter that is not read here may do anything: it is named, and what comes behind it is unknown, told as it is if the
filter lets the request pass.
Sources: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/fault_filter and cors_filter
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from envoy.config.route.v3.route_components_pb2 import FilterConfig, Route, VirtualHost
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf.any_pb2 import Any as AnyMessage

from pilotfish.explain.actions import percent
from pilotfish.explain.call import HttpRequest
from pilotfish.explain.guards import is_guard
from pilotfish.explain.matchers import Holds, match_string
from pilotfish.explain.trace import Branch, End, Stage, Verdict
from pilotfish.explain.written import written

_FAULT: Final = "envoy.filters.http.fault"
_CORS: Final = "envoy.filters.http.cors"
_PASSING: Final = frozenset(
    {
        "envoy.filters.http.router",
        "envoy.filters.http.dynamic_forward_proxy",
        "envoy.filters.http.grpc_stats",
        "envoy.filters.http.grpc_web",
        "envoy.filters.http.header_to_metadata",
        "istio.alpn",
        "istio.metadata_exchange",
        "istio.stats",
        "istio_authn",
        "envoy.filters.http.peer_metadata",
    }
)
"""They let every request pass, and change nothing that a choice depends on."""
_HTTP_OF_GRPC: Final = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501,
    13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip
"""https://www.envoyproxy.io/docs/envoy/v1.40.0, source/common/grpc/status.cc"""


@dataclass(frozen=True, slots=True)
class Routed:
    """A request and the route that it has."""

    request: HttpRequest
    host: VirtualHost
    route: Route


def pass_filters(branch: Branch, manager: HttpConnectionManager, routed: Routed) -> Branch | None:
    """The branch behind all filters; None where none comes so far. What ends in a filter is ended here."""
    for each in (each for each in manager.http_filters if not is_guard(each.typed_config)):
        name = each.name
        config = _config(name, routed)
        if config == "disabled" or (each.disabled and config is None):
            continue
        if name == _FAULT:
            left = _fault(branch, config, each.typed_config, routed)
        elif name == _CORS:
            left = _cors(branch, config, routed)
        elif name in _PASSING or (name.startswith("envoy.filters.http.rbac") and _is_empty(each, config)):
            continue
        else:
            left = branch.step(Stage.HTTP_FILTER, name, verdict=Verdict.UNKNOWN).doubt(name)
        if left is None:
            return None
        branch = left
    return branch


def _config(name: str, routed: Routed) -> AnyMessage | str | None:
    """The most specific that a route or its host has for the filter; `disabled` where one says so."""
    for place in (routed.route, routed.host):
        if name in place.typed_per_filter_config:
            found: AnyMessage = place.typed_per_filter_config[name]
            if found.Is(FilterConfig.DESCRIPTOR):
                wrapped = FilterConfig.FromString(found.value)
                if wrapped.disabled:
                    return "disabled"
                found = wrapped.config
            return found
    return None


def _is_empty(found: Any, config: AnyMessage | str | None) -> bool:
    return not found.typed_config.value and config is None


def _fault(branch: Branch, config: AnyMessage | str | None, default: AnyMessage, routed: Routed) -> Branch | None:
    said = written(routed.route)
    message = config if isinstance(config, AnyMessage) else default
    fault = HTTPFault.FromString(message.value)
    evidence: dict[str, object] = {}
    if fault.HasField("delay") and (late := percent(fault.delay.percentage)):
        seconds = fault.delay.fixed_delay.seconds + fault.delay.fixed_delay.nanos / 1e9
        evidence["delay"] = f"{seconds:g} s for {late:g} %"
    share = percent(fault.abort.percentage) / 100.0 if fault.HasField("abort") else 0.0
    if not share:
        delay = said.rule("fault.delay")
        return branch.step(Stage.HTTP_FILTER, _FAULT, evidence=evidence, written=delay) if evidence else branch
    status, shown = _aborted(fault, routed.request)
    abort = said.rule("fault.abort")
    stopped = branch.step(Stage.HTTP_FILTER, _FAULT, share=share, evidence={"abort": shown} | evidence, written=abort)
    stopped.end(End.RESPONSE, f"the route's fault answers {shown}", status=status, flag="FI")
    if share >= 1.0:
        return None
    missed = {"abort": "not this time"} | evidence
    return branch.step(Stage.HTTP_FILTER, _FAULT, share=1.0 - share, evidence=missed, written=abort)


def _aborted(fault: HTTPFault, request: HttpRequest) -> tuple[int, str]:
    if fault.abort.WhichOneof("error_type") != "grpc_status":
        return fault.abort.http_status, str(fault.abort.http_status)
    code = fault.abort.grpc_status
    return (200 if request.is_grpc else _HTTP_OF_GRPC.get(code, 500)), f"grpc-status {code}"


def _cors(branch: Branch, config: AnyMessage | str | None, routed: Routed) -> Branch | None:
    request = routed.request
    origin = request.headers.get("origin")
    asks = request.method == "OPTIONS" and "access-control-request-method" in request.headers
    if not isinstance(config, AnyMessage) or origin is None or not asks:
        return branch
    policy = CorsPolicy.FromString(config.value)
    allowed = any(match_string(each, origin) is Holds.YES for each in policy.allow_origin_string_match)
    if not allowed and (policy.forward_not_matching_preflights.value or not _has(policy)):
        return branch
    said = "allowed" if allowed else "not allowed"
    decided = written(routed.route).rule("corsPolicy")
    done = branch.step(Stage.HTTP_FILTER, _CORS, evidence={"origin": f"{origin} is {said}"}, written=decided)
    done.end(End.RESPONSE, f"the route's CORS policy answers the preflight: {said}", status=200)
    return None


def _has(policy: CorsPolicy) -> bool:
    return bool(policy.HasField("forward_not_matching_preflights"))
