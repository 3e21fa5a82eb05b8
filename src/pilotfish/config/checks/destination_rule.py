"""Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/"""

from __future__ import annotations

from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.hosts import check_export_to, check_host
from pilotfish.config.checks.names import check_istio_label, check_labels, check_port, check_unique
from pilotfish.config.istio import (
    ConnectionPoolSettings,
    DestinationRuleSpec,
    HTTPSettings,
    OutlierDetection,
    PortTrafficPolicy,
    TCPSettings,
    TrafficPolicy,
)
from pilotfish.config.report import Report


def check_destination_rule(spec: DestinationRuleSpec, report: Report) -> None:
    check_host(spec.host, "spec.host", report)
    check_export_to(spec.export_to, report)
    if spec.traffic_policy is not None:
        _check_policy(spec.traffic_policy, "spec.trafficPolicy", report)
    for index, subset in enumerate(spec.subsets):
        field = f"spec.subsets[{index}]"
        check_istio_label(subset.name, f"{field}.name", report)
        check_labels(subset.labels, f"{field}.labels", report)
        if subset.traffic_policy is not None:
            _check_policy(subset.traffic_policy, f"{field}.trafficPolicy", report)
    names = ((f"spec.subsets[{i}].name", subset.name) for i, subset in enumerate(spec.subsets))
    check_unique(names, "the subset", report)


def _check_policy(policy: TrafficPolicy, field: str, report: Report) -> None:
    if policy == TrafficPolicy() and f"{field}.tls" not in report.left_out:
        report.invalid(field, "the policy is empty", "write what it should hold, or remove it")
    _check_common(policy, field, report)
    for index, settings in enumerate(policy.port_level_settings):
        inner = f"{field}.portLevelSettings[{index}]"
        check_port(settings.port.number, f"{inner}.port.number", report)
        _check_common(settings, inner, report)
    ports = (
        (f"{field}.portLevelSettings[{i}].port.number", settings.port.number)
        for i, settings in enumerate(policy.port_level_settings)
    )
    check_unique(ports, "the port", report)


def _check_common(policy: TrafficPolicy | PortTrafficPolicy, field: str, report: Report) -> None:
    if policy.connection_pool is not None:
        _check_pool(policy.connection_pool, f"{field}.connectionPool", report)
    if policy.outlier_detection is not None:
        _check_outliers(policy.outlier_detection, f"{field}.outlierDetection", report)


def _check_pool(pool: ConnectionPoolSettings, field: str, report: Report) -> None:
    if pool.tcp is None and pool.http is None:
        report.invalid(field, "it is empty", "write tcp or http, or remove it")
    tcp, http = pool.tcp or TCPSettings(), pool.http or HTTPSettings()
    _check_count(tcp.max_connections, f"{field}.tcp.maxConnections", report)
    check_duration(tcp.connect_timeout, f"{field}.tcp.connectTimeout", report)
    _check_count(http.http1_max_pending_requests, f"{field}.http.http1MaxPendingRequests", report)
    _check_count(http.http2_max_requests, f"{field}.http.http2MaxRequests", report)
    _check_count(http.max_requests_per_connection, f"{field}.http.maxRequestsPerConnection", report)
    _check_count(http.max_retries, f"{field}.http.maxRetries", report)
    check_duration(http.idle_timeout, f"{field}.http.idleTimeout", report, may_be_zero=True)


def _check_outliers(outliers: OutlierDetection, field: str, report: Report) -> None:
    _check_count(outliers.consecutive_5xx_errors, f"{field}.consecutive5xxErrors", report)
    _check_count(outliers.consecutive_gateway_errors, f"{field}.consecutiveGatewayErrors", report)
    check_duration(outliers.interval, f"{field}.interval", report)
    check_duration(outliers.base_ejection_time, f"{field}.baseEjectionTime", report)
    _check_count(outliers.max_ejection_percent, f"{field}.maxEjectionPercent", report, most=100)
    _check_count(outliers.min_health_percent, f"{field}.minHealthPercent", report, most=100)


def _check_count(number: int | None, field: str, report: Report, most: int = 2**31 - 1) -> None:
    if number is not None and not 0 <= number <= most:
        report.invalid(field, f"{number} is out of range", f"write a number from 0 to {most}")
