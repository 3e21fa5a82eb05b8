"""`exportTo`: the namespaces in which an object is seen.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#DestinationRule
"""

from __future__ import annotations

from typing import Final

from pilotfish.config.checks.names import check_dns_label, check_unique
from pilotfish.config.report import Report

_ALONE: Final = {"*": "every namespace", "~": "no namespace"}


def check_export_to(export_to: tuple[str, ...], report: Report, field: str = "spec.exportTo") -> None:
    """`*` is all namespaces, `~` none, `.` the object's own."""
    for index, name in enumerate(export_to):
        if name in _ALONE and len(export_to) > 1:
            what = f"{name!r} is {_ALONE[name]}, whatever stands beside it"
            report.invalid(f"{field}[{index}]", what, f"write {name!r} alone, or remove it")
        elif name not in (".", *_ALONE):
            check_dns_label(name, f"{field}[{index}]", report)
    own = report.ref.namespace if report.ref is not None else "."
    named = ((f"{field}[{i}]", own if name == "." else name) for i, name in enumerate(export_to))
    check_unique(named, "the namespace", report)
