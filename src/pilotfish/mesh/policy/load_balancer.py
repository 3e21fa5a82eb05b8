"""How endpoints are chosen, as a DestinationRule says it → in neutral form.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#LoadBalancerSettings
"""

from __future__ import annotations

from typing import Final

from pilotfish.config import istio
from pilotfish.model.traffic_policy import ConsistentHash, Cookie, HashKey, LoadBalancer, Utilization, Warmup

_SIMPLE: Final = {
    None: LoadBalancer.LEAST_REQUEST,
    "UNSPECIFIED": LoadBalancer.LEAST_REQUEST,
    "LEAST_REQUEST": LoadBalancer.LEAST_REQUEST,
    "LEAST_CONN": LoadBalancer.LEAST_REQUEST,
    "ROUND_ROBIN": LoadBalancer.ROUND_ROBIN,
    "RANDOM": LoadBalancer.RANDOM,
    "PASSTHROUGH": LoadBalancer.PASSTHROUGH,
}
_WARMING: Final = (LoadBalancer.LEAST_REQUEST, LoadBalancer.ROUND_ROBIN)


def lower_load_balancer(
    settings: istio.LoadBalancerSettings,
) -> tuple[LoadBalancer, ConsistentHash | None, Warmup | None]:
    source = settings.consistent_hash
    if settings.backend_utilization is not None:
        return LoadBalancer.UTILIZATION, None, None
    if source is None:
        simple = _SIMPLE[settings.simple]
        return simple, None, _warmup(settings) if simple in _WARMING else None
    if source.maglev is not None:
        return LoadBalancer.MAGLEV, ConsistentHash(_key(source), source.maglev.table_size or None), None
    size = source.ring_hash.minimum_ring_size if source.ring_hash is not None else source.minimum_ring_size
    return LoadBalancer.RING_HASH, ConsistentHash(_key(source), size or None), None


def lower_utilization(source: istio.BackendUtilizationLB) -> Utilization:
    return Utilization(
        source.weight_stabilization_period,
        source.weight_expiration_period,
        source.weight_update_period,
        source.error_utilization_penalty_percent / 100,
        source.metric_names_for_computing_utilization,
    )


def _key(source: istio.ConsistentHashLB) -> HashKey | None:
    if source.http_header_name:
        return HashKey(header=source.http_header_name.lower())
    if source.http_query_parameter_name:
        return HashKey(query_param=source.http_query_parameter_name)
    if source.http_cookie is not None:
        return HashKey(cookie=_cookie(source.http_cookie))
    return HashKey(source_ip=True) if source.use_source_ip else None


def _cookie(source: istio.HTTPCookie) -> Cookie:
    return Cookie(source.name, source.path, source.ttl, tuple((a.name, a.value) for a in source.attributes))


def _warmup(settings: istio.LoadBalancerSettings) -> Warmup | None:
    if settings.warmup is None or settings.warmup.duration is None:
        return Warmup(settings.warmup_duration_secs) if settings.warmup_duration_secs is not None else None
    given = settings.warmup
    default = Warmup(settings.warmup.duration)
    return Warmup(
        settings.warmup.duration,
        default.minimum_percent if given.minimum_percent is None else given.minimum_percent,
        default.aggression if given.aggression is None else given.aggression,
    )
