"""Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/"""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config.checks.client_tls import check_client_tls, check_credential
from pilotfish.config.checks.connection_pool import check_connection_pool, check_retry_budget
from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.export_to import check_export_to
from pilotfish.config.checks.hosts import check_host, is_domain
from pilotfish.config.checks.load_balancer import check_load_balancer
from pilotfish.config.checks.names import check_istio_label, check_labels, check_port, check_unique
from pilotfish.config.istio.destination_rule import (
    DestinationRuleSpec,
    OutlierDetection,
    PodSelector,
    PortTrafficPolicy,
    TrafficPolicy,
    Tunnel,
)
from pilotfish.config.report import Report
from pilotfish.model.addresses import is_ip


def check_destination_rule(spec: DestinationRuleSpec, report: Report) -> None:
    check_host(spec.host, "spec.host", report)
    check_export_to(spec.export_to, report)
    if spec.workload_selector is not None:
        _check_selector(spec, spec.workload_selector, report)
    for index, subset in enumerate(spec.subsets):
        field = f"spec.subsets[{index}]"
        check_istio_label(subset.name, f"{field}.name", report)
        check_labels(subset.labels, f"{field}.labels", report)
    is_selective = spec.workload_selector is not None and bool(spec.workload_selector.match_labels)
    for policy, field in _policies(spec):
        _check_policy(policy, field, report)
        for tls, inner in ((policy.tls, field), *((settings.tls, at) for settings, at in _by_port(policy, field))):
            if tls is not None:
                check_credential(tls, is_selective, f"{inner}.tls", report)
    names = ((f"spec.subsets[{i}].name", subset.name) for i, subset in enumerate(spec.subsets))
    check_unique(names, "the subset", report)


def _check_selector(spec: DestinationRuleSpec, selector: PodSelector, report: Report) -> None:
    check_labels(selector.match_labels, "spec.workloadSelector.matchLabels", report)
    if not selector.match_labels:
        text = "it names no labels, so the rule is for every workload that sees it; remove it, or write matchLabels"
        report.warning("spec.workloadSelector", "EmptySelector", text)
    elif any(name != "." for name in spec.export_to):
        remedy = "remove exportTo, or write ['.']"
        report.invalid("spec.exportTo", "workloads of other namespaces can't be selected", remedy)


def _policies(spec: DestinationRuleSpec) -> Iterator[tuple[TrafficPolicy, str]]:
    if spec.traffic_policy is not None:
        yield spec.traffic_policy, "spec.trafficPolicy"
    for index, subset in enumerate(spec.subsets):
        if subset.traffic_policy is not None:
            yield subset.traffic_policy, f"spec.subsets[{index}].trafficPolicy"


def _by_port(policy: TrafficPolicy, field: str) -> Iterator[tuple[PortTrafficPolicy, str]]:
    for index, settings in enumerate(policy.port_level_settings):
        yield settings, f"{field}.portLevelSettings[{index}]"


def _check_policy(policy: TrafficPolicy, field: str, report: Report) -> None:
    if policy == TrafficPolicy():
        report.invalid(field, "the policy is empty", "write what it should hold, or remove it")
    _check_common(policy, field, report)
    for settings, inner in _by_port(policy, field):
        check_port(settings.port.number, f"{inner}.port.number", report)
        _check_common(settings, inner, report)
    ports = ((f"{inner}.port.number", settings.port.number) for settings, inner in _by_port(policy, field))
    check_unique(ports, "the port", report)
    if policy.tunnel is not None:
        _check_tunnel(policy.tunnel, f"{field}.tunnel", report)
    if policy.retry_budget is not None:
        check_retry_budget(policy.retry_budget, f"{field}.retryBudget", report)


def _check_common(policy: TrafficPolicy | PortTrafficPolicy, field: str, report: Report) -> None:
    if policy.connection_pool is not None:
        check_connection_pool(policy.connection_pool, f"{field}.connectionPool", report)
    if policy.load_balancer is not None:
        check_load_balancer(policy.load_balancer, f"{field}.loadBalancer", report)
    if policy.outlier_detection is not None:
        check_outliers(policy.outlier_detection, f"{field}.outlierDetection", report)
    if policy.tls is not None:
        check_client_tls(policy.tls, f"{field}.tls", report)


_BY_POST = (
    "Envoy 1.40 ends in a crash if the server of an HTTP/1.1 tunnel by POST is the first to end its answer, and the "
    "proxy is started again; write CONNECT if the server takes it"
)


def _check_tunnel(tunnel: Tunnel, field: str, report: Report) -> None:
    if tunnel.protocol.upper() not in ("", "CONNECT", "POST"):
        report.invalid(f"{field}.protocol", f"{tunnel.protocol!r} opens no tunnel", "write CONNECT or POST")
    if tunnel.protocol.upper() == "POST":
        report.warning(f"{field}.protocol", "TunnelByPost", _BY_POST)
    if not tunnel.target_host:
        report.missing(f"{field}.targetHost", "name the host at the tunnel's end")
    elif not is_ip(tunnel.target_host) and not is_domain(tunnel.target_host):
        remedy = "write a name such as www.example.com, or an address"
        report.invalid(f"{field}.targetHost", f"{tunnel.target_host!r} is no host", remedy)
    check_port(tunnel.target_port, f"{field}.targetPort", report)


def check_outliers(outliers: OutlierDetection, field: str, report: Report) -> None:
    _check_count(outliers.consecutive_5xx_errors, f"{field}.consecutive5xxErrors", report)
    _check_count(outliers.consecutive_gateway_errors, f"{field}.consecutiveGatewayErrors", report)
    _check_count(outliers.consecutive_local_origin_failures, f"{field}.consecutiveLocalOriginFailures", report)
    check_duration(outliers.interval, f"{field}.interval", report)
    check_duration(outliers.base_ejection_time, f"{field}.baseEjectionTime", report)
    _check_count(outliers.max_ejection_percent, f"{field}.maxEjectionPercent", report, most=100)
    _check_count(outliers.min_health_percent, f"{field}.minHealthPercent", report, most=100)
    _check_count(outliers.failure_percentage_threshold, f"{field}.failurePercentageThreshold", report, most=100)
    for index, code in enumerate(outliers.outlier_detection_http_error_codes):
        if not 100 <= code <= 599:
            where = f"{field}.outlierDetectionHttpErrorCodes[{index}]"
            report.invalid(where, f"{code} is no status", "write one from 100 to 599")
    if outliers.consecutive_local_origin_failures and not outliers.split_external_local_origin_errors:
        remedy = "set splitExternalLocalOriginErrors, or remove it"
        report.invalid(f"{field}.consecutiveLocalOriginFailures", "they are not counted by themselves", remedy)


def _check_count(number: int | None, field: str, report: Report, most: int = 2**31 - 1) -> None:
    if number is not None and not 0 <= number <= most:
        report.invalid(field, f"{number} is out of range", f"write a number from 0 to {most}")
