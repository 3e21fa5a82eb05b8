"""Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#ConnectionPoolSettings"""

from __future__ import annotations

from pilotfish.config.checks.durations import check_duration
from pilotfish.config.checks.names import check_at_least
from pilotfish.config.istio.destination_rule import (
    ConnectionPoolSettings,
    HTTPSettings,
    RetryBudget,
    TCPKeepalive,
    TCPSettings,
)
from pilotfish.config.report import Report
from pilotfish.model import Duration

_SECOND = 10**9


def check_connection_pool(pool: ConnectionPoolSettings, field: str, report: Report) -> None:
    if pool.tcp is None and pool.http is None:
        report.invalid(field, "it is empty", "write tcp or http, or remove it")
    if pool.tcp is not None:
        _check_tcp(pool.tcp, f"{field}.tcp", report)
    if pool.http is not None:
        _check_http(pool.http, f"{field}.http", report)


def _check_tcp(tcp: TCPSettings, field: str, report: Report) -> None:
    check_at_least(tcp.max_connections, 0, f"{field}.maxConnections", report)
    check_duration(tcp.connect_timeout, f"{field}.connectTimeout", report)
    check_duration(tcp.max_connection_duration, f"{field}.maxConnectionDuration", report)
    check_duration(tcp.idle_timeout, f"{field}.idleTimeout", report, may_be_zero=True)
    if tcp.tcp_keepalive is not None:
        check_keepalive(tcp.tcp_keepalive, f"{field}.tcpKeepalive", report)


def check_keepalive(keepalive: TCPKeepalive, field: str, report: Report) -> None:
    _check_probes(keepalive.probes, f"{field}.probes", report)
    _check_seconds(keepalive.time, f"{field}.time", report)
    _check_seconds(keepalive.interval, f"{field}.interval", report)


def _check_http(http: HTTPSettings, field: str, report: Report) -> None:
    check_at_least(http.http1_max_pending_requests, 0, f"{field}.http1MaxPendingRequests", report)
    check_at_least(http.http2_max_requests, 0, f"{field}.http2MaxRequests", report)
    check_at_least(http.max_requests_per_connection, 0, f"{field}.maxRequestsPerConnection", report)
    check_at_least(http.max_retries, 0, f"{field}.maxRetries", report)
    check_at_least(http.max_concurrent_streams, 0, f"{field}.maxConcurrentStreams", report)
    check_duration(http.idle_timeout, f"{field}.idleTimeout", report, may_be_zero=True)
    if http.use_client_protocol and http.h2_upgrade_policy == "UPGRADE":
        remedy = "remove one: the protocol is the client's, or HTTP/2"
        report.invalid(f"{field}.useClientProtocol", "h2UpgradePolicy is UPGRADE", remedy)
    if http.http2_keep_alive is not None:
        for name, value in (("interval", http.http2_keep_alive.interval), ("timeout", http.http2_keep_alive.timeout)):
            if value is None:
                report.missing(f"{field}.http2KeepAlive.{name}", "write both, interval and timeout")
            check_duration(value, f"{field}.http2KeepAlive.{name}", report)


def check_retry_budget(budget: RetryBudget, field: str, report: Report) -> None:
    if budget.percent is not None and not 0 <= budget.percent <= 100:
        report.invalid(f"{field}.percent", f"{budget.percent} is out of range", "write a number from 0 to 100")
    check_at_least(budget.min_retry_concurrency, 0, f"{field}.minRetryConcurrency", report)


def _check_probes(number: int, field: str, report: Report) -> None:
    """Of more the kernel would make no connection: tcp(7), TCP_KEEPCNT."""
    if not 0 <= number <= 127:
        report.invalid(field, f"{number} is out of range", "write a number from 0 to 127; 0 is the kernel's own")


def _check_seconds(duration: Duration | None, field: str, report: Report) -> None:
    """The kernel counts keepalive in whole seconds: tcp(7), TCP_KEEPIDLE."""
    if duration is not None and not _SECOND <= duration.nanos < 2**15 * _SECOND:
        report.invalid(field, f"{duration} is out of range", "write 1s to 32767s")
