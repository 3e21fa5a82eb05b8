"""A workload that is no pod: alone, or in a ServiceEntry's endpoints.

Source: https://istio.io/latest/docs/reference/config/networking/workload-entry/
"""

from __future__ import annotations

from pilotfish.config.checks.hosts import describe_special, is_domain
from pilotfish.config.checks.names import check_at_least, check_labels, check_port
from pilotfish.config.istio.workload_entry import WorkloadEntrySpec
from pilotfish.config.report import Report
from pilotfish.model.addresses import is_ip


def check_workload_entry(spec: WorkloadEntrySpec, report: Report) -> None:
    check_workload(spec, "spec", report, may_be_a_name=True)


def check_workload(spec: WorkloadEntrySpec, field: str, report: Report, *, may_be_a_name: bool) -> None:
    _check_address(spec.address, field, report, may_be_a_name)
    for name, number in spec.ports.items():
        check_port(number, f"{field}.ports[{name}]", report)
    check_labels(spec.labels, f"{field}.labels", report)
    check_at_least(spec.weight, 0, f"{field}.weight", report)


def _check_address(address: str, place: str, report: Report, may_be_a_name: bool) -> None:
    field = f"{place}.address"
    if address.startswith("unix:"):
        report.unsupported(field, "a Unix socket", "write an address")
    elif not address:
        report.missing(field, "write the endpoint's address", of=place)
    elif is_ip(address):
        if special := describe_special(address):
            report.invalid(field, f"{address} is {special}", "write the address at which the endpoint is called")
    elif not may_be_a_name:
        report.invalid(field, f"{address!r} is no address", "write one, or resolution DNS for a name")
    elif not is_domain(address):
        report.invalid(field, f"{address!r} is no address or name", "write one, without a wildcard")
