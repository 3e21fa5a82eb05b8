"""Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#LoadBalancerSettings"""

from __future__ import annotations

import re
from math import inf

from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.locality import check_locality, check_zones
from pilotfish.config.checks.names import check_at_least, check_unique
from pilotfish.config.istio.destination_rule import (
    BackendUtilizationLB,
    ConsistentHashLB,
    HTTPCookie,
    LoadBalancerSettings,
    Warmup,
)
from pilotfish.config.report import Report
from pilotfish.model import Duration

_OFTENEST = Duration(10**8)
_LARGEST_RING = 8 * 2**20
_LARGEST_TABLE = 5_000_011
"""Of Envoy's: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/cluster/v3/cluster.proto"""

_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
"""A token of RFC 9110, as which header and cookie names are written."""


def check_load_balancer(balancer: LoadBalancerSettings, field: str, report: Report) -> None:
    if balancer.simple is not None and balancer.consistent_hash is not None:
        report.invalid(f"{field}.consistentHash", "simple is set as well", "write one of the two")
    if balancer.backend_utilization is not None:
        if balancer.simple is not None or balancer.consistent_hash is not None:
            other = "simple" if balancer.simple is not None else "consistentHash"
            report.invalid(f"{field}.backendUtilization", f"{other} is set as well", "write one of the two")
        _check_utilization(balancer.backend_utilization, f"{field}.backendUtilization", report)
    if balancer.consistent_hash is not None:
        _check_hash(balancer.consistent_hash, f"{field}.consistentHash", report)
    if balancer.locality_lb_setting is not None:
        check_locality(balancer.locality_lb_setting, f"{field}.localityLbSetting", report)
    if balancer.zone_aware_lb_setting is not None:
        _check_zones(balancer, f"{field}.zoneAwareLbSetting", report)
    if balancer.warmup is not None:
        _check_warmup(balancer.warmup, f"{field}.warmup", report)
    check_duration(balancer.warmup_duration_secs, f"{field}.warmupDurationSecs", report)
    if balancer.warmup is not None and balancer.warmup_duration_secs is not None:
        report.invalid(f"{field}.warmupDurationSecs", "warmup says it", "remove warmupDurationSecs")
    _check_use(balancer, field, report)


def _check_use(balancer: LoadBalancerSettings, field: str, report: Report) -> None:
    """What the way of choosing takes no notice of."""
    chosen: str = balancer.simple or "LEAST_REQUEST"
    if balancer.consistent_hash is not None or balancer.backend_utilization is not None:
        chosen = "consistentHash" if balancer.consistent_hash is not None else "backendUtilization"
    if chosen in ("consistentHash", "backendUtilization", "RANDOM", "PASSTHROUGH"):
        for name, stated in (("warmup", balancer.warmup), ("warmupDurationSecs", balancer.warmup_duration_secs)):
            if stated is not None:
                what = f"with {chosen} a new endpoint has its full share at once, so it has no effect"
                report.warning(f"{field}.{name}", "UnusedField", f"{what}; remove it, or write simple: LEAST_REQUEST")
    near = {"localityLbSetting": balancer.locality_lb_setting, "zoneAwareLbSetting": balancer.zone_aware_lb_setting}
    for name, setting in near.items():
        if chosen == "PASSTHROUGH" and setting is not None and setting.enabled is not False:
            what = "with PASSTHROUGH the client chooses the address, so it has no effect"
            report.warning(f"{field}.{name}", "UnusedField", f"{what}; remove it, or write another simple")


def _check_zones(balancer: LoadBalancerSettings, field: str, report: Report) -> None:
    if balancer.locality_lb_setting is not None:
        report.invalid(field, "localityLbSetting is set as well", "write one of the two")
    if balancer.zone_aware_lb_setting is None:
        return
    check_zones(balancer.zone_aware_lb_setting, field, report)
    other = "consistentHash" if balancer.consistent_hash is not None else "backendUtilization"
    if balancer.consistent_hash is not None or balancer.backend_utilization is not None:
        what = f"Envoy can't put it together with {other}, which chooses among all endpoints of the region"
        report.warning(field, "UnusedField", f"{what}; write simple in its place, or leave it at regions")


def _check_utilization(source: BackendUtilizationLB, field: str, report: Report) -> None:
    check_duration(source.weight_stabilization_period, f"{field}.weightStabilizationPeriod", report, may_be_zero=True)
    check_duration(source.weight_expiration_period, f"{field}.weightExpirationPeriod", report, may_be_zero=True)
    check_at_least(source.error_utilization_penalty_percent, 0, f"{field}.errorUtilizationPenaltyPercent", report)
    if source.weight_update_period is not None and source.weight_update_period < _OFTENEST:
        what = f"{source.weight_update_period} is too often"
        report.invalid(f"{field}.weightUpdatePeriod", what, f"write {_OFTENEST} or more")


def _check_hash(source: ConsistentHashLB, field: str, report: Report) -> None:
    keys = {
        "httpHeaderName": source.http_header_name,
        "httpCookie": source.http_cookie,
        "useSourceIp": source.use_source_ip,
        "httpQueryParameterName": source.http_query_parameter_name,
    }
    given = [key for key, value in keys.items() if value is not None]
    if len(given) > 1:
        check_exactly_one(keys, field, report)
    if source.http_header_name is not None:
        _check_name(source.http_header_name, f"{field}.httpHeaderName", report)
    if source.http_query_parameter_name == "":
        report.missing(f"{field}.httpQueryParameterName", "name a parameter")
    if source.http_cookie is not None:
        _check_cookie(source.http_cookie, f"{field}.httpCookie", report)
    _check_algorithm(source, field, report)


def _check_algorithm(source: ConsistentHashLB, field: str, report: Report) -> None:
    if source.ring_hash is not None and source.maglev is not None:
        report.invalid(f"{field}.maglev", "ringHash is set as well", "write one of the two")
    ring, where = source.minimum_ring_size, "minimumRingSize"
    if source.ring_hash is not None:
        ring, where = source.ring_hash.minimum_ring_size, "ringHash.minimumRingSize"
    if not 0 <= ring <= _LARGEST_RING:
        report.invalid(f"{field}.{where}", f"{ring} is out of range", f"write a number up to {_LARGEST_RING}")
    size = source.maglev.table_size if source.maglev is not None else 0
    if size and not (size <= _LARGEST_TABLE and _is_prime(size)):
        remedy = f"write a prime number up to {_LARGEST_TABLE}, such as 65537"
        report.invalid(f"{field}.maglev.tableSize", f"{size} is no size of a table", remedy)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def _check_cookie(cookie: HTTPCookie, field: str, report: Report) -> None:
    if not cookie.name:
        report.missing(f"{field}.name", "name the cookie")
    else:
        _check_name(cookie.name, f"{field}.name", report)
    check_duration(cookie.ttl, f"{field}.ttl", report, may_be_zero=True)
    for index, attribute in enumerate(cookie.attributes):
        where = f"{field}.attributes[{index}]"
        if not attribute.name:
            report.missing(f"{where}.name", "name the attribute")
        for name, text in (("name", attribute.name), ("value", attribute.value)):
            if len(text) > 16384 or not text.isprintable() or ";" in text:
                report.invalid(f"{where}.{name}", "it can't stand in a cookie", "write printable text without `;`")
    names = ((f"{field}.attributes[{i}].name", attribute.name) for i, attribute in enumerate(cookie.attributes))
    check_unique(names, "the attribute", report)


def _check_name(name: str, field: str, report: Report) -> None:
    if not _NAME.fullmatch(name):
        report.invalid(field, f"{name!r} is no name of a header or cookie", "write letters, digits and dashes")


def _check_warmup(warmup: Warmup, field: str, report: Report) -> None:
    if warmup.duration is None:
        report.missing(f"{field}.duration", "say how long a new endpoint gets less")
    check_duration(warmup.duration, f"{field}.duration", report)
    if warmup.minimum_percent is not None and not 0 <= warmup.minimum_percent <= 100:
        report.invalid(f"{field}.minimumPercent", f"{warmup.minimum_percent} is out of range", "write 0 to 100")
    if warmup.aggression is not None and not 1 <= warmup.aggression < inf:
        report.invalid(f"{field}.aggression", f"{warmup.aggression} is out of range", "write a number from 1")
