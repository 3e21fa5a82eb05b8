"""What is wrong with a VirtualService's TLS and TCP routes.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#TLSRoute
"""

from __future__ import annotations

from pilotfish.config.checks.destinations import check_destinations
from pilotfish.config.checks.hosts import is_ip_or_network, is_wildcard_domain
from pilotfish.config.checks.names import check_labels, check_port
from pilotfish.config.istio.virtual_service import (
    L4MatchAttributes,
    TLSMatchAttributes,
    TLSRoute,
    VirtualServiceSpec,
)
from pilotfish.config.report import Report
from pilotfish.model.addresses import is_ip


def check_connection_routes(spec: VirtualServiceSpec, report: Report) -> None:
    for index, tls in enumerate(spec.tls):
        _check_tls(tls, spec.hosts, f"spec.tls[{index}]", report)
    for index, tcp in enumerate(spec.tcp):
        field = f"spec.tcp[{index}]"
        for number, match in enumerate(tcp.match):
            _check_match(match, f"{field}.match[{number}]", report)
        check_destinations(tcp.route, field, "connections", report)


def _check_tls(route: TLSRoute, hosts: tuple[str, ...], field: str, report: Report) -> None:
    if not route.match:
        report.missing(f"{field}.match", "say for which sniHosts it holds", of=field)
    for index, match in enumerate(route.match):
        where = f"{field}.match[{index}]"
        if not match.sni_hosts:
            report.missing(f"{where}.sniHosts", "name one of spec.hosts", of=where)
        for number, name in enumerate(match.sni_hosts):
            _check_server_name(name, hosts, f"{where}.sniHosts[{number}]", report)
        _check_match(match, where, report)
    check_destinations(route.route, field, "connections", report)


def _check_server_name(name: str, hosts: tuple[str, ...], field: str, report: Report) -> None:
    """A whole name, or a wildcard for whole labels: Envoy knows no others. `*` is every name that a gateway takes."""
    if name == "*" and name in hosts:
        return
    if is_ip(name):
        report.warning(field, "InvalidValue", f"{name} is an address, which no client sends as server name")
    elif not is_wildcard_domain(name) or (name.startswith("*") and not name.startswith("*.")):
        report.invalid(field, f"{name!r} is no server name", "write a name such as www.example.com or *.example.com")
    elif not any(_covers(host, name) for host in hosts):
        report.invalid(field, f"{name!r} is none of spec.hosts", "add it there, or name one of them")


def _covers(host: str, name: str) -> bool:
    host, name = host.lower(), name.lower()
    return name.endswith(host[1:]) if host.startswith("*") else name == host


def _check_match(match: TLSMatchAttributes | L4MatchAttributes, field: str, report: Report) -> None:
    for index, subnet in enumerate(match.destination_subnets):
        if not is_ip_or_network(subnet):
            what = f"{subnet!r} is neither an address nor a range"
            report.invalid(f"{field}.destinationSubnets[{index}]", what, "write one such as 10.1.2.0/24")
    check_labels(match.source_labels, f"{field}.sourceLabels", report)
    if match.port:
        check_port(match.port, f"{field}.port", report)
