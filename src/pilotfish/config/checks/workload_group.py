"""Source: https://istio.io/latest/docs/reference/config/networking/workload-group/"""

from __future__ import annotations

from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.names import (
    check_annotations,
    check_at_least,
    check_labels,
    check_port,
    check_probe_headers,
)
from pilotfish.config.checks.workload_entry import check_named_ports
from pilotfish.config.istio.workload_group import ReadinessProbe, WorkloadGroupSpec
from pilotfish.config.report import Report


def check_workload_group(spec: WorkloadGroupSpec, report: Report) -> None:
    check_labels(spec.metadata.labels, "spec.metadata.labels", report)
    check_annotations(spec.metadata.annotations, "spec.metadata.annotations", report)
    check_named_ports(spec.template.ports, "spec.template.ports", report)
    check_labels(spec.template.labels, "spec.template.labels", report)
    check_at_least(spec.template.weight, 0, "spec.template.weight", report)
    if spec.template.address:
        what = "each workload of the group has its own address, so it has no effect; remove it"
        report.warning("spec.template.address", "NoEffect", what)
    if spec.probe is not None:
        _check_probe(spec.probe, "spec.probe", report)


def _check_probe(probe: ReadinessProbe, field: str, report: Report) -> None:
    actions = {"exec": probe.exec, "httpGet": probe.http_get, "tcpSocket": probe.tcp_socket, "grpc": probe.grpc}
    check_exactly_one(actions, field, report)
    if probe.exec is not None and not (probe.exec.command and probe.exec.command[0]):
        report.missing(f"{field}.exec.command", "write a command")
    for name, action in (("httpGet", probe.http_get), ("tcpSocket", probe.tcp_socket), ("grpc", probe.grpc)):
        if action is not None:
            check_port(action.port, f"{field}.{name}.port", report)
    if probe.http_get is not None:
        check_probe_headers(probe.http_get.http_headers, f"{field}.httpGet", report)
    times = {
        "initialDelaySeconds": probe.initial_delay_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "periodSeconds": probe.period_seconds,
        "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
    }
    for name, seconds in times.items():
        check_at_least(seconds, 0, f"{field}.{name}", report)
