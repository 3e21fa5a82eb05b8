"""Source: https://istio.io/latest/docs/reference/config/networking/service-entry/"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.checks.export_to import check_export_to
from pilotfish.config.checks.hosts import check_host, describe_special, is_ip_or_network
from pilotfish.config.checks.names import check_istio_label, check_labels, check_port, check_unique
from pilotfish.config.checks.workload_entry import check_workload
from pilotfish.config.istio.service_entry import ServiceEntryPort, ServiceEntrySpec
from pilotfish.config.istio.workload_entry import WorkloadEntrySpec
from pilotfish.config.report import Report
from pilotfish.model import Protocol

_WAYPOINT = "istio.io/use-waypoint"


def check_service_entry(spec: ServiceEntrySpec, labels: Mapping[str, str], report: Report) -> None:
    if not spec.hosts:
        report.missing("spec.hosts", "name the hosts")
    for index, host in enumerate(spec.hosts):
        check_host(host, f"spec.hosts[{index}]", report)
    for index, address in enumerate(spec.addresses):
        if not is_ip_or_network(address):
            report.invalid(f"spec.addresses[{index}]", f"{address!r} is no address or CIDR", "write one")
        elif "/" in address and spec.resolution.startswith("DNS"):
            what = f"with resolution {spec.resolution}, a whole network can't be told apart by name"
            report.invalid(f"spec.addresses[{index}]", what, "write an address, or resolution NONE or STATIC")
        elif address.partition("/")[2] == "0":
            what = "it stands for every address: what goes to one of these ports, and to no other service, comes here"
            report.warning(f"spec.addresses[{index}]", "EveryAddress", f"{what}; name the addresses that are meant")
        elif special := describe_special(address):
            report.invalid(f"spec.addresses[{index}]", f"{address} is {special}", "write an address that is called")
    check_export_to(spec.export_to, report)
    _check_ports(spec.ports, report)
    _check_resolution(spec, report)
    _check_selector(spec, report)
    if spec.resolution == "DYNAMIC_DNS":
        _check_looked_up(spec, report)
        if spec.location == "MESH_INTERNAL" and labels.get(_WAYPOINT):
            what = "DYNAMIC_DNS of a waypoint is for what is outside of the mesh"
            report.invalid("spec.location", what, f"write MESH_EXTERNAL, or remove the label {_WAYPOINT}")
    for index, endpoint in enumerate(spec.endpoints):
        _check_endpoint(endpoint, spec, f"spec.endpoints[{index}]", report)


def _check_ports(ports: tuple[ServiceEntryPort, ...], report: Report) -> None:
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        check_port(port.number, f"{field}.number", report)
        check_istio_label(port.name, f"{field}.name", report)
        if port.target_port:
            check_port(port.target_port, f"{field}.targetPort", report)
        if port.protocol and Protocol.parse(port.protocol) is None:
            known = ", ".join(p for p in Protocol if p is not Protocol.AUTO)
            report.invalid(f"{field}.protocol", f"{port.protocol!r} is no protocol", f"write one of {known}")
    check_unique(((f"spec.ports[{i}].name", p.name) for i, p in enumerate(ports)), "the name", report)
    check_unique(((f"spec.ports[{i}].number", p.number) for i, p in enumerate(ports)), "the port", report)


def _check_resolution(spec: ServiceEntrySpec, report: Report) -> None:
    if spec.resolution == "NONE" and spec.endpoints:
        what = "resolution NONE sends traffic where it was going, and endpoints would never be used"
        report.invalid("spec.endpoints", what, "remove them, or write resolution STATIC or DNS")
    if spec.resolution.startswith("DNS") and not spec.endpoints and spec.workload_selector is None:
        for index, host in enumerate(spec.hosts):
            if host.startswith("*"):
                what = f"{host!r} can't be looked up"
                report.invalid(f"spec.hosts[{index}]", what, "add endpoints, or write resolution NONE")
    if spec.resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
        what = "DNS_ROUND_ROBIN looks up one name only"
        report.invalid("spec.endpoints", what, "keep one endpoint, or write resolution DNS")


def _check_looked_up(spec: ServiceEntrySpec, report: Report) -> None:
    """As Istio has it: it is for names that only requests say."""
    for index, host in enumerate(spec.hosts):
        if not host.startswith("*."):
            what = f"{host!r} is one name, and DYNAMIC_DNS is for wildcards"
            report.invalid(f"spec.hosts[{index}]", what, "write resolution DNS, or a wildcard such as *.example.com")
    for field, value in (("addresses", spec.addresses), ("endpoints", spec.endpoints)):
        if value:
            report.invalid(f"spec.{field}", "DYNAMIC_DNS sends requests where their own names lead", "remove them")
    if spec.workload_selector is not None:
        report.invalid("spec.workloadSelector", "DYNAMIC_DNS sends requests where their own names lead", "remove it")
    for index, port in enumerate(spec.ports):
        protocol = Protocol.parse(port.protocol) or Protocol.AUTO
        if not (protocol.is_http or protocol is Protocol.TLS):
            what = f"{protocol} says no name that could be looked up"
            report.invalid(f"spec.ports[{index}].protocol", what, "write HTTP, HTTP2, GRPC or TLS")


def _check_endpoint(endpoint: WorkloadEntrySpec, spec: ServiceEntrySpec, field: str, report: Report) -> None:
    check_workload(endpoint, field, report, may_be_a_name=spec.resolution != "STATIC")
    if endpoint.address.startswith("unix://") and len(spec.ports) > 1:
        report.invalid(f"{field}.address", "a socket is one port, and the ServiceEntry has several", "write one port")
    if endpoint.address.startswith("unix:") and spec.resolution.startswith("DNS"):
        what = f"resolution {spec.resolution} looks names up, and a Unix socket is none"
        report.invalid(f"{field}.address", what, "write resolution STATIC")
    named = {port.name for port in spec.ports}
    for name in endpoint.ports:
        if name not in named:
            what = f"{name!r} is not a name of spec.ports"
            report.invalid(f"{field}.ports[{name}]", what, f"write one of {', '.join(sorted(named))}")


def _check_selector(spec: ServiceEntrySpec, report: Report) -> None:
    if spec.workload_selector is None:
        return
    field, labels = "spec.workloadSelector", spec.workload_selector.labels
    check_labels(labels, f"{field}.labels", report)
    if spec.endpoints:
        report.invalid(field, "there are endpoints as well", "remove either")
    if not labels:
        report.warning(f"{field}.labels", "MissingField", "it has no labels, so it selects nothing; write some")
    elif spec.resolution == "NONE":
        what = "resolution NONE sends traffic where it was going, so it has no effect; write resolution STATIC or DNS"
        report.warning(field, "UnusedField", what)
