"""Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/"""

from __future__ import annotations

from pilotfish.config.checks.connection_routes import check_connection_routes
from pilotfish.config.checks.export_to import check_export_to
from pilotfish.config.checks.hosts import check_host, overlap
from pilotfish.config.checks.http_order import check_order
from pilotfish.config.checks.http_route import check_route
from pilotfish.config.checks.names import is_dns_label, is_dns_subdomain
from pilotfish.config.headers import is_claim
from pilotfish.config.istio.virtual_service import HTTPRoute, VirtualServiceSpec
from pilotfish.config.report import Report


def check_virtual_service(spec: VirtualServiceSpec, report: Report) -> None:
    in_mesh = not spec.gateways or "mesh" in spec.gateways
    _check_hosts(spec.hosts, not in_mesh, report)
    for index, gateway in enumerate(spec.gateways):
        _check_gateway(gateway, f"spec.gateways[{index}]", "*" not in spec.hosts, report)
    check_export_to(spec.export_to, report)
    if not (spec.http or spec.tls or spec.tcp):
        report.missing("spec.http", "write a route (or spec.tls, or spec.tcp)", of="spec")
    for index, route in enumerate(spec.http):
        check_route(route, f"spec.http[{index}]", report)
        if spec.hosts and not set(spec.gateways) - {"mesh"}:
            _check_claims(route, f"spec.http[{index}]", report)
    check_connection_routes(spec, report)
    if not spec.hosts:
        _check_delegate(spec, report)
    if not report.errors:
        check_order(spec.http, "spec.http", report)


def _check_claims(route: HTTPRoute, field: str, report: Report) -> None:
    """Whoever sends a request from within the mesh has verified no token of it."""
    for index, match in enumerate(route.match):
        for kind, headers in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
            for name in filter(is_claim, headers):
                what = "claims are known at gateways alone"
                report.invalid(f"{field}.match[{index}].{kind}[{name}]", what, "name one under spec.gateways")


def _check_delegate(spec: VirtualServiceSpec, report: Report) -> None:
    """One without hosts has only what another VirtualService can leave to it."""
    for name, given in (("gateways", spec.gateways), ("tls", spec.tls), ("tcp", spec.tcp)):
        if given:
            what = "a VirtualService without hosts is a delegate, and has HTTP routes alone"
            report.invalid(f"spec.{name}", what, "remove it, or name hosts")
    for index, route in enumerate(spec.http):
        if route.delegate is not None:
            what = "a VirtualService without hosts is a delegate itself"
            report.invalid(f"spec.http[{index}].delegate", what, "write the route, or name hosts")


def _check_gateway(gateway: str, field: str, may_be_mesh: bool, report: Report) -> None:
    """`may_be_mesh`: the hosts are such as clients in the mesh can ask for."""
    namespace, slash, name = gateway.rpartition("/")
    if (slash and namespace != "." and not is_dns_label(namespace)) or not is_dns_subdomain(name):
        remedy = "write NAME, NAMESPACE/NAME, or mesh" if may_be_mesh else "write NAME, or NAMESPACE/NAME"
        report.invalid(field, f"{gateway!r} is no gateway", remedy)


def _check_hosts(hosts: tuple[str, ...], behind_gateway: bool, report: Report) -> None:
    """`*` is right behind a gateway."""
    for index, host in enumerate(hosts):
        if not (behind_gateway and host == "*"):
            check_host(host, f"spec.hosts[{index}]", report)
        for earlier in hosts[:index]:
            if "*" not in (host, earlier) and overlap(*(h.lower().removesuffix(".") for h in (host, earlier))):
                what = f"{host!r} and {earlier!r} match the same requests"
                report.invalid(f"spec.hosts[{index}]", what, "keep one of them")
                break
