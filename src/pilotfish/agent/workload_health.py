"""Whether a workload that is no pod is healthy: what its WorkloadGroup's probe found, counted as Kubernetes counts.

Source: https://istio.io/latest/docs/reference/config/networking/workload-group/#ReadinessProbe
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pilotfish.agent.probes import AppProbe
from pilotfish.config.istio.workload_group import ReadinessProbe
from pilotfish.config.kubernetes import HTTPGetAction, TCPSocketAction
from pilotfish.config.values import IntOrString


@dataclass(frozen=True, slots=True)
class WorkloadProbe:
    """What is done, when, and how often it must come out the same. Times in seconds."""

    command: tuple[str, ...] = ()
    """Run on this machine; without one, `app` is asked."""
    app: AppProbe | None = None
    delay: int = 0
    timeout: int = 1
    period: int = 10
    successes: int = 1
    failures: int = 3

    @classmethod
    def of(cls, probe: ReadinessProbe) -> WorkloadProbe:
        """0 is the default, as in Istio."""
        timeout = probe.timeout_seconds or 1
        return cls(
            probe.exec.command if probe.exec is not None else (),
            _app_probe(probe, timeout),
            probe.initial_delay_seconds,
            timeout,
            probe.period_seconds or 10,
            probe.success_threshold or 1,
            probe.failure_threshold or 3,
        )


def _app_probe(probe: ReadinessProbe, timeout: int) -> AppProbe | None:
    http, tcp = probe.http_get, probe.tcp_socket
    if http is not None:
        scheme: Literal["HTTP", "HTTPS"] = "HTTPS" if http.scheme.upper() == "HTTPS" else "HTTP"
        action = HTTPGetAction(
            port=IntOrString(http.port),
            path=http.path,
            host=http.host,
            scheme=scheme,
            http_headers=http.http_headers,
        )
        return AppProbe(http_get=action, timeout_seconds=timeout)
    if tcp is not None:
        socket = TCPSocketAction(port=IntOrString(tcp.port), host=tcp.host)
        return AppProbe(tcp_socket=socket, timeout_seconds=timeout)
    return AppProbe(grpc=probe.grpc, timeout_seconds=timeout) if probe.grpc is not None else None


class Health:
    """Counts; `healthy` changes when enough came out the same in a row."""

    def __init__(self, probe: WorkloadProbe) -> None:
        self.healthy = False
        self._probe = probe
        self._last = False
        self._in_a_row = 0

    def note(self, ok: bool) -> None:
        self._in_a_row = self._in_a_row + 1 if ok is self._last else 1
        self._last = ok
        if self._in_a_row >= (self._probe.successes if ok else self._probe.failures):
            self.healthy = ok
