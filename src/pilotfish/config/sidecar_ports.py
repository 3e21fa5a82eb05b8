"""The ports that a sidecar holds in its pod: neither the proxy's own configuration nor the app may take one twice.

Source: https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.config.kubernetes import ContainerPort
from pilotfish.config.mesh import ProxyConfig
from pilotfish.config.report import Report
from pilotfish.model.wellknown import (
    ADMIN_PORT,
    DNS_PROXY_PORT,
    HEALTH_PORT,
    INBOUND_PORT,
    OUTBOUND_PORT,
    PROMETHEUS_PORT,
    PROXY_DNS_PORT,
    STATUS_PORT,
)

_ALWAYS: Final[Mapping[int, str]] = {
    OUTBOUND_PORT: "Envoy takes captured outbound traffic there",
    INBOUND_PORT: "Envoy takes captured inbound traffic there",
    HEALTH_PORT: "Envoy answers load balancers there",
    DNS_PROXY_PORT: "the agent answers DNS there",
    PROXY_DNS_PORT: "the agent answers Envoy's own DNS there",
    PROMETHEUS_PORT: "Envoy has its own metrics there",
}
_UDP: Final = frozenset({DNS_PROXY_PORT, PROXY_DNS_PORT})


def ports_beside_status(config: ProxyConfig) -> Mapping[int, str]:
    """What the agent's status can't have, and why."""
    return {config.proxy_admin_port: "Envoy's admin is there", **_ALWAYS}


def held_ports(config: ProxyConfig) -> Mapping[int, str]:
    """What the sidecar has each for, of a pod with this configuration."""
    return {config.status_port: "the agent's status is there", **ports_beside_status(config)}


def check_proxy_ports(config: ProxyConfig, report: Report, field: str) -> None:
    """`proxyAdminPort` and `statusPort`, in the range and held by nothing else of the sidecar."""
    for name, port, usual in (
        ("proxyAdminPort", config.proxy_admin_port, ADMIN_PORT),
        ("statusPort", config.status_port, STATUS_PORT),
    ):
        if not 1 <= port <= 65535:
            report.invalid(f"{field}.{name}", f"{port} is no port", "write one from 1 to 65535")
        elif port in _ALWAYS:
            report.invalid(f"{field}.{name}", f"{port} is taken: {_ALWAYS[port]}", f"write another, such as {usual}")


def check_one_each(config: ProxyConfig, report: Report, field: str, stated: str) -> None:
    """The same port for both; `stated` is the one whose field is to be mended."""
    if config.proxy_admin_port == config.status_port:
        what = f"proxyAdminPort and statusPort are both {config.status_port}"
        report.invalid(f"{field}.{stated}", what, "write another for one of them")


def check_app_port(port: ContainerPort, held: Mapping[int, str], report: Report, field: str) -> None:
    """`field`: of the number. A port that is declared need not be listened on, so this is a warning."""
    if port.container_port in held and (port.protocol == "TCP" or port.container_port in _UDP):
        what = f"{port.container_port} is the sidecar's ({held[port.container_port]}), so the app can't listen on it"
        report.warning(field, "PortCollision", f"{what}; let it use another, or leave the declaration out")
