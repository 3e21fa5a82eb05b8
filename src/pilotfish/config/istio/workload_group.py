"""WorkloadGroup: what the workloads of a group that are no pods have in common.

Source: https://istio.io/latest/docs/reference/config/networking/workload-group/
"""

from __future__ import annotations

from typing import Literal

from pilotfish.config.istio.workload_entry import WorkloadEntrySpec
from pilotfish.config.kubernetes import ExecAction, GRPCAction, HTTPHeader, Resource, Struct
from pilotfish.model import kinds


class WorkloadGroupMetadata(Struct):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class HTTPHealthCheckConfig(Struct):
    port: int
    path: str = "/"
    host: str = ""
    scheme: Literal["HTTP", "HTTPS", "http", "https"] = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPHealthCheckConfig(Struct):
    port: int
    host: str = ""


class ReadinessProbe(Struct):
    """Exactly one of exec, http_get, tcp_socket and grpc is set. Times in seconds; 0 is the default."""

    exec: ExecAction | None = None
    http_get: HTTPHealthCheckConfig | None = None
    tcp_socket: TCPHealthCheckConfig | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3


class WorkloadGroupSpec(Struct):
    template: WorkloadEntrySpec
    """Without an address."""
    metadata: WorkloadGroupMetadata = WorkloadGroupMetadata()
    """Of each WorkloadEntry."""
    probe: ReadinessProbe | None = None


class WorkloadGroup(Resource):
    kind = kinds.WORKLOAD_GROUP
    spec: WorkloadGroupSpec
