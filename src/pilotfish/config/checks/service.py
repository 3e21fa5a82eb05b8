"""Services and their endpoints.

Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/
"""

from __future__ import annotations

from pilotfish.config.checks.distribution import check_traffic_distribution
from pilotfish.config.checks.export_to import check_export_to
from pilotfish.config.checks.hosts import describe_special, is_domain
from pilotfish.config.checks.names import (
    check_dns_label,
    check_labels,
    check_port,
    check_unique,
    is_port_name,
)
from pilotfish.config.kubernetes import (
    EXPORT_TO,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Service,
    ServicePort,
    ServiceSpec,
    export_to_of,
)
from pilotfish.config.report import Report
from pilotfish.model.addresses import is_ip
from pilotfish.model.wellknown import SERVICE_OF_SLICE

_LONGEST_AFFINITY = 86400
"""Seconds, as in Kubernetes."""
_ENDPOINT = "write the address at which the endpoint is called"


def check_service(resource: Service, report: Report) -> None:
    spec = resource.spec
    if EXPORT_TO in resource.metadata.annotations:
        field = f"metadata.annotations[{EXPORT_TO}]"
        check_export_to(export_to_of(resource.metadata), report, field)
        if spec.type == "ExternalName":
            report.warning(
                field, "UnusedField", "an ExternalName is another name of a host, and every pod may ask for it"
            )
    check_traffic_distribution(resource.metadata, report, field=spec.traffic_distribution)
    _check_type(spec, report)
    check_labels(spec.selector, "spec.selector", report)
    headless = spec.cluster_ip == "None"
    _check_cluster_ip(spec.cluster_ip, "spec.clusterIP", report)
    for index, address in enumerate(spec.cluster_ips):
        _check_cluster_ip(address, f"spec.clusterIPs[{index}]", report)
    if not spec.ports and not headless and spec.type != "ExternalName":
        report.missing("spec.ports", "list the ports that the Service has")
    for index, port in enumerate(spec.ports):
        _check_service_port(port, spec.type, f"spec.ports[{index}]", report)
    _check_port_names(spec.ports, "spec.ports", report)
    numbers = ((f"spec.ports[{i}].port", f"{p.port}/{p.protocol}") for i, p in enumerate(spec.ports))
    check_unique(numbers, "the port", report)
    for index, address in enumerate(spec.external_ips):
        _check_external_ip(address, f"spec.externalIPs[{index}]", report)
    _check_affinity(spec, report)


def _check_cluster_ip(address: str, field: str, report: Report) -> None:
    if address not in ("", "None") and not is_ip(address):
        report.invalid(field, f"{address!r} is no address", 'remove it, or write "None"')
    elif special := describe_special(address):
        report.invalid(field, f"{address} is {special}", "remove it, and one is chosen")


def _check_type(spec: ServiceSpec, report: Report) -> None:
    if spec.type == "ExternalName":
        _check_external_name(spec.external_name, report)


def _check_external_name(name: str, report: Report) -> None:
    """As Kubernetes: a DNS name. An address would be asked of DNS as a name, and is found nowhere."""
    if not name:
        report.missing("spec.externalName", "write the name that it stands for", of="spec")
    elif is_ip(name) or not is_domain(name):
        report.invalid("spec.externalName", f"{name!r} is no name", "write one such as db.example.com")


def _check_external_ip(address: str, field: str, report: Report) -> None:
    remedy = "write an address that nobody else has"
    if not is_ip(address):
        report.invalid(field, f"{address!r} is no address", remedy)
    elif special := describe_special(address):
        report.invalid(field, f"{address} is {special}", remedy)
    elif ":" in address:
        report.warning(field, "UnsupportedField", "nothing answers there: Services are served over IPv4 alone")


def _check_affinity(spec: ServiceSpec, report: Report) -> None:
    field = "spec.sessionAffinity"
    if spec.session_affinity == "ClientIP":
        what = (
            "a client keeps its pod where it calls past a sidecar, or has none; a sidecar balances each request by "
            "itself, as in Istio"
        )
        report.warning(field, "UnsupportedField", what)
    elif spec.session_affinity_config is not None:
        report.invalid(f"{field}Config", "without affinity it has no meaning", f"remove it, or write {field}: ClientIP")
    if spec.session_affinity_config is not None:
        seconds = spec.session_affinity_config.client_ip.timeout_seconds
        if not 0 < seconds <= _LONGEST_AFFINITY:
            remedy = f"write 1 to {_LONGEST_AFFINITY} (a day)"
            report.invalid(f"{field}Config.clientIP.timeoutSeconds", f"{seconds} s is no time to keep one", remedy)


def _check_service_port(port: ServicePort, kind: str, field: str, report: Report) -> None:
    check_port(port.port, f"{field}.port", report)
    if port.node_port:
        check_port(port.node_port, f"{field}.nodePort", report)
        if kind not in ("NodePort", "LoadBalancer"):
            what = f"a Service of type {kind} has no port of the host; remove it, or write type: NodePort"
            report.warning(f"{field}.nodePort", "UnusedField", what)
    if port.target_port is not None:
        check_port_or_name(port.target_port.value, f"{field}.targetPort", report)
    if port.protocol == "SCTP":
        report.warning(f"{field}.protocol", "UnsupportedField", "SCTP is not served: call the pods' own addresses")


def check_port_or_name(value: int | str, field: str, report: Report) -> None:
    if isinstance(value, int):
        check_port(value, field, report)
    elif value.isdecimal():
        report.invalid(field, f"{value!r} is text and so the name of a port", "remove the quotes")
    elif not is_port_name(value):
        remedy = "write a number, or a name of at most 15 lower-case letters, digits and dashes"
        report.invalid(field, f"{value!r} is no port", remedy)


def _check_port_names(ports: tuple[ServicePort | EndpointPort, ...], field: str, report: Report) -> None:
    for index, port in enumerate(ports):
        if port.name:
            check_dns_label(port.name, f"{field}[{index}].name", report)
        elif len(ports) > 1:
            report.missing(f"{field}[{index}].name", "where there are several ports, give each a name such as http-web")
    named = ((f"{field}[{i}].name", p.name) for i, p in enumerate(ports) if p.name)
    check_unique(named, "the name", report)


def check_endpoint_slice(resource: EndpointSlice, report: Report) -> None:
    if resource.address_type == "FQDN":
        report.unsupported("addressType", "FQDN", "write a ServiceEntry with resolution DNS")
    if not resource.metadata.labels.get(SERVICE_OF_SLICE):
        what = f"it belongs to no Service and has no effect; name one in the label {SERVICE_OF_SLICE}"
        report.warning("metadata.labels", "Ignored", what)
    for index, endpoint in enumerate(resource.endpoints):
        field = f"endpoints[{index}].addresses"
        if not endpoint.addresses:
            report.missing(field, "write at least one address")
        for at, address in enumerate(endpoint.addresses):
            _check_family(address, resource.address_type, f"{field}[{at}]", report)
    for index, port in enumerate(resource.ports):
        check_port(port.port, f"ports[{index}].port", report)
    _check_port_names(resource.ports, "ports", report)


def _check_family(address: str, family: str, field: str, report: Report) -> None:
    if family != "FQDN" and not (is_ip(address) and (":" in address) == (family == "IPv6")):
        report.invalid(field, f"{address!r} is no {family} address", "write one, or change addressType")
    elif special := describe_special(address):
        report.invalid(field, f"{address} is {special}", _ENDPOINT)


def check_endpoints(resource: Endpoints, report: Report) -> None:
    for index, subset in enumerate(resource.subsets):
        _check_subset(subset, f"subsets[{index}]", report)


def _check_subset(subset: EndpointSubset, field: str, report: Report) -> None:
    lists = (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses))
    for name, addresses in lists:
        for index, address in enumerate(addresses):
            if not is_ip(address.ip):
                report.invalid(f"{field}.{name}[{index}].ip", f"{address.ip!r} is no address", "write one")
            elif special := describe_special(address.ip):
                report.invalid(f"{field}.{name}[{index}].ip", f"{address.ip} is {special}", _ENDPOINT)
    for index, port in enumerate(subset.ports):
        check_port(port.port, f"{field}.ports[{index}].port", report)
    _check_port_names(subset.ports, f"{field}.ports", report)
