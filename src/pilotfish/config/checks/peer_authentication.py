"""Source: https://istio.io/latest/docs/reference/config/security/peer_authentication/"""

from __future__ import annotations

from pilotfish.config.checks.names import check_labels
from pilotfish.config.istio.peer_authentication import PeerAuthenticationSpec
from pilotfish.config.report import Report

_PORTS = "spec.portLevelMtls"


def check_peer_authentication(spec: PeerAuthenticationSpec, report: Report) -> None:
    labels = spec.selector.match_labels if spec.selector is not None else {}
    check_labels(labels, "spec.selector.matchLabels", report)
    if spec.selector is not None and not labels:
        what = "a selector without labels is none, so this is for the whole namespace; write labels, or remove it"
        report.warning("spec.selector", "EmptySelector", what)
    if spec.port_level_mtls is None:
        return
    if not spec.port_level_mtls:
        report.invalid(_PORTS, "it has no port", "write one, or remove it")
    elif not labels:
        remedy = "select the workloads whose ports these are"
        report.invalid(_PORTS, "ports have a mode of their own only with spec.selector", remedy)
    for port in spec.port_level_mtls:
        if not (port.isdecimal() and port.isascii() and len(port) <= 5 and 0 < int(port) <= 65535):
            report.invalid(f"{_PORTS}[{port}]", f"{port!r} is no port", "write the number of a port of the app")
