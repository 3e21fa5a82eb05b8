"""Source: https://istio.io/latest/docs/reference/config/networking/sidecar/"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pilotfish.config.checks.connection_pool import check_connection_pool
from pilotfish.config.checks.hosts import is_domain, is_wildcard_domain
from pilotfish.config.checks.names import check_dns_label, check_labels, check_port, check_unique
from pilotfish.config.checks.server_tls import check_parameters, check_pins
from pilotfish.config.istio.destination_rule import ConnectionPoolSettings
from pilotfish.config.istio.sidecar import (
    IngressTLSSettings,
    IstioEgressListener,
    IstioIngressListener,
    SidecarOutboundTrafficPolicy,
    SidecarPort,
    SidecarSpec,
)
from pilotfish.config.report import Report
from pilotfish.model import Protocol
from pilotfish.model.addresses import is_ip
from pilotfish.model.wellknown import PROXY_PORTS

_UNIX: Final = "unix://"
_ENDPOINT: Final = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):([0-9]{1,5})")


def check_sidecar(spec: SidecarSpec, report: Report) -> None:
    if spec == SidecarSpec(workload_selector=spec.workload_selector):
        remedy = "write egress, ingress, outboundTrafficPolicy or inboundConnectionPool"
        report.missing("spec.egress", remedy, of="spec")
    if spec.workload_selector is not None:
        _check_selector(spec.workload_selector.labels, report)
    for index, ingress in enumerate(spec.ingress):
        _check_ingress(ingress, f"spec.ingress[{index}]", report)
    _check_ports_differ("ingress", (each.port for each in spec.ingress), report)
    for index, egress in enumerate(spec.egress):
        is_last = index == len(spec.egress) - 1
        _check_egress(egress, is_last, f"spec.egress[{index}]", report)
    _check_ports_differ("egress", (each.port for each in spec.egress), report)
    sockets = ((f"spec.egress[{i}].bind", e.bind) for i, e in enumerate(spec.egress) if e.bind.startswith(_UNIX))
    check_unique(sockets, "the socket", report)
    if spec.outbound_traffic_policy is not None:
        _check_policy(spec.outbound_traffic_policy, "spec.outboundTrafficPolicy", report)
    if spec.inbound_connection_pool is not None:
        _check_pool(spec.inbound_connection_pool, "spec.inboundConnectionPool", report)


def _check_selector(labels: dict[str, str], report: Report) -> None:
    check_labels(labels, "spec.workloadSelector.labels", report)
    if not labels:
        what = "it has no labels, so the Sidecar is for every workload of its namespace; remove it, or write labels"
        report.warning("spec.workloadSelector", "EmptySelector", what)


def _check_ports_differ(field: str, ports: Iterable[SidecarPort | None], report: Report) -> None:
    named = ((f"spec.{field}[{i}].port.number", p.number) for i, p in enumerate(ports) if p is not None and p.number)
    check_unique(named, "the port", report)


def _check_listener_port(port: SidecarPort, field: str, report: Report) -> None:
    check_port(port.number, f"{field}.number", report)
    _check_protocol(port, field, report)
    if port.number in PROXY_PORTS:
        report.invalid(f"{field}.number", f"every sidecar listens on {port.number} itself", "write another port")


def _check_protocol(port: SidecarPort, field: str, report: Report) -> None:
    if port.protocol and Protocol.parse(port.protocol) is None:
        known = ", ".join(p for p in Protocol if p is not Protocol.AUTO)
        report.invalid(f"{field}.protocol", f"{port.protocol!r} is no protocol", f"write one of {known}")


def _check_ingress(ingress: IstioIngressListener, field: str, report: Report) -> None:
    if ingress.port is None:
        report.missing(f"{field}.port", "say on which port")
        return
    _check_listener_port(ingress.port, f"{field}.port", report)
    if ingress.bind and not is_ip(ingress.bind):
        report.invalid(f"{field}.bind", f"{ingress.bind!r} is no address", "write one of the pod's, or remove it")
    elif ingress.bind and ingress.capture_mode != "NONE":
        what = "what comes is captured, whichever address it is for, so it has no effect; write captureMode NONE"
        report.warning(f"{field}.bind", "UnusedField", what)
    _check_endpoint(ingress.default_endpoint, f"{field}.defaultEndpoint", report)
    if ingress.tls is not None:
        _check_tls(ingress.tls, ingress.port, field, report)
    pool, protocol = ingress.connection_pool, Protocol.parse(ingress.port.protocol)
    if pool is not None:
        _check_pool(pool, f"{field}.connectionPool", report)
        if pool.http is not None and protocol is not None and not (protocol.is_http or protocol is Protocol.HTTPS):
            what = f"the port's protocol is {protocol}, so it has no effect; write it under tcp, or another protocol"
            report.warning(f"{field}.connectionPool.http", "UnusedField", what)


def _check_endpoint(endpoint: str, field: str, report: Report) -> None:
    if endpoint.startswith(_UNIX):
        if not endpoint.removeprefix(_UNIX).strip("/"):
            report.invalid(field, f"{endpoint!r} names no socket", "write unix:///PATH")
        return
    found = _ENDPOINT.fullmatch(endpoint)
    if endpoint and not (found and 1 <= int(found[1]) <= 65535):
        remedy = "write 127.0.0.1:PORT, 0.0.0.0:PORT (the pod's own address), [::1]:PORT, [::]:PORT or unix:///PATH"
        report.invalid(field, f"{endpoint!r} is nothing of the pod's", remedy)


def _check_tls(tls: IngressTLSSettings, port: SidecarPort, field: str, report: Report) -> None:
    protocol = Protocol.parse(port.protocol)
    if protocol is None or not protocol.is_tls:
        report.invalid(f"{field}.tls", "the port does not declare TLS", "write protocol HTTPS or TLS, or remove tls")
    wanted = {"serverCertificate": tls.server_certificate, "privateKey": tls.private_key}
    if tls.mode != "SIMPLE":
        wanted["caCertificates"] = tls.ca_certificates
    for name in (name for name, path in wanted.items() if not path):
        report.missing(f"{field}.tls.{name}", f"{tls.mode} needs it: name the file")
    check_pins(tls, f"{field}.tls", report)
    check_parameters(tls, f"{field}.tls", report)


def _check_egress(egress: IstioEgressListener, is_last: bool, field: str, report: Report) -> None:
    is_socket = egress.bind.startswith(_UNIX)
    if egress.port is None and not is_last:
        report.missing(f"{field}.port", "only the last of the list may leave it out: it has all other ports")
    elif egress.port is not None and is_socket:
        _check_protocol(egress.port, f"{field}.port", report)
        if egress.port.number:
            report.invalid(f"{field}.port.number", "a socket has no port", "write 0, or remove it")
    elif egress.port is not None:
        _check_listener_port(egress.port, f"{field}.port", report)
    if is_socket:
        if not egress.bind.removeprefix(_UNIX).strip("/"):
            report.invalid(f"{field}.bind", f"{egress.bind!r} names no socket", "write unix:///PATH")
        if egress.capture_mode == "IPTABLES":
            report.invalid(f"{field}.captureMode", "nothing is captured for a socket", "remove it, or write NONE")
    elif egress.bind and not is_ip(egress.bind):
        report.invalid(f"{field}.bind", f"{egress.bind!r} is no address", "write an address, or unix:///PATH")
    if not egress.hosts:
        report.missing(f"{field}.hosts", "name the hosts: '*/*' is all of them, '~/*' none")
    for index, host in enumerate(egress.hosts):
        _check_import(host, f"{field}.hosts[{index}]", report)
    _check_overlaps(egress.hosts, f"{field}.hosts", report)


def _check_import(written: str, field: str, report: Report) -> None:
    namespace, slash, host = written.partition("/")
    if not slash or not host:
        report.invalid(
            field, f"{written!r} is no NAMESPACE/HOST", "write '*/HOST' for any namespace, './HOST' for its own"
        )
        return
    if namespace.removeprefix("~") not in ("", "*", ".") or namespace == "":
        check_dns_label(namespace.removeprefix("~"), field, report)
    is_partial = host.startswith("*") and host != "*" and not host.startswith("*.")
    if host != "*" and (is_partial or not is_wildcard_domain(host)):
        report.invalid(field, f"{host!r} is no host", "write a whole name, *.DOMAIN, or '*'")


def _check_overlaps(hosts: tuple[str, ...], field: str, report: Report) -> None:
    """A host that a wildcard beside it holds already."""
    own = report.ref.namespace if report.ref is not None else "."
    pairs = [tuple(written.partition("/")[::2]) for written in hosts]
    named = [(own if namespace == "." else namespace, host) for namespace, host in pairs]
    whole = {namespace for namespace, host in named if host == "*" and not namespace.startswith("~")}
    for index, (namespace, host) in enumerate(named):
        if namespace.startswith("~"):
            continue
        wider = "*" if "*" in whole and (namespace, host) != ("*", "*") else namespace if host != "*" else ""
        if wider in whole:
            text = f"'{wider}/*' beside it holds it already; remove one"
            report.warning(f"{field}[{index}]", "UnusedHost", text)


def _check_policy(policy: SidecarOutboundTrafficPolicy, field: str, report: Report) -> None:
    proxy = policy.egress_proxy
    if proxy is None:
        return
    if policy.mode != "ALLOW_ANY":
        remedy = "write mode ALLOW_ANY, or remove it"
        report.invalid(f"{field}.egressProxy", f"with {policy.mode} nothing would be sent there", remedy)
    if not is_domain(proxy.host):
        report.invalid(f"{field}.egressProxy.host", f"{proxy.host!r} is no host", "write a Service's whole name")
    if proxy.port is None:
        report.missing(f"{field}.egressProxy.port", "say which port of the host")
    else:
        check_port(proxy.port.number, f"{field}.egressProxy.port.number", report)


def _check_pool(pool: ConnectionPoolSettings, field: str, report: Report) -> None:
    check_connection_pool(pool, field, report)
    if pool.http is not None and pool.http.h2_upgrade_policy == "UPGRADE":
        what = "an app is asked in the protocol that its port declares, in Istio too, so it has no effect"
        report.warning(f"{field}.http.h2UpgradePolicy", "UnusedField", f"{what}; remove it, or declare HTTP2")
