"""DestinationRules of one host → its policy in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pilotfish.config import istio
from pilotfish.model import ObjectRef
from pilotfish.model.traffic_policy import (
    ConnectionPool,
    DestinationPolicy,
    LoadBalancer,
    OutlierDetection,
    PolicyByPort,
    Subset,
    TrafficPolicy,
)

_NOTHING: Final = istio.TrafficPolicy()


def lower_destination_rules(rules: Sequence[tuple[ObjectRef, istio.DestinationRuleSpec]]) -> DestinationPolicy:
    """The first gives the policy of the whole service; each adds its subsets, the first of a name counts."""
    base = next((spec.traffic_policy for _, spec in rules), None) or _NOTHING
    subsets = {s.name: s for _, spec in reversed(rules) for s in reversed(spec.subsets)}
    policy = _by_port(base, _NOTHING)
    return DestinationPolicy(
        refs=tuple(ref for ref, _ in rules),
        policy=policy,
        subsets=tuple(
            Subset(
                name,
                tuple(sorted(subsets[name].labels.items())),
                _by_port(base, own) if (own := subsets[name].traffic_policy) is not None else policy,
            )
            for name in sorted(subsets)
        ),
    )


def _by_port(base: istio.TrafficPolicy, over: istio.TrafficPolicy) -> PolicyByPort:
    """The port's settings over the subset's over the rule's."""
    ports = {p.port.number for policy in (base, over) for p in policy.port_level_settings}
    return PolicyByPort(
        _lower(_merge(base, over)),
        tuple((port, _lower(_merge(_for_port(base, port), _for_port(over, port)))) for port in sorted(ports)),
    )


def _for_port(policy: istio.TrafficPolicy, port: int) -> istio.TrafficPolicy:
    """A port's settings replace the whole policy of their level, as in Istio."""
    own = next((p for p in policy.port_level_settings if p.port.number == port), None)
    if own is None:
        return policy
    return istio.TrafficPolicy(
        connection_pool=own.connection_pool, load_balancer=own.load_balancer, outlier_detection=own.outlier_detection
    )


def _merge(base: istio.TrafficPolicy, over: istio.TrafficPolicy) -> istio.TrafficPolicy:
    """Each of the three settings as a whole: `over`'s if it has one."""
    return msgspec.structs.replace(
        base,
        connection_pool=over.connection_pool or base.connection_pool,
        load_balancer=over.load_balancer or base.load_balancer,
        outlier_detection=over.outlier_detection or base.outlier_detection,
    )


def _lower(policy: istio.TrafficPolicy) -> TrafficPolicy:
    return TrafficPolicy(
        _load_balancer(policy.load_balancer),
        _connection_pool(policy.connection_pool),
        _outlier_detection(policy.outlier_detection) if policy.outlier_detection is not None else None,
    )


_LOAD_BALANCERS: Final = {
    "UNSPECIFIED": LoadBalancer.LEAST_REQUEST,
    "LEAST_REQUEST": LoadBalancer.LEAST_REQUEST,
    "LEAST_CONN": LoadBalancer.LEAST_REQUEST,
    "ROUND_ROBIN": LoadBalancer.ROUND_ROBIN,
    "RANDOM": LoadBalancer.RANDOM,
    "PASSTHROUGH": LoadBalancer.PASSTHROUGH,
}


def _load_balancer(settings: istio.LoadBalancerSettings | None) -> LoadBalancer:
    return _LOAD_BALANCERS[settings.simple if settings is not None else "UNSPECIFIED"]


def _connection_pool(settings: istio.ConnectionPoolSettings | None) -> ConnectionPool:
    """A limit of 0 is none."""
    tcp = (settings.tcp if settings is not None else None) or istio.TCPSettings()
    http = (settings.http if settings is not None else None) or istio.HTTPSettings()
    return ConnectionPool(
        max_connections=tcp.max_connections or None,
        connect_timeout=tcp.connect_timeout,
        max_pending_requests=http.http1_max_pending_requests or None,
        max_requests=http.http2_max_requests or None,
        max_retries=http.max_retries or None,
        max_requests_per_connection=http.max_requests_per_connection or None,
        idle_timeout=http.idle_timeout,
    )


def _outlier_detection(settings: istio.OutlierDetection) -> OutlierDetection:
    """What a user does not ask for is switched off, but for five errors in a row: Istio's defaults."""
    errors = settings.consecutive_5xx_errors
    return OutlierDetection(
        consecutive_5xx_errors=5 if errors is None else errors,
        consecutive_gateway_errors=settings.consecutive_gateway_errors or 0,
        interval=settings.interval,
        base_ejection_time=settings.base_ejection_time,
        max_ejection_percent=settings.max_ejection_percent or None,
        min_health_percent=settings.min_health_percent or 0,
    )
