"""Probes and lifecycle hooks.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe
"""

from __future__ import annotations

from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.names import check_at_least, check_port, check_probe_headers
from pilotfish.config.checks.service import check_port_or_name
from pilotfish.config.kubernetes import Container, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, TCPSocketAction
from pilotfish.config.report import Report


def check_probes(container: Container, field: str, report: Report) -> None:
    probes = (
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
    )
    for name, probe in probes:
        if probe is not None:
            _check_probe(probe, name, container, f"{field}.{name}", report)


def _check_probe(probe: Probe, name: str, container: Container, field: str, report: Report) -> None:
    handlers = {"exec": probe.exec, "httpGet": probe.http_get, "tcpSocket": probe.tcp_socket, "grpc": probe.grpc}
    check_exactly_one(handlers, field, report)
    for action, inner in ((probe.http_get, f"{field}.httpGet"), (probe.tcp_socket, f"{field}.tcpSocket")):
        if action is not None:
            _check_target(action, container, f"{inner}.port", report)
    if probe.http_get is not None:
        check_probe_headers(probe.http_get.http_headers, f"{field}.httpGet", report)
    if probe.exec is not None:
        _check_command(probe.exec.command, f"{field}.exec.command", report)
    if probe.grpc is not None:
        check_port(probe.grpc.port, f"{field}.grpc.port", report)
    _check_times(probe, name, field, report)


def _check_target(action: HTTPGetAction | TCPSocketAction, container: Container, field: str, report: Report) -> None:
    check_port_or_name(action.port.value, field, report)
    named = {port.name for port in container.ports}
    if isinstance(action.port.value, str) and action.port.value not in named:
        what = f"the container has no port named {action.port.value!r}"
        report.invalid(field, what, "write a number, or name one of its ports so")


def _check_command(command: tuple[str, ...], field: str, report: Report) -> None:
    if not command or not command[0]:
        report.missing(field, "write a command")


def _check_times(probe: Probe, name: str, field: str, report: Report) -> None:
    check_at_least(probe.initial_delay_seconds, 0, f"{field}.initialDelaySeconds", report)
    check_at_least(probe.timeout_seconds, 1, f"{field}.timeoutSeconds", report)
    check_at_least(probe.period_seconds, 1, f"{field}.periodSeconds", report)
    check_at_least(probe.success_threshold, 1, f"{field}.successThreshold", report)
    check_at_least(probe.failure_threshold, 1, f"{field}.failureThreshold", report)
    check_at_least(probe.termination_grace_period_seconds, 1, f"{field}.terminationGracePeriodSeconds", report)
    if probe.success_threshold > 1 and name != "readinessProbe":
        what = f"a {name} succeeds at the first success"
        report.invalid(f"{field}.successThreshold", what, "write 1")


def check_lifecycle(lifecycle: Lifecycle, container: Container, field: str, report: Report) -> None:
    for name, handler in (("postStart", lifecycle.post_start), ("preStop", lifecycle.pre_stop)):
        if handler is not None:
            _check_hook(handler, container, f"{field}.{name}", report)


def _check_hook(handler: LifecycleHandler, container: Container, field: str, report: Report) -> None:
    check_exactly_one({"exec": handler.exec, "httpGet": handler.http_get, "sleep": handler.sleep}, field, report)
    if handler.exec is not None:
        _check_command(handler.exec.command, f"{field}.exec.command", report)
    if handler.http_get is not None:
        _check_target(handler.http_get, container, f"{field}.httpGet.port", report)
        check_probe_headers(handler.http_get.http_headers, f"{field}.httpGet", report)
    if handler.sleep is not None:
        check_at_least(handler.sleep.seconds, 0, f"{field}.sleep.seconds", report)
