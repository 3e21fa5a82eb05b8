"""A workload that is no pod: alone, or in a ServiceEntry's endpoints.

Source: https://istio.io/latest/docs/reference/config/networking/workload-entry/
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.checks.hosts import describe_special, is_domain
from pilotfish.config.checks.names import check_at_least, check_istio_label, check_labels, check_port
from pilotfish.config.istio.workload_entry import WorkloadEntrySpec
from pilotfish.config.report import Report
from pilotfish.model.addresses import is_ip
from pilotfish.model.wellknown import MACHINE_NAME

_LONGEST_PATH = 107
"""unix(7)."""


def check_workload_entry(spec: WorkloadEntrySpec, report: Report) -> None:
    check_workload(spec, "spec", report, may_be_a_name=True)


def check_workload(spec: WorkloadEntrySpec, field: str, report: Report, *, may_be_a_name: bool) -> None:
    if spec.address.startswith("unix:"):
        _check_socket(spec, field, report)
    elif spec.network and not spec.address:
        what = f"without an address it is behind a gateway of the network {spec.network!r}, and there is none here"
        report.warning(f"{field}.address", "Ignored", f"{what}: nobody calls it; write the address")
    else:
        _check_address(spec.address, field, report, may_be_a_name)
    check_named_ports(spec.ports, f"{field}.ports", report)
    check_labels(spec.labels, f"{field}.labels", report)
    check_at_least(spec.weight, 0, f"{field}.weight", report)


def check_named_ports(ports: Mapping[str, int], field: str, report: Report) -> None:
    for name, number in ports.items():
        check_istio_label(name, f"{field}[{name}]", report)
        check_port(number, f"{field}[{name}]", report)


def _check_address(address: str, place: str, report: Report, may_be_a_name: bool) -> None:
    field = f"{place}.address"
    if not address:
        report.missing(field, "write the endpoint's address", of=place)
    elif is_ip(address):
        if special := describe_special(address):
            remedy = f"write the address that is called, or {MACHINE_NAME}, with resolution DNS, for this machine"
            report.invalid(field, f"{address} is {special}", remedy)
    elif not may_be_a_name:
        report.invalid(field, f"{address!r} is no address", "write one, or resolution DNS for a name")
    elif not is_domain(address):
        report.invalid(field, f"{address!r} is no address or name", "write one, without a wildcard")


def _check_socket(spec: WorkloadEntrySpec, place: str, report: Report) -> None:
    """Where the client's own Envoy finds it: in its pod's file system."""
    path = spec.address.removeprefix("unix://")
    is_folder = path.startswith("/") and path.endswith("/")
    if len(path) < 2 or path[0] not in "/@" or is_folder or len(path.encode()) > _LONGEST_PATH:
        remedy = f"write unix:///PATH, or unix://@NAME, of at most {_LONGEST_PATH} bytes"
        report.invalid(f"{place}.address", f"{spec.address!r} is no Unix socket", remedy)
    if spec.ports:
        report.invalid(f"{place}.ports", "a Unix socket has no ports", "remove them")
