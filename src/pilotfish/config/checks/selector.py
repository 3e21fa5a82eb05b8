"""Whom a policy is for.

Source: https://istio.io/latest/docs/reference/config/type/workload-selector/
"""

from __future__ import annotations

from typing import Final

from pilotfish.config.checks.names import check_labels
from pilotfish.config.istio.selector import PolicyTargetReference, WorkloadSelector
from pilotfish.config.report import Report

_TARGETS: Final = (
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
)


def check_selection(
    selector: WorkloadSelector | None,
    target: PolicyTargetReference | None,
    targets: tuple[PolicyTargetReference, ...],
    report: Report,
) -> None:
    """At most one of the three says it."""
    given = {"spec.selector": selector is not None, "spec.targetRef": target is not None, "spec.targetRefs": targets}
    named = [field for field, value in given.items() if value]
    for field in named[1:]:
        report.invalid(field, f"{named[0]} says already whom it is for", "keep one of them")
    if selector is not None:
        check_labels(selector.match_labels, "spec.selector.matchLabels", report)
        if not selector.match_labels:
            what = "it has no labels, so this is for every workload of its namespace; remove it, or write matchLabels"
            report.warning("spec.selector", "EmptySelector", what)
    if target is not None:
        _check_target(target, "spec.targetRef", report)
    for index, each in enumerate(targets):
        _check_target(each, f"spec.targetRefs[{index}]", report)


def _check_target(target: PolicyTargetReference, field: str, report: Report) -> None:
    if not target.name:
        report.missing(f"{field}.name", "name the object")
    if target.namespace:
        report.invalid(f"{field}.namespace", "it can't be of another namespace", "remove it")
    if (target.group, target.kind) not in _TARGETS:
        what = f"a {target.kind or 'kind'} of {target.group or 'the core'} is nothing that a policy can be for"
        report.invalid(f"{field}.kind", what, "write kind Gateway, group gateway.networking.k8s.io; or use selector")
