"""What `config.checks` refuses, as far as a schema can say it: never more than they refuse.

`FIELDS` and `STRUCTS` add keywords to the schema of a field and of a struct. What is not said here (that a regular
expression is one, that hosts don't overlap) the validating webhook says. So it does where a rule would be too dear: the
API server estimates all rules of a definition at the longest lists that a request can hold, and refuses a definition
that comes to too much. A DestinationRule's policies stand in four places, and leave room for the choices alone.

Sources: the checks' own, and https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from pilotfish.config import istio
from pilotfish.config.istio import (
    authorization_policy,
    common,
    destination_rule,
    request_authentication,
    service_entry,
    sidecar,
    virtual_service,
    workload_group,
)

Keywords = dict[str, Any]

_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_EITHER_CASE: Final = "^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
_PORT: Final = {"minimum": 1, "maximum": 65535}
_PORT_OR_NONE: Final = {"minimum": 0, "maximum": 65535}
_COUNT: Final = {"minimum": 0, "maximum": 2**31 - 1}
_PERCENT: Final = {"minimum": 0, "maximum": 100}
_SOME: Final = {"minLength": 1}


def _rules(*rules: tuple[str, str]) -> Keywords:
    """(CEL, message) pairs."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def _is_set(name: str) -> str:
    """`a` is set if it is there, `a[]` if the list is there and not empty."""
    field = name.removesuffix("[]")
    return f"has(self.{field})" + (f" && size(self.{field}) > 0" if name.endswith("[]") else "")


def _any(names: Iterable[str]) -> str:
    return " || ".join(map(_is_set, names))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name.removesuffix("[]") for name in names)


def _exactly_one(names: str) -> tuple[str, str]:
    return _chosen(names.split(), _is_set), f"exactly one of {_listed(names.split())} must be set"


def _at_most_one(names: str) -> tuple[str, str]:
    return _chosen(names.split(), lambda last: "true"), f"at most one of {_listed(names.split())} may be set"


def _chosen(names: list[str], last: Callable[[str], str]) -> str:
    """As nested choices: the API server counts the dearest way through a rule, and bounds it."""
    first, *rest = names
    if not rest:
        return last(first)
    return f"{_is_set(first)} ? !({_any(rest)}) : {_chosen(rest, last)}"


def _at_least_one(names: str) -> tuple[str, str]:
    return _any(names.split()), f"at least one of {_listed(names.split())} must be set"


def _not_beside(names: str, others: str) -> tuple[str, str]:
    """None of the ones together with any of the others."""
    message = f"{_listed(names.split())} may not stand beside {_listed(others.split())}"
    return f"!({_any(names.split())}) || !({_any(others.split())})", message


_CODES: Final = [0, 301, 302, 303, 307, 308]
_STRING: Final = "exact prefix regex"
_MATCH: Final = _rules(_exactly_one(_STRING))
_HEADER: Final = {"additionalProperties": _rules(_at_most_one(_STRING))}
"""`{}` is a header that is there."""
_EXPORT_TO: Final = {
    "items": {"pattern": rf"^([.*~]|{_LABEL})$"},
}
_MILLISECONDS: Final = _rules(("duration(self) >= duration('1ms')", "it must be 1ms or more"))
_MILLISECONDS_OR_NONE: Final = _rules(("duration(self) >= duration('0s')", "it must be 0s, or 1ms or more"))

_NO_BLANKS: Final = {"items": _SOME}
_STATED: Final = {"properties": {"prefix": _SOME, "regex": _SOME}, **_MATCH}
_LISTS_OF_POLICIES: Final[dict[tuple[type, str], Keywords]] = {
    (struct, field.encode_name): _NO_BLANKS
    for struct in (istio.Source, istio.Operation)
    for field in msgspec.structs.fields(struct)
}

FIELDS: Final[dict[tuple[type, str], Keywords]] = {
    (common.PortSelector, "number"): _PORT,
    (virtual_service.HTTPMatchRequest, "uri"): {"properties": {"regex": _SOME}, **_MATCH},
    (virtual_service.HTTPMatchRequest, "scheme"): _STATED,
    (virtual_service.HTTPMatchRequest, "method"): _STATED,
    (virtual_service.HTTPMatchRequest, "authority"): _STATED,
    (virtual_service.HTTPMatchRequest, "queryParams"): {"additionalProperties": _STATED},
    (virtual_service.HTTPMatchRequest, "headers"): _HEADER,
    (virtual_service.HTTPMatchRequest, "withoutHeaders"): _HEADER,
    (virtual_service.HTTPMatchRequest, "port"): _PORT_OR_NONE,
    (virtual_service.TLSMatchAttributes, "port"): _PORT_OR_NONE,
    (virtual_service.L4MatchAttributes, "port"): _PORT_OR_NONE,
    (virtual_service.HTTPRouteDestination, "weight"): {"minimum": 0},
    (virtual_service.RouteDestination, "weight"): {"minimum": 0},
    (virtual_service.HTTPRetry, "attempts"): _COUNT,
    (virtual_service.HTTPRetry, "perTryTimeout"): _MILLISECONDS_OR_NONE,
    (virtual_service.HTTPRetry, "backoff"): _MILLISECONDS,
    (virtual_service.HTTPRoute, "timeout"): _MILLISECONDS_OR_NONE,
    (virtual_service.HTTPRedirect, "port"): _PORT,
    (virtual_service.HTTPRedirect, "redirectCode"): {"enum": _CODES},
    (virtual_service.HTTPRedirect, "scheme"): {"enum": ["", "http", "https"]},
    (virtual_service.HTTPDirectResponse, "status"): {"minimum": 200, "maximum": 599},
    (virtual_service.Percent, "value"): _PERCENT,
    (virtual_service.HTTPRoute, "mirrorPercent"): _PERCENT,
    (virtual_service.Abort, "httpStatus"): {"minimum": 200, "maximum": 599},
    (virtual_service.RegexRewrite, "match"): _SOME,
    (virtual_service.RegexRewrite, "rewrite"): _SOME,
    (virtual_service.Delegate, "name"): _SOME,
    (virtual_service.TLSRoute, "match"): {"minItems": 1},
    (virtual_service.TLSRoute, "route"): {"minItems": 1},
    (virtual_service.TCPRoute, "route"): {"minItems": 1},
    (virtual_service.TLSMatchAttributes, "sniHosts"): {"minItems": 1},
    (virtual_service.VirtualServiceSpec, "exportTo"): _EXPORT_TO,
    (destination_rule.DestinationRuleSpec, "exportTo"): _EXPORT_TO,
    (destination_rule.DestinationRuleSpec, "host"): _SOME,
    (destination_rule.Subset, "name"): {"pattern": _EITHER_CASE},
    (destination_rule.TCPKeepalive, "probes"): {"minimum": 0, "maximum": 127},
    (destination_rule.TCPSettings, "maxConnections"): _COUNT,
    (destination_rule.HTTPSettings, "http1MaxPendingRequests"): _COUNT,
    (destination_rule.HTTPSettings, "http2MaxRequests"): _COUNT,
    (destination_rule.HTTPSettings, "maxRequestsPerConnection"): _COUNT,
    (destination_rule.HTTPSettings, "maxRetries"): _COUNT,
    (destination_rule.HTTPSettings, "maxConcurrentStreams"): _COUNT,
    (destination_rule.RetryBudget, "percent"): _PERCENT,
    (destination_rule.RetryBudget, "minRetryConcurrency"): _COUNT,
    (destination_rule.HTTPCookie, "name"): _SOME,
    (destination_rule.Warmup, "duration"): _MILLISECONDS,
    (destination_rule.Warmup, "minimumPercent"): _PERCENT,
    (destination_rule.Warmup, "aggression"): {"minimum": 1},
    (destination_rule.LocalityDistribution, "to"): {"additionalProperties": {"minimum": 1, "maximum": 100}},
    (destination_rule.OutlierDetection, "maxEjectionPercent"): _PERCENT,
    (destination_rule.OutlierDetection, "minHealthPercent"): _PERCENT,
    (service_entry.ServiceEntrySpec, "hosts"): {"minItems": 1},
    (service_entry.ServiceEntrySpec, "exportTo"): _EXPORT_TO,
    (service_entry.ServiceEntryPort, "number"): _PORT,
    (service_entry.ServiceEntryPort, "targetPort"): _PORT_OR_NONE,
    (istio.WorkloadEntrySpec, "ports"): {"additionalProperties": _PORT},
    (istio.WorkloadEntrySpec, "weight"): _COUNT,
    (istio.GatewayPort, "number"): _PORT_OR_NONE,
    (istio.GatewaySpec, "servers"): {"minItems": 1},
    (istio.Server, "hosts"): {"minItems": 1},
    (sidecar.SidecarPort, "number"): _PORT_OR_NONE,
    (sidecar.IstioEgressListener, "hosts"): {"minItems": 1},
    (workload_group.HTTPHealthCheckConfig, "port"): _PORT,
    (workload_group.TCPHealthCheckConfig, "port"): _PORT,
    **{(workload_group.ReadinessProbe, f"{name}Seconds"): _COUNT for name in ("initialDelay", "timeout", "period")},
    (workload_group.ReadinessProbe, "successThreshold"): _COUNT,
    (workload_group.ReadinessProbe, "failureThreshold"): _COUNT,
    **_LISTS_OF_POLICIES,
    (istio.Condition, "key"): _SOME,
    (istio.Condition, "values"): _NO_BLANKS,
    (istio.Condition, "notValues"): _NO_BLANKS,
    (authorization_policy.PolicyProvider, "name"): _SOME,
    (istio.JWTRule, "fromParams"): _NO_BLANKS,
    (istio.JWTRule, "fromCookies"): _NO_BLANKS,
    (request_authentication.JWTHeader, "name"): _SOME,
    (request_authentication.ClaimToHeader, "header"): _SOME,
    (request_authentication.ClaimToHeader, "claim"): _SOME,
    (istio.PolicyTargetReference, "name"): _SOME,
    (istio.PolicyTargetReference, "namespace"): {"maxLength": 0},
}

_SELECTION: Final = _at_most_one("selector targetRef targetRefs[]")

STRUCTS: Final[dict[type, Keywords]] = {
    virtual_service.HTTPRoute: _rules(
        _exactly_one("route[] redirect directResponse delegate"),
        _not_beside("redirect directResponse", "fault rewrite"),
    ),
    virtual_service.HTTPBody: _rules(_exactly_one("string bytes")),
    virtual_service.VirtualServiceSpec: _rules(_at_least_one("http[] tls[] tcp[]")),
    virtual_service.RegexRewrite: {"required": ["match", "rewrite"]},
    virtual_service.Delegate: {"required": ["name"]},
    virtual_service.TLSRoute: {"required": ["match", "route"]},
    virtual_service.TCPRoute: {"required": ["route"]},
    virtual_service.TLSMatchAttributes: {"required": ["sniHosts"]},
    destination_rule.ConnectionPoolSettings: _rules(_at_least_one("tcp http")),
    destination_rule.HTTP2KeepAlive: {"required": ["interval", "timeout"]},
    destination_rule.LoadBalancerSettings: _rules(
        _at_most_one("simple consistentHash backendUtilization"),
        _not_beside("zoneAwareLbSetting", "localityLbSetting"),
        _not_beside("warmup", "warmupDurationSecs"),
    ),
    destination_rule.ConsistentHashLB: _rules(
        _at_most_one("httpHeaderName httpCookie useSourceIp httpQueryParameterName"),
        _not_beside("ringHash", "maglev"),
    ),
    destination_rule.Warmup: {"required": ["duration"]},
    sidecar.IstioIngressListener: {"required": ["port"]},
    sidecar.IstioEgressListener: {"required": ["hosts"]},
    workload_group.ReadinessProbe: _rules(_exactly_one("exec httpGet tcpSocket grpc")),
    authorization_policy.RuleFrom: {"required": ["source"]},
    authorization_policy.RuleTo: {"required": ["operation"]},
    authorization_policy.PolicyProvider: {"required": ["name"]},
    istio.Condition: {"required": ["key"]},
    request_authentication.JWTHeader: {"required": ["name"]},
    request_authentication.ClaimToHeader: {"required": ["header", "claim"]},
    istio.PolicyTargetReference: {"required": ["name"]},
    istio.AuthorizationPolicySpec: _rules(
        _SELECTION,
        (
            "(has(self.action) && self.action == 'CUSTOM') == has(self.provider)",
            "provider stands with CUSTOM, and with it alone",
        ),
    ),
    istio.RequestAuthenticationSpec: _rules(_SELECTION),
}
