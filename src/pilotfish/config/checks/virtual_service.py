"""Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/"""

from __future__ import annotations

from pilotfish.config.checks.connection_routes import check_connection_routes
from pilotfish.config.checks.export_to import check_export_to
from pilotfish.config.checks.hosts import check_host, overlap
from pilotfish.config.checks.http_order import check_order
from pilotfish.config.checks.http_route import check_route
from pilotfish.config.istio.virtual_service import VirtualServiceSpec
from pilotfish.config.report import Report


def check_virtual_service(spec: VirtualServiceSpec, report: Report) -> None:
    in_mesh = not spec.gateways or "mesh" in spec.gateways
    _check_hosts(spec.hosts, not in_mesh, report)
    for index, gateway in enumerate(spec.gateways):
        if gateway != "mesh":
            _report_gateway(gateway, f"spec.gateways[{index}]", in_mesh, report)
    check_export_to(spec.export_to, report)
    if not (spec.http or spec.tls or spec.tcp):
        report.missing("spec.http", "write a route (or spec.tls, or spec.tcp)", of="spec")
    for index, route in enumerate(spec.http):
        check_route(route, f"spec.http[{index}]", report)
    check_connection_routes(spec, report)
    if not spec.hosts:
        _check_delegate(spec, report)
    if not report.errors:
        check_order(spec.http, "spec.http", report)


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


def _report_gateway(gateway: str, field: str, in_mesh: bool, report: Report) -> None:
    """What holds in the mesh as well, holds there."""
    if in_mesh:
        what = f"the gateway {gateway!r} is not supported yet, so these routes hold for calls from pod to pod alone"
        report.warning(field, "UnsupportedField", what)
    else:
        remedy = "remove it, or write mesh: the routes then hold for calls from pod to pod"
        report.unsupported(field, f"the gateway {gateway!r}", remedy)


def _check_hosts(hosts: tuple[str, ...], behind_gateway: bool, report: Report) -> None:
    """`*` is right behind a gateway; that the gateway is not supported is said elsewhere."""
    for index, host in enumerate(hosts):
        if not (behind_gateway and host == "*"):
            check_host(host, f"spec.hosts[{index}]", report)
        for earlier in hosts[:index]:
            if "*" not in (host, earlier) and overlap(*(h.lower().removesuffix(".") for h in (host, earlier))):
                what = f"{host!r} and {earlier!r} match the same requests"
                report.invalid(f"spec.hosts[{index}]", what, "keep one of them")
                break
