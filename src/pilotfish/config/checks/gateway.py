"""Source: https://istio.io/latest/docs/reference/config/networking/gateway/"""

from __future__ import annotations

from typing import Final

from pilotfish.config.checks.hosts import is_domain
from pilotfish.config.checks.names import check_dns_label, check_labels, check_port, check_unique
from pilotfish.config.checks.server_tls import check_server_tls, is_passthrough
from pilotfish.config.istio.gateway import GatewaySpec, Server
from pilotfish.config.report import Report
from pilotfish.model import Protocol
from pilotfish.model.addresses import is_ip

_SOCKET: Final = "unix://"


def check_gateway(spec: GatewaySpec, report: Report) -> None:
    check_labels(spec.selector, "spec.selector", report)
    if not spec.servers:
        report.missing("spec.servers", "name a port and hosts", of="spec")
    for index, server in enumerate(spec.servers):
        _check_server(server, f"spec.servers[{index}]", report)
    check_unique(
        ((f"spec.servers[{i}].port.name", s.port.name) for i, s in enumerate(spec.servers)), "the name", report
    )


def _check_server(server: Server, field: str, report: Report) -> None:
    if not server.hosts:
        report.missing(f"{field}.hosts", "name a host, or '*'")
    for index, host in enumerate(server.hosts):
        _check_host(host, f"{field}.hosts[{index}]", report)
    _check_bind(server, field, report)
    if not server.port.name:
        report.missing(f"{field}.port.name", "name the port")
    protocol = Protocol.parse(server.port.protocol)
    if protocol in (None, Protocol.UDP):
        what = f"{server.port.protocol!r} is no protocol of a gateway"
        report.invalid(f"{field}.port.protocol", what, "write HTTP, HTTPS, HTTP2, GRPC, TLS or TCP")
    elif protocol is not None:
        _check_tls(server, protocol, f"{field}.tls", report)


def _check_bind(server: Server, field: str, report: Report) -> None:
    if server.bind.startswith(_SOCKET):
        if server.port.number:
            report.invalid(f"{field}.port.number", "a Unix socket has no port", "write 0")
        if len(server.bind) <= len(_SOCKET):
            report.invalid(f"{field}.bind", "it names no socket", "write its path after unix://")
        return
    check_port(server.port.number, f"{field}.port.number", report)
    if server.bind and not is_ip(server.bind):
        remedy = "write an address of the gateway's pod, or unix:// and a path"
        report.invalid(f"{field}.bind", f"{server.bind!r} is no address", remedy)


def _check_host(written: str, field: str, report: Report) -> None:
    namespace, slash, host = written.rpartition("/")
    if slash and namespace not in (".", "*"):
        check_dns_label(namespace, field, report)
    if host == "*" or is_ip(host):
        return
    if not is_domain(host.removeprefix("*.")):
        report.invalid(field, f"{host!r} is no host", "write a name such as www.example.com, *.example.com, or '*'")
    elif "." not in host:
        report.invalid(field, f"{host!r} has no dot", "a gateway takes whole names alone; write one")


def _check_tls(server: Server, protocol: Protocol, field: str, report: Report) -> None:
    tls = server.tls
    if tls is None:
        if protocol.is_tls:
            report.missing(
                field, f"a server of {protocol} needs it; write mode SIMPLE and a certificate, or PASSTHROUGH"
            )
        return
    if protocol.is_tls:
        if tls.https_redirect:
            what = "who comes by TLS is redirected nowhere, so it has no effect; write it for a server of HTTP"
            report.warning(f"{field}.httpsRedirect", "UnusedField", what)
        check_server_tls(tls, field, report)
    elif not protocol.is_http:
        report.invalid(field, f"a server of {protocol} has no TLS", "remove it, or write protocol: TLS")
    elif not is_passthrough(tls) or tls.server_certificate or tls.private_key or tls.ca_certificates:
        report.invalid(
            field, f"a server of {protocol} has no TLS", "keep httpsRedirect alone, or write protocol: HTTPS"
        )
