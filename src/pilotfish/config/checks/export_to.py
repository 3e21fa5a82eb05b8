"""`exportTo`: the namespaces in which an object is seen.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#DestinationRule
"""

from __future__ import annotations

from pilotfish.config.checks.names import check_dns_label, check_unique
from pilotfish.config.report import Report


def check_visibility(export_to: tuple[str, ...], namespace: str, report: Report) -> None:
    """`*` is all namespaces, `.` the object's own."""
    for index, name in enumerate(export_to):
        if name not in ("*", "."):
            check_dns_label(name, f"spec.exportTo[{index}]", report)
    if "*" in export_to and len(export_to) > 1:
        report.invalid("spec.exportTo", "'*' is every namespace already", "write '*' alone, or remove it")
    named = ((f"spec.exportTo[{i}]", namespace if name == "." else name) for i, name in enumerate(export_to))
    check_unique(named, "the namespace", report)
