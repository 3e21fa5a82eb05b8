"""Source: https://kubernetes.io/docs/concepts/services-networking/ingress/, and what Istio's conversion leaves out."""

from __future__ import annotations

from typing import Final

from pilotfish.config.checks.names import check_port, is_dns_subdomain
from pilotfish.config.kubernetes import HTTPIngressPath, IngressBackend, IngressRule, IngressSpec
from pilotfish.config.report import Report
from pilotfish.model.addresses import is_ip

_LEFT_OUT: Final = "UnsupportedField"


def check_ingress(spec: IngressSpec, report: Report) -> None:
    if spec.default_backend is not None:
        what = "has no effect, as with Istio: what no rule takes is answered 404"
        report.warning("spec.defaultBackend", _LEFT_OUT, f"{what}; write a rule without host, of the path /")
    elif not spec.rules:
        report.missing("spec.rules", "write a rule with paths", of="spec")
    for index, rule in enumerate(spec.rules):
        _check_rule(rule, f"spec.rules[{index}]", report)
    for index, tls in enumerate(spec.tls):
        field = f"spec.tls[{index}]"
        for at, host in enumerate(tls.hosts):
            _check_host(host, f"{field}.hosts[{at}]", report)
        if not tls.secret_name:
            what = "without a Secret TLS is not ended, so this entry has no effect"
            report.warning(f"{field}.secretName", _LEFT_OUT, f"{what}; name one of the gateway's namespace")


def _check_rule(rule: IngressRule, field: str, report: Report) -> None:
    if rule.host:
        _check_host(rule.host, f"{field}.host", report)
    if rule.http is None:
        what = "a rule without paths has no effect, as with Istio"
        report.warning(f"{field}.http", _LEFT_OUT, f"{what}; write paths with backends")
        return
    if not rule.http.paths:
        report.missing(f"{field}.http.paths", "write at least one path")
    for index, path in enumerate(rule.http.paths):
        _check_path(path, f"{field}.http.paths[{index}]", report)


def _check_path(path: HTTPIngressPath, field: str, report: Report) -> None:
    named = path.path or path.path_type != "ImplementationSpecific"
    if named and not path.path.startswith("/"):
        report.invalid(f"{field}.path", f"{path.path!r} is no path", "begin it with /")
    _check_backend(path.backend, f"{field}.backend", report)


def _check_backend(backend: IngressBackend, field: str, report: Report) -> None:
    service = backend.service
    if service is None:
        report.missing(f"{field}.service", "name a Service and its port: other resources serve nothing here")
        return
    if not service.name:
        report.missing(f"{field}.service.name")
    if service.port.number:
        check_port(service.port.number, f"{field}.service.port.number", report)
    if bool(service.port.number) == bool(service.port.name):
        report.invalid(f"{field}.service.port", "it is one port, by its number or its name", "write one of the two")


def _check_host(host: str, field: str, report: Report) -> None:
    name = host.removeprefix("*.")
    if is_ip(host) or not is_dns_subdomain(name):
        report.invalid(field, f"{host!r} is no host name", "write one such as shop.example.com or *.example.com")
